//! The stacks: what each can do, how it is built, and how it is started.

use std::env;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use ropeway_bench_service::Order;

use crate::link::Cpus;
use crate::serve::Layout;
use crate::sys;

/// How long a stack may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the peers' packages are.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// A stack, or another way for the two ends to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stack {
    Ropeway,
    /// ropeway with so many shards on so many workers, which may run on every CPU.
    #[value(skip)]
    Spread(Layout),
    Null,
    Smoltcp,
    TokioSmoltcp,
    NetstackSmoltcp,
    Ipstack,
    /// The kernel's TCP at both ends of a pair of veth devices.
    Veth,
    /// The kernel's TCP with itself; its MTU is 65,536.
    Loopback,
    /// passt's gateway for namespaces; it relays, and has no end of its own.
    Pasta,
    /// libslirp's, likewise.
    Slirp4netns,
}

impl Stack {
    /// Of this name; `ropeway-2x1` has two shards on one worker.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match name.strip_prefix("ropeway-") {
            Some(layout) => layout.parse().map(Self::Spread),
            None => Self::from_str(name, false),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ropeway => "ropeway",
            Self::Spread(layout) => layout.stack_name(),
            Self::Null => "null",
            Self::Smoltcp => "smoltcp",
            Self::TokioSmoltcp => "tokio-smoltcp",
            Self::NetstackSmoltcp => "netstack-smoltcp",
            Self::Ipstack => "ipstack",
            Self::Veth => "veth",
            Self::Loopback => "loopback",
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Whether it can be run with or without offload.
    pub(super) fn knows(self, offload: bool) -> bool {
        match self {
            Self::Ropeway | Self::Spread(_) | Self::Null | Self::NetstackSmoltcp | Self::Veth => true,
            Self::Smoltcp | Self::TokioSmoltcp | Self::Ipstack => !offload,
            Self::Loopback => offload,
            Self::Pasta | Self::Slirp4netns => false,
        }
    }

    /// Whether it has streams that hyper can use.
    pub(super) fn has_streams(self) -> bool {
        !matches!(self, Self::Null | Self::Smoltcp)
    }

    /// Whether it has no TUN device of its own: the kernel at both ends.
    pub(super) fn is_kernel(self) -> bool {
        matches!(self, Self::Veth | Self::Loopback)
    }

    /// Whether it is a program of the machine's that relays, and does nothing else.
    pub(super) fn is_gateway(self) -> bool {
        matches!(self, Self::Pasta | Self::Slirp4netns)
    }

    /// Whether it is built as a package of its own.
    pub(super) fn is_peer(self) -> bool {
        matches!(self, Self::TokioSmoltcp | Self::NetstackSmoltcp | Self::Ipstack)
    }

    fn command(self) -> io::Result<Command> {
        if self.is_peer() {
            return Ok(Command::new(target().join("release").join(format!("ropeway-bench-{}", self.name()))));
        }
        let mut command = Command::new(env::current_exe()?);
        command.arg("serve");
        match self {
            Self::Spread(layout) => command.args(["--layout", &layout.to_string(), Self::Ropeway.name()]),
            _ => command.arg(if self.is_kernel() { "kernel" } else { self.name() }),
        };
        Ok(command)
    }
}

/// Where the peers are built.
fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("peers")
}

/// Makes sure that a stack can be run: builds a peer, and looks for a gateway.
pub(super) fn provide(stack: Stack) -> io::Result<()> {
    if stack.is_gateway() {
        let found = Command::new(stack.name()).arg("--help").output();
        return found
            .map(drop)
            .map_err(|error| io::Error::new(error.kind(), format!("not installed ({error})")));
    }
    if stack.is_peer() { build(stack) } else { Ok(()) }
}

/// Builds a peer by itself: within one workspace cargo would give all of them one set of features.
fn build(stack: Stack) -> io::Result<()> {
    let manifest = Path::new(PEERS).join(stack.name()).join("Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    let output = command.arg("--target-dir").arg(target()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed").to_owned();
    Err(io::Error::other(reason))
}

/// A stack's process. It is killed when this is dropped, and when the thread that started it ends in whatever way.
pub(super) struct Server(Child);

impl Server {
    /// Starts `stack` in the calling thread's network namespace, and waits until it listens.
    pub(super) fn start(stack: Stack, order: &Order, device: Stdio, cpus: Cpus) -> io::Result<Self> {
        let cpus = if matches!(stack, Stack::Spread(_)) { cpus.all() } else { cpus };
        Self::spawn(Self::ordered(stack, order)?, device, Some(cpus))
    }

    /// The same on the calling thread's CPU: it is an end, and not what is measured.
    pub(super) fn start_beside(stack: Stack, order: &Order) -> io::Result<Self> {
        Self::spawn(Self::ordered(stack, order)?, Stdio::null(), None)
    }

    fn ordered(stack: Stack, order: &Order) -> io::Result<Command> {
        let mut command = stack.command()?;
        let task =
            order.task.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        command.arg(task).arg("--buffer").arg(order.buffer.to_string());
        command.arg("--connections").arg(order.connections.to_string());
        command.arg("--datagram").arg(order.datagram.to_string());
        if order.offload {
            command.arg("--offload");
        }
        Ok(command)
    }

    /// Starts a command, on the stack's CPUs if it is measured.
    pub(super) fn launch(mut command: Command, stdin: Stdio, cpus: Option<Cpus>) -> io::Result<Self> {
        sys::kill_with_parent(&mut command);
        if let Some(cpus) = cpus {
            cpus.pin_child(&mut command);
        }
        command.stdin(stdin).stdout(Stdio::piped()).spawn().map(Self)
    }

    /// Starts a command that says `ready` on its standard output, likewise.
    pub(super) fn spawn(command: Command, stdin: Stdio, cpus: Option<Cpus>) -> io::Result<Self> {
        Self::spawn_within(command, stdin, cpus, PATIENCE)
    }

    /// The same, with another patience.
    pub(super) fn spawn_within(
        mut command: Command,
        stdin: Stdio,
        cpus: Option<Cpus>,
        patience: Duration,
    ) -> io::Result<Self> {
        command.stderr(Stdio::piped());
        let mut server = Self::launch(command, stdin, cpus)?;
        let output = server.0.stdout.take();
        let output = output.ok_or(io::ErrorKind::BrokenPipe)?;
        sys::wait_readable(output.as_raw_fd(), Some(patience))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() == "ready" { Ok(server) } else { Err(server.why()) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Why it has ended.
    fn why(mut self) -> io::Error {
        let _ = self.0.kill();
        let mut said = String::new();
        if let Some(stderr) = self.0.stderr.take() {
            let _ = io::Read::read_to_string(&mut BufReader::new(stderr), &mut said);
        }
        io::Error::other(format!("it does not listen: {}", said.lines().next().unwrap_or("it says nothing")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
