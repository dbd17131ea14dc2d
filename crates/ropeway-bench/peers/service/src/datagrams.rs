//! What is done with datagrams, whatever stack they are of.

use std::io;
use std::net::SocketAddr;

use crate::{Order, Task};

/// So many datagrams are reported at once.
const REPORT_EVERY: u64 = 256;

/// A UDP socket that is open to everybody.
pub trait Datagrams: Send {
    /// Waits for datagrams. Says how many there were, and who sent them.
    ///
    /// # Errors
    ///
    /// The stack has failed.
    fn receive(&mut self) -> impl Future<Output = io::Result<(u64, SocketAddr)>> + Send;

    /// Sends `data`: one datagram, or a train of datagrams where the order asks for trains.
    ///
    /// # Errors
    ///
    /// The stack has failed.
    fn send(&mut self, data: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<()>> + Send;
}

/// How many datagrams have come, which the sender is told from time to time: only the application knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    total: u64,
    reported: u64,
}

impl Received {
    /// Counts datagrams. Gives the datagram for their sender, if it is to be told.
    pub fn count(&mut self, datagrams: u64) -> Option<[u8; 8]> {
        self.total += datagrams;
        let due = self.total - self.reported >= REPORT_EVERY;
        due.then(|| {
            self.reported = self.total;
            self.total.to_be_bytes()
        })
    }
}

/// Does what `order` says with all that comes, until an error.
///
/// # Errors
///
/// Those of the socket; a task that is not one for datagrams.
pub async fn serve_datagrams(order: &Order, mut socket: impl Datagrams) -> io::Result<()> {
    match order.task {
        Task::UdpSink => {
            let mut received = Received::default();
            loop {
                let (datagrams, from) = socket.receive().await?;
                if let Some(report) = received.count(datagrams) {
                    socket.send(&report, from).await?;
                }
            }
        }
        Task::UdpSource => {
            let (_, to) = socket.receive().await?;
            let data = vec![0x5a; order.sent_at_once()];
            loop {
                socket.send(&data, to).await?;
            }
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
