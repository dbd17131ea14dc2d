//! What uses the other end's TCP, as it is told: one line of words comes over a connection of its own, and lines go back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::unistd::Pid;
use ropeway_tests::pattern;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::info::Info;

type Order = (Vec<String>, oneshot::Sender<io::Result<()>>);

/// A thread that runs programs, in its own network namespace.
#[derive(Clone)]
pub(crate) struct Programs {
    orders: mpsc::Sender<Order>,
    pub(crate) thread: Pid,
}

impl Programs {
    /// The thread begins with `enter`, which gives its id.
    pub(crate) fn new(enter: impl FnOnce() -> Pid + Send + 'static) -> Self {
        let (sender, orders) = mpsc::channel::<Order>();
        let (begun, id) = mpsc::channel();
        thread::spawn(move || {
            begun.send(enter()).unwrap();
            for (words, done) in orders {
                let _gone = done.send(run(&words));
            }
        });
        Self { orders: sender, thread: id.recv().unwrap() }
    }

    pub(crate) async fn run(&self, words: Vec<String>) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.orders.send((words, done)).map_err(io::Error::other)?;
        result.await.map_err(io::Error::other)?
    }
}

fn run(words: &[String]) -> io::Result<()> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr))))
}

/// Does what it is told, for ever.
pub(crate) async fn serve(listener: TcpListener, programs: Programs) {
    while let Ok((control, _)) = listener.accept().await {
        let programs = programs.clone();
        tokio::spawn(async move {
            let mut control = BufReader::new(control);
            let mut line = String::new();
            if control.read_line(&mut line).await.is_ok() {
                let answer = match obey(&line, &mut control, &programs).await {
                    Ok(answer) => answer,
                    Err(error) => format!("error {error}").replace('\n', " "),
                };
                let _gone = control.write_all(format!("{answer}\n").as_bytes()).await;
            }
        });
    }
}

async fn obey(line: &str, control: &mut BufReader<TcpStream>, programs: &Programs) -> io::Result<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["set", path, ref value @ ..] => {
            std::fs::write(path, value.join(" "))
                .map_err(|error| io::Error::other(format!("{path}: {error}")))?;
            Ok("done".to_owned())
        }
        ["run", ref program @ ..] => {
            programs.run(program.iter().map(ToString::to_string).collect()).await.map(|()| "done".to_owned())
        }
        ["listen", address, what, len] => {
            let listener = TcpListener::bind(address).await?;
            control.write_all(b"ready\n").await?;
            let (stream, _) = listener.accept().await?;
            converse(stream, what, len).await
        }
        ["connect", address, what, len] => {
            let address: SocketAddr = address.parse().map_err(io::Error::other)?;
            control.write_all(b"ready\n").await?;
            converse(TcpStream::connect(address).await?, what, len).await
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn converse(mut stream: TcpStream, what: &str, len: &str) -> io::Result<String> {
    let begun = Instant::now();
    let len = len.parse().map_err(io::Error::other)?;
    let sum = talk(&mut stream, what == "send", len).await;
    Ok(format!("{sum} {} {}", begun.elapsed().as_secs_f64(), Info::read(&stream)?.to_hex()))
}

/// Sends, or receives to the end and then says so by a byte; in either case all has been acknowledged afterwards. Gives the SHA-256
/// of what went through.
pub(crate) async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sends: bool,
    len: u64,
) -> String {
    if sends {
        let sum = pattern::send(stream, len).await;
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'.');
        return sum;
    }
    let (sum, came) = pattern::receive(stream).await;
    assert_eq!(came, len);
    stream.write_u8(b'.').await.unwrap();
    sum
}

/// The tasks of an agent on the kernel of this very machine, in this thread's namespace.
pub(crate) fn beside() -> SocketAddr {
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, Programs::new(nix::unistd::gettid)).await;
        });
    });
    address.recv().unwrap()
}

/// `TCP_CONGESTION`
pub(crate) fn set_congestion(socket: &impl AsRawFd, name: &str) -> io::Result<()> {
    let len = libc::socklen_t::try_from(name.len()).unwrap_or_default();
    // SAFETY: the kernel reads `len` bytes of `name`, which are there.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_ptr().cast(),
            len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Info {
    fn read(stream: &TcpStream) -> io::Result<Self> {
        let mut bytes = [0_u8; Self::LEN];
        let mut len = libc::socklen_t::try_from(bytes.len()).unwrap_or_default();
        // SAFETY: the kernel writes at most `len` bytes to `bytes`, which are there.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Self::new(bytes)) }
    }
}
