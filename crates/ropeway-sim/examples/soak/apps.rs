//! What clients and servers do.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::oracle::{Oracle, Side};
use super::pattern::{Pattern, Trouble, datagram, datagram_of, read_end};
use super::scenario::{App, Connection, Scenario};

const PORT: u16 = 80;
/// That of datagrams.
const ECHO: u16 = 7;
/// So long a client waits for a datagram to come back.
const WAIT: Duration = Duration::from_millis(500);

/// Runs a client.
pub async fn client(connection: Connection, to: SocketAddr, oracle: Arc<Oracle>, fast: bool) {
    let parts = if let App::Short { count, .. } = connection.app { count } else { 1 };
    for part in 0..parts {
        let open = oracle.begin(connection.number, part, Side::Client);
        let result = talk(&connection, part, to, fast).await;
        let failed = result.is_err();
        open.end(result);
        if failed {
            break;
        }
    }
}

/// Where the server of a host is reached.
pub fn server_address(ipv4: Ipv4Addr, ipv6: Ipv6Addr, connection: &Connection) -> SocketAddr {
    if connection.ipv6 { (ipv6, PORT).into() } else { (ipv4, PORT).into() }
}

async fn talk(connection: &Connection, part: u32, to: SocketAddr, fast: bool) -> Result<(), Trouble> {
    if let App::Datagrams { count, len, pause_ms } = connection.app {
        return ask(connection.number, to, (count, len), Duration::from_millis(pause_ms.into())).await;
    }
    let header = [connection.number.to_be_bytes(), part.to_be_bytes()].concat();
    let stream = if fast {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.connect_with(to, &header).await?
    } else {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&header).await?;
        stream
    };
    act(&connection.app, connection.number, part, stream, Side::Client).await
}

/// Sends datagrams, and makes sure that what comes back is one of them.
async fn ask(number: u32, to: SocketAddr, (count, len): (u32, u32), pause: Duration) -> Result<(), Trouble> {
    let local = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).await?;
    socket.connect((to.ip(), ECHO)).await?;
    let mut buf = vec![0; 16_384];
    for part in 0..count {
        // What the network says of it, such as that a host is not there, is no promise broken.
        let _ = socket.send(&datagram(number, part, len)).await;
        while let Ok(Ok(read)) = timeout(WAIT, socket.recv(&mut buf)).await {
            match datagram_of(&buf[..read]) {
                Some((from, which)) if from == number && which == part => break,
                Some((from, which)) if from == number && which < part => {}
                other => {
                    return Err(Trouble::Wrong(format!(
                        "a datagram of {read} bytes comes back as {other:?}"
                    )));
                }
            }
        }
        sleep(pause).await;
    }
    Ok(())
}

/// Sends datagrams back, until its host crashes.
pub async fn echo(scenario: Arc<Scenario>, oracle: Arc<Oracle>) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO)).await?;
    let mut buf = vec![0; 16_384];
    loop {
        let Ok((read, from)) = socket.recv_from(&mut buf).await else { continue };
        let known = datagram_of(&buf[..read]).filter(|(number, _)| scenario.connection(*number).is_some());
        if known.is_none() {
            oracle.wrong(format!("a datagram of {read} bytes from {from}, which nobody sent"));
        }
        let _ = socket.send_to(&buf[..read], from).await;
    }
}

/// Runs a server until its host crashes.
pub async fn server(scenario: Arc<Scenario>, oracle: Arc<Oracle>, fast: bool) -> io::Result<()> {
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    if fast {
        socket.set_fastopen(8)?;
    }
    socket.bind((Ipv6Addr::UNSPECIFIED, PORT).into())?;
    let listener: TcpListener = socket.listen(1024)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let (scenario, oracle) = (Arc::clone(&scenario), Arc::clone(&oracle));
        tokio::spawn(async move {
            let opened = oracle.accepted();
            let mut words = [0; 8];
            let header = stream.read_exact(&mut words).await;
            drop(opened);
            if let Err(error) = header {
                return oracle.nameless(error.kind());
            }
            let word =
                |at: usize| u32::from_be_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
            let (number, part) = (word(0), word(4));
            let Some(connection) = scenario.connection(number) else {
                return oracle.wrong(format!("a connection begins with {words:?}, which nobody sent"));
            };
            let open = oracle.begin(number, part, Side::Server);
            open.end(act(&connection.app, number, part, stream, Side::Server).await);
        });
    }
}

/// What one side does once the connection stands.
async fn act(app: &App, number: u32, part: u32, mut stream: TcpStream, side: Side) -> Result<(), Trouble> {
    let is_client = side == Side::Client;
    let mut sent = Pattern::new(number, part, is_client);
    let mut received = Pattern::new(number, part, !is_client);
    if let App::Abort { by_client, after, down } = *app {
        let (mut reader, mut writer) = stream.split();
        if by_client == is_client {
            sent.write(&mut writer, after).await?;
            // Closed with a linger time of zero, a connection is reset.
            stream.set_zero_linger()?;
            return Ok(());
        }
        // Reads what comes until the reset, and has something to say meanwhile.
        let read = async {
            while received.read_some(&mut reader, after).await? > 0 {}
            Err::<(), Trouble>(Trouble::Wrong("the end came, and not a reset".to_owned()))
        };
        // The call that comes first learns of the reset; to a read after it, that is the end.
        return match tokio::join!(biased; sent.write(&mut writer, down), read) {
            (Err(error), _) => Err(error),
            (Ok(()), read) => read,
        };
    }
    let (mut reader, mut writer) = stream.split();
    match *app {
        App::Bulk { up, down } => {
            let (to_send, to_read) = if is_client { (up, down) } else { (down, up) };
            let write = async {
                sent.write(&mut writer, to_send).await?;
                Ok::<_, Trouble>(writer.shutdown().await?)
            };
            let read = async {
                received.read(&mut reader, to_read).await?;
                read_end(&mut reader).await
            };
            tokio::try_join!(biased; write, read)?;
        }
        App::HalfClose { up, down } if is_client => {
            sent.write(&mut writer, up).await?;
            writer.shutdown().await?;
            received.read(&mut reader, down).await?;
            read_end(&mut reader).await?;
        }
        App::HalfClose { up, down } => {
            received.read(&mut reader, up).await?;
            read_end(&mut reader).await?;
            sent.write(&mut writer, down).await?;
            writer.shutdown().await?;
        }
        App::Requests { count, up, down, pause_ms } => {
            let (to_send, to_read) = if is_client { (up, down) } else { (down, up) };
            for _ in 0..count {
                if is_client {
                    sent.write(&mut writer, to_send).await?;
                    received.read(&mut reader, to_read).await?;
                    sleep(Duration::from_millis(pause_ms.into())).await;
                } else {
                    received.read(&mut reader, to_read).await?;
                    sent.write(&mut writer, to_send).await?;
                }
            }
            finish(&mut reader, &mut writer, is_client).await?;
        }
        App::Short { up, down, .. } => {
            if is_client {
                sent.write(&mut writer, up).await?;
                received.read(&mut reader, down).await?;
            } else {
                received.read(&mut reader, up).await?;
                sent.write(&mut writer, down).await?;
            }
            finish(&mut reader, &mut writer, !is_client).await?;
        }
        App::Idle { secs } => {
            for _ in 0..2 {
                if is_client {
                    sent.write(&mut writer, 1).await?;
                    received.read(&mut reader, 1).await?;
                    sleep(Duration::from_secs(secs.into())).await;
                } else {
                    received.read(&mut reader, 1).await?;
                    sent.write(&mut writer, 1).await?;
                }
            }
            finish(&mut reader, &mut writer, is_client).await?;
        }
        App::Slow { up, .. } if is_client => {
            sent.write(&mut writer, up).await?;
            finish(&mut reader, &mut writer, true).await?;
        }
        App::Slow { up, chunk, pause_ms } => {
            let mut left = up;
            while left > 0 {
                sleep(Duration::from_millis(pause_ms.into())).await;
                let part = chunk.min(left);
                received.read(&mut reader, part).await?;
                left -= part;
            }
            finish(&mut reader, &mut writer, false).await?;
        }
        App::Abort { .. } | App::Datagrams { .. } => {}
    }
    Ok(())
}

/// Ends both directions: the side that does so `first`, and then the other.
async fn finish(
    reader: &mut ropeway::net::tcp::ReadHalf<'_>,
    writer: &mut ropeway::net::tcp::WriteHalf<'_>,
    first: bool,
) -> Result<(), Trouble> {
    if first {
        writer.shutdown().await?;
        read_end(reader).await
    } else {
        read_end(reader).await?;
        Ok(writer.shutdown().await?)
    }
}
