//! An end on the kernel's TCP, with Tokio's sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{End, Sent, Stage, last, receive_one, send_one};
use crate::link;
use crate::sys;

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 64;

fn socket(end: &End) -> io::Result<Socket> {
    let socket = link::kernel_socket_with(end.congestion.name().as_bytes())?;
    if let Some(buffer) = end.buffer {
        sys::force_buffers(&socket, buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("buffers beyond the machine's limits need root ({error})"))
        })?;
    }
    socket.set_nonblocking(true)?;
    // What is left of a run must not cross the next one: it ends with a RST.
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

async fn connect(end: End, to: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket(&end)?.into()).connect(to).await
}

/// Sends all flows of a run.
pub(crate) async fn send(end: End, to: Ipv4Addr) -> io::Result<Sent> {
    end.is_ready()?;
    end.reached(Stage::Goes).await;
    let began = Instant::now();
    let start =
        |bytes: &u64| tokio::spawn(send_one(end.clone(), connect(end.clone(), super::target(to)), *bytes));
    let flows: Vec<_> = end.flows.iter().map(start).collect();
    let mut again = 0;
    for flow in flows {
        let stream = flow.await.map_err(io::Error::other)??;
        again += u64::from(sys::retransmissions(&stream)?);
    }
    Ok(Sent { began, again: Some(again) })
}

/// Receives all flows of a run.
pub(crate) async fn receive(end: End, at: Ipv4Addr) -> io::Result<Instant> {
    let socket = socket(&end)?;
    socket.bind(&super::target(at).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    end.is_ready()?;
    let mut flows = Vec::new();
    for bytes in &end.flows {
        let (stream, _) = end.unless_over(listener.accept()).await?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        flows.push(tokio::spawn(receive_one(end.clone(), stream, *bytes)));
    }
    last(flows).await
}
