//! The other end: blocking threads on the kernel's TCP, whatever the stack.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use ropeway_bench_service::{APPLICATION_BUFFER, PORT};

use super::load::{Kind, Load};
use crate::{link, sys};

/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A message that goes there and back.
const MESSAGE: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: stack\r\n\r\n";
/// Of a response.
const BODY: usize = 1024;
/// The first port of connections that choose theirs: the kernel's own search for a free one costs more than all the rest
/// of a connection once there are thousands in TIME-WAIT.
/// None is the server's, which would be taken where both ends have one address.
pub(super) const FIRST_PORT: u16 = PORT + 1;
pub(super) const LAST_PORT: u16 = 64_000;
/// The first port of those that are beside idle ones, which may have all ports of the kernel's own range.
const BESIDE_IDLE: u16 = LAST_PORT + 1;

/// What all threads of the other end share.
pub(super) struct Clients {
    load: Load,
    target: SocketAddrV4,
    /// Set when the threads are to end.
    stop: AtomicBool,
    /// Set while what happens counts.
    measuring: AtomicBool,
    /// Bytes, or exchanges.
    done: AtomicU64,
    failed: AtomicU64,
    next_port: AtomicU16,
    streams: Mutex<Vec<TcpStream>>,
    times: Mutex<Vec<Duration>>,
    error: Mutex<Option<io::Error>>,
}

impl Clients {
    pub(super) fn new(load: Load, target: SocketAddrV4) -> Self {
        Self {
            load,
            target,
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            next_port: AtomicU16::new(FIRST_PORT),
            streams: Mutex::default(),
            times: Mutex::default(),
            error: Mutex::default(),
        }
    }

    /// Connects what has to be there before, and starts the threads.
    pub(super) fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> io::Result<()> {
        if self.load.kind == Kind::Connect {
            for _ in 0..self.load.at_once {
                scope.spawn(|| self.note(self.connect_again_and_again()));
            }
            return Ok(());
        }
        // All of them before the first one is used: a busy stack may take its time to let another one in.
        let streams: Vec<TcpStream> =
            (0..self.load.at_once).map(|_| self.connect()).collect::<io::Result<_>>()?;
        for stream in streams {
            match self.load.kind {
                Kind::Down => self.spawn(scope, stream, Self::send),
                Kind::Up => self.spawn(scope, stream, Self::receive),
                Kind::Both => {
                    self.spawn(scope, stream.try_clone()?, Self::send);
                    self.spawn(scope, stream, Self::receive);
                }
                Kind::Ping => self.spawn(scope, stream, Self::ping),
                Kind::Http => self.spawn(scope, stream, Self::request),
                Kind::Connect | Kind::Datagrams(..) => {}
            }
        }
        Ok(())
    }

    fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stream: TcpStream,
        run: fn(&Self, TcpStream) -> io::Result<()>,
    ) {
        scope.spawn(move || self.note(run(self, stream)));
    }

    /// The first error counts; those that come of the end do not.
    fn note(&self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.stopped()
        {
            locked(&self.error).get_or_insert(error);
        }
    }

    /// The error of whichever thread had one first.
    pub(super) fn check(&self) -> io::Result<()> {
        locked(&self.error).take().map_or(Ok(()), Err)
    }

    pub(super) fn has_failed(&self) -> bool {
        locked(&self.error).is_some()
    }

    pub(super) fn measure(&self, measuring: bool) {
        self.measuring.store(measuring, Ordering::Relaxed);
    }

    /// Ends the threads.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.load.is_bulk() {
            for stream in &*locked(&self.streams) {
                // Whoever sleeps in it wakes. It may be gone already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Bytes that have arrived where they go to, or exchanges.
    pub(super) fn done(&self) -> u64 {
        let done = self.done.load(Ordering::Relaxed);
        let waiting = match self.load.kind {
            Kind::Down | Kind::Both => locked(&self.streams).iter().map(sys::unacknowledged).sum(),
            _ => 0,
        };
        done.saturating_sub(waiting)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long each exchange took, in order of size.
    pub(super) fn times(&self) -> Vec<Duration> {
        let mut times = locked(&self.times).clone();
        times.sort_unstable();
        times
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let beside = locked(&self.streams).len();
        let port = BESIDE_IDLE.saturating_add(u16::try_from(beside).unwrap_or(u16::MAX));
        let local = (self.load.idle > 0).then(|| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        let stream = connect_soon(self.target, local)?;
        locked(&self.streams).push(stream.try_clone()?);
        Ok(stream)
    }

    fn send(&self, mut stream: TcpStream) -> io::Result<()> {
        let buffer = vec![0x5a; APPLICATION_BUFFER];
        while !self.stopped() {
            let written = stream.write(&buffer)?;
            self.done.fetch_add(written as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn receive(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; APPLICATION_BUFFER];
        while !self.stopped() {
            match stream.read(&mut buffer)? {
                0 if !self.stopped() => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.done.fetch_add(read as u64, Ordering::Relaxed),
            };
        }
        Ok(())
    }

    fn connect_again_and_again(&self) -> io::Result<()> {
        while !self.stopped() {
            let port = self.next_port.fetch_add(1, Ordering::Relaxed);
            if !(FIRST_PORT..=LAST_PORT).contains(&port) {
                return Err(io::Error::other("all ports are in TIME-WAIT: measure for a shorter time"));
            }
            let local = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            match connect(self.target, Some(local)).and_then(|mut stream| exchange(&mut stream)) {
                Ok(()) => self.done.fetch_add(1, Ordering::Relaxed),
                Err(_) => self.failed.fetch_add(1, Ordering::Relaxed),
            };
        }
        Ok(())
    }

    fn ping(&self, mut stream: TcpStream) -> io::Result<()> {
        self.again_and_again(|| exchange(&mut stream))
    }

    fn request(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut response = Vec::new();
        self.again_and_again(|| {
            stream.write_all(REQUEST)?;
            response.clear();
            read_response(&mut stream, &mut response)
        })
    }

    fn again_and_again(&self, mut once: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut times = Vec::with_capacity(1 << 16);
        while !self.stopped() {
            let begin = Instant::now();
            once()?;
            if self.measuring.load(Ordering::Relaxed) {
                times.push(begin.elapsed());
                self.done.fetch_add(1, Ordering::Relaxed);
            }
        }
        locked(&self.times).append(&mut times);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects, again where that is refused: a listener of tokio-smoltcp's takes one connection at a time.
pub(super) fn connect_soon(target: SocketAddrV4, local: Option<SocketAddrV4>) -> io::Result<TcpStream> {
    let begin = Instant::now();
    loop {
        match connect(target, local) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && begin.elapsed() < PATIENCE => {}
            result => return result,
        }
    }
}

fn connect(target: SocketAddrV4, local: Option<SocketAddrV4>) -> io::Result<TcpStream> {
    let socket = link::kernel_socket()?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    if let Some(local) = local {
        socket.bind(&local.into())?;
    }
    socket.connect_timeout(&target.into(), PATIENCE)?;
    Ok(socket.into())
}

/// A message there and back.
pub(super) fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [0x5a; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)
}

/// Reads a response to its end: the header, and a body of known length.
fn read_response(stream: &mut TcpStream, response: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => response.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
        let header = response.windows(4).position(|end| end == b"\r\n\r\n");
        if header.is_some_and(|header| response.len() >= header + 4 + BODY) {
            return Ok(());
        }
    }
}
