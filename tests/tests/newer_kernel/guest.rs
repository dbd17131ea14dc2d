//! The kernel that runs as a program, user-mode Linux: how it is started, and what its first program does. Its files are those of the
//! machine, read-only. Within it, a router in a network namespace of its own is between its device and the TCP that is used:
//!
//! ```text
//! ropeway - rope0 (TUN) - this machine - tap0 - vec0 - router - veth0 - veth1 - peer
//! 10.9.0.2   10.9.0.1                10.10.0.1 10.10.0.2    10.11.0.1   10.11.0.2
//! ```
//!
//! So what the router's queues do to packets of either direction, they do not do to the orders, which come by `tap1`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use ropeway_tests::programs::ip;
use tokio::net::{TcpListener, TcpStream};

use crate::agent::{Programs, serve};

/// What the kernel hands to its first program, besides its own settings.
pub(crate) const ARGUMENT: &str = "as-the-guest";

const ORDERS: &str = "10.12.0.2:1";

/// Modules that are not part of the kernel itself, those first that others need.
const MODULES: [&str; 9] = [
    "drivers/net/veth",
    "net/sched/sch_netem",
    "net/sched/sch_tbf",
    "net/sched/sch_fq",
    "net/sched/sch_fq_codel",
    "net/ipv4/tcp_bbr",
    "net/ipv4/tcp_dctcp",
    "net/ipv4/tcp_diag",
    "net/ipv4/inet_diag",
];

/// A kernel that runs; it ends with this, or with the process.
pub(crate) struct Guest {
    process: Child,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// Starts the kernel in `folder` in this thread's network namespace, with this program as its first.
pub(crate) async fn start(folder: &Path) -> (Guest, SocketAddr) {
    for (device, network) in [("tap0", 10), ("tap1", 12)] {
        ip(&format!("tuntap add dev {device} mode tap vnet_hdr"));
        ip(&format!("address add 10.{network}.0.1/24 dev {device}"));
        ip(&format!("address add fd{network}::1/64 dev {device} nodad"));
        // Segments cross one by one, so that the loss of one is not that of forty.
        ip(&format!("link set {device} up gso_max_segs 1"));
    }
    ip("route add 10.11.0.0/24 via 10.10.0.2");
    ip("-6 route add fd11::/64 via fd10::2");
    forward();
    let program = std::env::current_exe().unwrap();
    let modules = fs::canonicalize(folder.join("modules")).unwrap();
    let log = File::create(folder.join("console")).unwrap();
    // Each ends when the one before it does, the last by the end of its process namespace: the kernel's own processes too.
    let words = "--pdeathsig KILL unshare --pid --fork --kill-child=KILL \
        env LD_LIBRARY_PATH=./libc ./linux mem=256M root=/dev/root rootfstype=hostfs rootflags=/ ro quiet panic=-1 \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin con=null con0=null,fd:1 ssl=null \
        uml_dir=./run/ umid=guest vec0:transport=tap,ifname=tap0,depth=64 vec1:transport=tap,ifname=tap1,depth=64";
    let process = Command::new("setpriv")
        .args(words.split_whitespace())
        .arg(format!("init={}", program.display()))
        .args(["--", ARGUMENT])
        .arg(modules)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut guest = Guest { process };
    let orders: SocketAddr = ORDERS.parse().unwrap();
    let up = async {
        loop {
            if let Ok(Ok(_)) =
                tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(orders)).await
            {
                return true;
            }
            if guest.process.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(120), up).await;
    assert!(up == Ok(true), "the guest does not start: {}/console", folder.display());
    (guest, orders)
}

fn forward() {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
}

/// What the first program does; when it ends, the kernel does.
pub(crate) fn run(modules: &Path) {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
    mount(Some("sys"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).unwrap();
    for module in MODULES {
        if let Ok(file) = File::open(modules.join(format!("{module}.ko"))) {
            nix::kmod::finit_module(&file, c"", nix::kmod::ModuleInitFlags::empty())
                .unwrap_or_else(|error| println!("{module}: {error}"));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let router = Programs::new(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            nix::unistd::gettid()
        });
        for line in [
            "link add veth0 type veth peer name veth1",
            &format!("link set vec0 netns {}", router.thread),
            &format!("link set veth0 netns {}", router.thread),
            "link set lo up",
            "address add 10.12.0.2/24 dev vec1",
            "link set vec1 up",
            "address add 10.11.0.2/24 dev veth1",
            "address add fd11::2/64 dev veth1 nodad",
            "link set veth1 up gso_max_segs 1",
        ] {
            ip(line);
        }
        for line in [
            "ip address add 10.10.0.2/24 dev vec0",
            "ip address add fd10::2/64 dev vec0 nodad",
            "ip address add 10.11.0.1/24 dev veth0",
            "ip address add fd11::1/64 dev veth0 nodad",
            "ip link set lo up",
            "ip link set vec0 up gso_max_segs 1 gro_max_size 1500",
            "ip link set veth0 up",
            "ip route add default via 10.10.0.1",
            "ip -6 route add default via fd10::1",
            "sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        ] {
            router.run(line.split(' ').map(str::to_owned).collect()).await.unwrap();
        }
        ip("route add default via 10.11.0.1");
        ip("-6 route add default via fd11::1");
        serve(TcpListener::bind(ORDERS).await.unwrap(), router).await;
    });
}
