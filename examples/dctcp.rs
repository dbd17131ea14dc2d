//! A congestion control that answers to the share of packets with marks of congestion, and not to there being one: DCTCP
//! (RFC 8257), over Accurate ECN (RFC 9768). It sends over a simulated switch that marks from a threshold on, after CUBIC has done
//! so without ECN and with it: all are as fast, but the queue stays as short as the threshold. All of it takes no real time.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway::EcnMode;
use ropeway::congestion::{
    Algorithm, Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Phase, Start,
};
use ropeway::net::{TcpListener, TcpSocket};
use ropeway::packet::SeqNum;
use ropeway_examples::say;
use ropeway_sim::{Net, Queue, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// What is chosen: it makes a controller for each connection.
#[derive(Debug)]
pub(crate) struct Dctcp;

impl ControllerFactory for Dctcp {
    fn name(&self) -> &'static str {
        "dctcp"
    }

    fn build(&self, start: &Start) -> Box<dyn Controller> {
        let window = start.window.map_or(10 * start.mss, |(window, _)| window);
        let share = Share { alpha: ONE, acked: 0, marked: 0, end: SeqNum::new(0), begun: false };
        Box::new(Window { mss: start.mss, window, ssthresh: u32::MAX, credit: 0, share })
    }
}

/// The state of one connection. It needs no clock, and calculates in bytes.
#[derive(Clone, Debug)]
struct Window {
    mss: u32,
    window: u32,
    ssthresh: u32,
    /// Bytes acknowledged since the window last grew.
    credit: u32,
    share: Share,
}

/// How much of what arrives is marked, in 1024ths: DCTCP.Alpha (RFC 8257 3.3).
#[derive(Clone, Debug)]
struct Share {
    alpha: u32,
    acked: u32,
    marked: u32,
    /// Where the window of data ends that is looked at.
    end: SeqNum,
    begun: bool,
}

const ONE: u32 = 1024;

impl Share {
    /// Once for each window of data, the estimate moves by a sixteenth towards what was seen.
    fn on_ack(&mut self, delivery: &Delivery) {
        self.acked = self.acked.saturating_add(delivery.delivered);
        self.marked = self.marked.saturating_add(delivery.marked);
        if self.begun && !delivery.una.after(self.end) {
            return;
        }
        let seen = u64::from(self.marked) * u64::from(ONE) / u64::from(self.acked.max(1));
        let seen = u32::try_from(seen).unwrap_or(ONE).min(ONE);
        if self.begun {
            self.alpha = self.alpha - self.alpha / 16 + seen / 16;
        }
        (self.acked, self.marked, self.end, self.begun) = (0, 0, delivery.nxt, true);
    }
}

impl Controller for Window {
    fn window(&self) -> u32 {
        self.window
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, delivery: &Delivery) {
        self.share.on_ack(delivery);
        if !delivery.window_limited || matches!(delivery.phase, Phase::Recovery | Phase::Cwr) {
            return;
        }
        if self.window < self.ssthresh {
            self.window = self.window.saturating_add(delivery.acked);
            return;
        }
        self.credit = self.credit.saturating_add(delivery.acked);
        if self.credit >= self.window {
            self.credit = 0;
            self.window = self.window.saturating_add(self.mss);
        }
    }

    /// A mark takes half of the share that is marked, a loss half of the window (RFC 8257 3.3, 3.4).
    fn on_congestion(&mut self, event: &CongestionEvent) {
        let kept = match event.cause {
            Congestion::Ecn => {
                u64::from(self.window) * u64::from(2 * ONE - self.share.alpha) / u64::from(2 * ONE)
            }
            _ => u64::from(self.window / 2),
        };
        self.ssthresh = u32::try_from(kept).unwrap_or(u32::MAX).max(2 * self.mss);
        self.window = match event.cause {
            Congestion::Loss | Congestion::Ecn => self.ssthresh,
            _ => self.mss,
        };
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.mss = mss;
        self.window = self.window.max(mss);
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

const CHUNKS: usize = 1024;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    for (algorithm, ecn) in [
        (Algorithm::Cubic, EcnMode::Off),
        (Algorithm::Cubic, EcnMode::Accurate),
        (Algorithm::custom(Dctcp), EcnMode::Accurate),
    ] {
        let net = Net::builder().seed(1).build();
        let [server, client] = net.add_hosts(["server", "client"]);
        client.link().update(|pipe| {
            pipe.rate = Some(Rate::mbit(100));
            pipe.delay = Duration::from_micros(250);
            pipe.queue = Queue::packets(200).step(20 * 1500);
        });
        server.spawn(async {
            let listener = TcpSocket::new_v4()?;
            listener.set_ecn(EcnMode::AccurateWhenAsked)?;
            listener.bind("0.0.0.0:80".parse().map_err(io::Error::other)?)?;
            let (mut stream, _) = TcpListener::accept(&listener.listen(1)?).await?;
            stream.read_to_end(&mut Vec::new()).await.map(|_| ())
        });
        client.run(send(SocketAddr::new(server.ip(), 80), algorithm, ecn)).await?;
    }
    Ok(())
}

/// Sends, and tells how fast that was and how long the queue made a round trip.
async fn send(to: SocketAddr, algorithm: Algorithm, ecn: EcnMode) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_congestion(algorithm)?;
    socket.set_ecn(ecn)?;
    let mut stream = socket.connect(to).await?;
    let (started, chunk) = (Instant::now(), [0; 16 << 10]);
    let mut round_trips = Duration::ZERO;
    for _ in 0..CHUNKS {
        stream.write_all(&chunk).await?;
        round_trips += stream.info()?.srtt;
    }
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    let (bytes, seconds) = (CHUNKS * chunk.len(), started.elapsed().as_secs_f64());
    let info = stream.info()?;
    say!(
        "{:5} {ecn:8?} {:5.1} Mbit/s, round trips of {:6.3} ms, {:4} segments marked, {:3} sent again",
        info.congestion,
        bytes as f64 * 8e-6 / seconds,
        round_trips.as_secs_f64() * 1e3 / CHUNKS as f64,
        info.delivered_ce,
        info.retransmitted
    );
    Ok(())
}
