//! The other end of a run: an application on the kernel's TCP.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{APPLICATION_BUFFER, Job, PATIENCE, Scenario};
use crate::link::{self, KERNEL_ADDRESS};

/// Short connections get the next one of these ports each, until none is left: the kernel's own search for a
/// free one costs more than all the rest of a connection once there are thousands in TIME-WAIT.
const PORTS: RangeInclusive<u16> = 2000..=64000;
/// The port of a connection that has its run for itself.
const LONE_PORT: u16 = 65000;

/// What the kernel's side of a run found.
#[derive(Debug, Default)]
pub(crate) struct PeerReport {
    /// Payload bytes of a bulk transfer, from the first to the last.
    pub(crate) bytes: u64,
    /// Connections or round trips that were completed.
    pub(crate) exchanges: u64,
    /// How long they took together.
    pub(crate) wall: Duration,
    /// How long each round trip took.
    pub(crate) times: Vec<Duration>,
}

/// Runs the kernel's side of `job` to its end.
pub(crate) fn run(job: &Job) -> io::Result<PeerReport> {
    match job.scenario {
        Scenario::Download => send(connect(job, LONE_PORT)?, job),
        Scenario::Upload => receive(connect(job, LONE_PORT)?),
        Scenario::Ping => ping(connect(job, LONE_PORT)?, job),
        Scenario::Connect => connect_again_and_again(job, 1),
        Scenario::Connect16 => connect_again_and_again(job, 16),
    }
}

fn connect(job: &Job, port: u16) -> io::Result<TcpStream> {
    let socket = link::kernel_socket()?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    // A connection of an earlier run may still be in TIME-WAIT on this port.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(KERNEL_ADDRESS, port).into())?;
    socket.connect_timeout(&job.target().into(), PATIENCE)?;
    Ok(socket.into())
}

fn send(mut stream: TcpStream, job: &Job) -> io::Result<PeerReport> {
    let buffer = vec![0x5a; APPLICATION_BUFFER];
    let mut bytes = 0;
    while !job.stopped() {
        stream.write_all(&buffer)?;
        bytes += buffer.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    drain(&mut stream)?;
    Ok(PeerReport { bytes, ..PeerReport::default() })
}

fn receive(mut stream: TcpStream) -> io::Result<PeerReport> {
    let bytes = drain(&mut stream)?;
    Ok(PeerReport { bytes, ..PeerReport::default() })
}

/// Reads to the end of the stream and counts the bytes.
fn drain(stream: &mut TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; APPLICATION_BUFFER];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes += read as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn connect_again_and_again(job: &Job, threads: u64) -> io::Result<PeerReport> {
    let next_port = AtomicU16::new(*PORTS.start());
    let begin = Instant::now();
    let end = begin + job.window.measure;
    let one_thread = || {
        let mut exchanges = 0;
        while Instant::now() < end {
            let port = next_port.fetch_add(1, Ordering::Relaxed);
            if !PORTS.contains(&port) {
                break;
            }
            exchange(&mut connect(job, port)?)?;
            exchanges += 1;
        }
        io::Result::Ok(exchanges)
    };
    let exchanges = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("a connecting thread panicked")),
        });
        results.sum::<io::Result<u64>>()
    })?;
    Ok(PeerReport { exchanges, wall: begin.elapsed(), ..PeerReport::default() })
}

fn ping(mut stream: TcpStream, job: &Job) -> io::Result<PeerReport> {
    let mut times = Vec::with_capacity(1 << 17);
    let begin = Instant::now();
    let mut now = begin;
    while now - begin < job.window.measure {
        exchange(&mut stream)?;
        times.push(now.elapsed());
        now = Instant::now();
    }
    Ok(PeerReport { exchanges: times.len() as u64, wall: begin.elapsed(), times, ..PeerReport::default() })
}

/// A byte there and back.
fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0x5a];
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)
}
