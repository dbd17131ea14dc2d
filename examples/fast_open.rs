//! TCP Fast Open (RFC 7413): a request goes with the SYN, and its answer is there after one round trip instead of two. The path is
//! simulated, with 40 ms there and back, and all of it takes no real time. The first connection brings the cookie that the others
//! need.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpSocket};
use ropeway_examples::say;
use ropeway_sim::{Link, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(10))).build();
    let [client, server] = net.add_hosts(["client", "server"]);
    let address = SocketAddr::new(server.ip(), 80);
    let _server = server.spawn(async move {
        let socket = TcpSocket::new_v4()?;
        // Requests must be idempotent: the network may repeat a SYN, and with it the request (RFC 7413 2.1).
        socket.set_fastopen(16)?;
        socket.bind(address)?;
        serve(socket.listen(16)?).await
    });
    client.run(ask(address)).await?;
    Ok(())
}

/// Answers each request as soon as it is there, which may be before the handshake is complete.
async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 5];
        stream.read_exact(&mut request).await?;
        let how = if stream.info()?.syn_data { "with the SYN" } else { "after the handshake" };
        stream.write_all(format!("your request came {how}").as_bytes()).await?;
    }
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    for number in 1..=3 {
        let begin = Instant::now();
        let mut stream = TcpSocket::new_v4()?.connect_with(address, b"GET /").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        say!("request {number}: {answer}; the answer took {} ms", begin.elapsed().as_millis());
    }
    Ok(())
}
