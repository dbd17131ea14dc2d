//! The relay between two network namespaces, with the kernel's TCP at both ends.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::oneshot;

use super::relay;
use crate::link::{self, MTU, STACK_ADDRESS};
use crate::sys;

#[path = "../../../tests/common/mod.rs"]
mod common;

/// For a writer whose peer does not read: nobody takes anything for so long.
const STANDSTILL: Duration = Duration::from_millis(300);

/// A guest, its gateway, and the host behind.
struct Relay {
    guest: File,
    /// The host's server.
    listener: TcpListener,
    stop: Option<oneshot::Sender<()>>,
    gateway: Option<JoinHandle<()>>,
}

/// A namespace with its loopback up. It ends with the descriptor, and what is in it.
fn namespace() -> File {
    let make = || {
        sys::unshare_network().unwrap();
        link::silence().unwrap();
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    thread::spawn(make).join().unwrap()
}

/// Does something on a thread in a namespace.
fn within<T: Send>(namespace: &File, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = || {
            sys::enter_network(namespace).unwrap();
            act()
        };
        scope.spawn(inside).join().unwrap()
    })
}

impl Relay {
    /// `None` without the rights for it.
    fn new() -> Option<Self> {
        if !common::is_possible() {
            eprintln!("skipped: needs root and /dev/net/tun");
            return None;
        }
        let (guest, host) = (namespace(), namespace());
        let listener = within(&host, || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let (stop, stopped) = oneshot::channel();
        let (says_ready, ready) = mpsc::channel();
        let inside = guest.try_clone().unwrap();
        let gateway = thread::spawn(move || {
            sys::enter_network(&inside).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ready = move || says_ready.send(()).map_err(io::Error::other);
            runtime.block_on(async {
                tokio::select! {
                    ended = relay(MTU, host, ready) => panic!("the relay has ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        ready.recv().unwrap();
        Some(Self { guest, listener, stop: Some(stop), gateway: Some(gateway) })
    }

    /// A connection of the guest's through the gateway: its two ends.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let address = SocketAddrV4::new(STACK_ADDRESS, self.listener.local_addr().unwrap().port());
        let guest = within(&self.guest, || TcpStream::connect(address).unwrap());
        (guest, self.listener.accept().unwrap().0)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.gateway.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the gateway has panicked");
    }
}

/// Both ends, and the same the other way round: what the guest may do, the host may.
fn both_ways(relay: &Relay, mut act: impl FnMut(TcpStream, TcpStream)) {
    let (guest, host) = relay.connect();
    act(guest, host);
    let (guest, host) = relay.connect();
    act(host, guest);
}

/// Bytes that are elsewhere different.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| u8::try_from((at / 251 + at) % 256).unwrap()).collect()
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    read
}

#[test]
fn a_half_that_is_closed_leaves_the_other_half_open() {
    let Some(relay) = Relay::new() else { return };
    both_ways(&relay, |mut asks, mut answers| {
        asks.write_all(b"all of the question").unwrap();
        asks.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&answers), b"all of the question");
        let answer = pattern(0, 3_000_000);
        thread::scope(|scope| {
            scope.spawn(|| {
                answers.write_all(&answer).unwrap();
                answers.shutdown(Shutdown::Write).unwrap();
            });
            assert!(read_all(&asks) == answer);
        });
    });
}

#[test]
fn a_reset_is_none_of_a_clean_end() {
    let Some(relay) = Relay::new() else { return };
    let resets = |stream: TcpStream| SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    both_ways(&relay, |mut breaks, mut other| {
        breaks.write_all(b"half of").unwrap();
        let mut read = [0; 7];
        other.read_exact(&mut read).unwrap();
        resets(breaks);
        assert_eq!(other.read(&mut read).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    // Also where the half that goes there has ended before.
    both_ways(&relay, |mut breaks, mut other| {
        breaks.write_all(b"whole").unwrap();
        breaks.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&other), b"whole");
        resets(breaks);
        let said = loop {
            // Whether a write that comes before the reset succeeds is a race; one that comes after it does not.
            if let Err(error) = other.write_all(b"an answer that nobody wants") {
                break error.kind();
            }
        };
        assert!(matches!(said, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{said}");
    });
}

#[test]
fn whom_nobody_reads_has_to_wait_and_loses_nothing() {
    const MOST: usize = 64 << 20;
    let Some(relay) = Relay::new() else { return };
    both_ways(&relay, |mut writes, mut reads| {
        writes.set_write_timeout(Some(STANDSTILL)).unwrap();
        let mut written = 0;
        let stopped = loop {
            match writes.write(&pattern(written, 1 << 16)) {
                Ok(more) => written += more,
                Err(error) => break error.kind(),
            }
            assert!(written < MOST, "{written} bytes are somewhere between the two");
        };
        assert_eq!(stopped, ErrorKind::WouldBlock);
        // The other direction does not care.
        reads.write_all(b"not yet").unwrap();
        let mut read = [0; 7];
        writes.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"not yet");
        writes.shutdown(Shutdown::Write).unwrap();
        let arrived = read_all(&reads);
        assert_eq!(arrived.len(), written);
        assert!(arrived == pattern(0, written));
    });
}

#[test]
fn a_host_that_refuses_is_a_guest_that_is_refused() {
    let Some(relay) = Relay::new() else { return };
    let address = SocketAddrV4::new(STACK_ADDRESS, 1);
    let refused = within(&relay.guest, || TcpStream::connect(address).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::ConnectionRefused);
}
