//! Idle connections of the other end: held by processes of their own, since one may have only so many descriptors.

use std::env;
use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::time::Duration;

use ropeway_bench_service::ready;

use super::clients::{FIRST_PORT, LAST_PORT, connect_soon, exchange};
use super::stacks::Server;

/// What a process holds: fewer than any machine allows it by itself.
const EACH: usize = 15_000;
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
    let ports = usize::from(LAST_PORT - FIRST_PORT);
    let mut streams = Vec::with_capacity(settings.count);
    for number in settings.first..settings.first + settings.count {
        let address = *settings.addresses.get(number / ports).ok_or(ErrorKind::AddrNotAvailable)?;
        let port = FIRST_PORT + u16::try_from(number % ports).unwrap_or_default();
        let mut stream = connect_soon(settings.target, Some(SocketAddrV4::new(address, port)))?;
        exchange(&mut stream)?;
        streams.push(stream);
    }
    ready()?;
    // Nothing comes; it ends with whoever started it.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
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
