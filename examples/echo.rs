//! The import swap in its smallest form: an echo server and its client, with no device, no rights, no set-up.
//! 127.0.0.1 is the loopback inside ropeway, so not a single packet reaches the kernel.

use std::io;

// use tokio::net::{TcpListener, TcpStream};
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (mut stream, peer) = listener.accept().await?;
        println!("{peer} connected to {address}");
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await
    });

    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"both ends of the rope are ready").await?;
    stream.shutdown().await?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await?;
    println!("{echo}");
    println!("{} bytes went there and back", server.await??);
    Ok(())
}
