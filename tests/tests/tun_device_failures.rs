//! Making a TUN device goes wrong: each failure says what to do, and leaves neither a device nor an open file.

#![cfg(target_os = "linux")]

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropeway::device::tun::{TunBuilder, TunDevice, TunError};
use ropeway_tests::namespace;
use ropeway_tests::programs::ip;

/// Open files are counted for the whole process, so these tests run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Takes all capabilities from this thread, which ends with the test; the process keeps them.
fn give_up_rights() {
    // SAFETY: the header and the data are laid out as capset(2) version 3 reads them.
    let result = unsafe {
        let header: [u32; 2] = [0x2008_0522, 0];
        let none = [0_u32; 6];
        libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr())
    };
    assert_eq!(result, 0);
}

fn tun_error(error: &io::Error) -> &TunError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("a TunError")
}

#[test]
fn a_build_that_fails_says_why_and_leaves_nothing() {
    let _alone = alone();
    namespace::run_with(&["ip"], async || {
        let _taken = TunDevice::builder().name("taken0").build().unwrap();
        let before = (ip("link show"), open_files());
        let fails = |builder: TunBuilder, kind: io::ErrorKind, hint: &str| {
            let error = builder.build().expect_err(hint);
            assert_eq!(error.kind(), kind, "{error}");
            let message = error.to_string();
            assert!(message.contains(hint) && !message.contains('\n'), "{message}");
            assert_eq!((ip("link show"), open_files()), before, "{message}");
        };
        let builder = || TunDevice::builder().name("rope0").up();
        let address = |text: &str| builder().address(text.parse().unwrap());
        fails(builder().name("a-name-far-too-long"), io::ErrorKind::InvalidInput, "more than 15 bytes");
        fails(builder().name("taken0"), io::ErrorKind::AlreadyExists, "exists already");
        fails(builder().name("lo"), io::ErrorKind::AlreadyExists, "exists already");
        fails(builder().mtu(67), io::ErrorKind::InvalidInput, "68 to 65535");
        fails(address("fd09::1/64").mtu(1279), io::ErrorKind::InvalidInput, "1280 to 65535");
        fails(
            address("10.9.0.1/24").address("10.9.0.1/24".parse().unwrap()),
            io::ErrorKind::AlreadyExists,
            "10.9.0.1",
        );
        fails(address("ff02::1/64"), io::ErrorKind::AddrNotAvailable, "ff02::1/64");
    });
}

#[test]
fn building_without_rights_says_what_to_do_and_leaves_nothing() {
    let _alone = alone();
    namespace::run(async || {
        let files = open_files();
        give_up_rights();
        let error = TunDevice::builder().name("rope0").build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(matches!(tun_error(&error), TunError::NotPermitted { .. }));
        assert!(error.to_string().contains("ip tuntap add dev rope0"), "{error}");
        assert_eq!(open_files(), files);
    });
}

#[test]
fn a_device_that_root_made_for_a_user_is_that_users_only() {
    let _alone = alone();
    namespace::run_with(&["ip"], async || {
        ip("tuntap add dev mine0 mode tun user 0");
        ip("tuntap add dev theirs0 mode tun user 12345");
        give_up_rights();
        let files = open_files();
        drop(TunDevice::attach("mine0").unwrap());
        let error = TunDevice::attach("theirs0").unwrap_err();
        assert!(matches!(tun_error(&error), TunError::NotOwner { .. }), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(open_files(), files);
    });
}
