//! Idle connections of the other end: held by processes of their own, since one may have only so many descriptors.

use std::env;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ropeway_bench_service::ready;
use socket2::SockRef;

use super::clients::{FIRST_PORT, LAST_PORT, connect_soon, exchange};
use super::stacks::Server;

/// What a process holds: fewer than any machine allows it by itself.
const EACH: usize = 15_000;
/// Connections that it opens at a time: one after the other each waits for the CPU of the other end several times.
const AT_ONCE: usize = 16;
/// How long it may take to open them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `hold` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Where to connect to.
    target: SocketAddrV4,
    /// The number of the first one, which its address and its port follow from.
    first: usize,
    /// How many.
    count: usize,
    /// From where.
    addresses: Vec<Ipv4Addr>,
}

/// Opens connections, each of which is used, and holds them until it is killed.
pub(crate) fn hold(settings: &Settings) -> io::Result<()> {
    let open = |turn| {
        let numbers = settings.first..settings.first + settings.count;
        numbers
            .skip(turn)
            .step_by(AT_ONCE)
            .map(|number| settings.open(number))
            .collect::<io::Result<Vec<_>>>()
    };
    let streams = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|turn| scope.spawn(move || open(turn))).collect();
        let opened = threads.into_iter().map(|thread| match thread.join() {
            Ok(opened) => opened,
            Err(_) => Err(io::Error::other("a thread that connects has panicked")),
        });
        opened.collect::<io::Result<Vec<_>>>()
    });
    let _streams = streams?;
    ready()?;
    // Nothing comes; it ends with whoever started it.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

impl Settings {
    /// Opens a connection, and uses it once.
    fn open(&self, number: usize) -> io::Result<TcpStream> {
        let ports = usize::from(LAST_PORT - FIRST_PORT);
        let address = *self.addresses.get(number / ports).ok_or(ErrorKind::AddrNotAvailable)?;
        let port = FIRST_PORT + u16::try_from(number % ports).unwrap_or_default();
        let mut stream = connect_soon(self.target, Some(SocketAddrV4::new(address, port)))?;
        exchange(&mut stream)?;
        // It ends at once with its process: thousands that say good-bye to a stack that is gone would be there for minutes.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(stream)
    }
}

/// Has `count` connections opened from these addresses of the calling thread's namespace. They end with what is returned.
pub(super) fn open(count: usize, target: SocketAddrV4, addresses: &[Ipv4Addr]) -> io::Result<Vec<Server>> {
    let mut holders = Vec::new();
    for first in (0..count).step_by(EACH) {
        let mut command = Command::new(env::current_exe()?);
        command.arg("hold").args([
            target.to_string(),
            first.to_string(),
            EACH.min(count - first).to_string(),
        ]);
        command.args(addresses.iter().map(Ipv4Addr::to_string));
        holders.push(Server::spawn_within(command, Stdio::piped(), None, PATIENCE)?);
    }
    Ok(holders)
}
