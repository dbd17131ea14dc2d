//! For axum.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};

/// A listener for `axum::serve`. Like axum's own for Tokio's listener, it tries again after a second when `accept` fails.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use ropeway::net::TcpListener;
/// use ropeway_sim::adapters::AxumListener;
///
/// # async fn serve() -> std::io::Result<()> {
/// let listener = TcpListener::bind("0.0.0.0:80").await?;
/// axum::serve(AxumListener(listener), Router::new().route("/", get("hello"))).await
/// # }
/// ```
#[derive(Debug)]
pub struct AxumListener(pub TcpListener);

impl axum::serve::Listener for AxumListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
