//! A congestion control of one's own: additive increase, gentle decrease. It is chosen for one socket, which then sends
//! some megabytes over a simulated path of 10 Mbit/s, while its window is drawn. All of it takes no real time.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway::congestion::{
    Algorithm, Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Phase, Start,
};
use ropeway::net::{TcpListener, TcpSocket};
use ropeway_examples::say;
use ropeway_sim::{Net, Queue, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// What is chosen: it makes a controller for each connection.
#[derive(Debug)]
struct Gentle;

impl ControllerFactory for Gentle {
    fn name(&self) -> &'static str {
        "gentle"
    }

    fn build(&self, start: &Start) -> Box<dyn Controller> {
        // If the connection has had another controller until now, its window goes on.
        let window = start.window.map_or(10 * start.mss, |(window, _)| window);
        Box::new(GentleWindow { mss: start.mss, window, slow_start: true, credit: 0 })
    }
}

/// The state of one connection. It needs no clock, and calculates in bytes.
#[derive(Clone, Debug)]
struct GentleWindow {
    mss: u32,
    window: u32,
    slow_start: bool,
    /// Bytes acknowledged since the window last grew.
    credit: u32,
}

impl Controller for GentleWindow {
    fn window(&self) -> u32 {
        self.window
    }

    /// The sender reduces to this in a recovery (RFC 9937); below it, it paces for slow start.
    fn ssthresh(&self) -> u32 {
        if self.slow_start { u32::MAX } else { self.window }
    }

    fn on_ack(&mut self, delivery: &Delivery) {
        // A window that is not used says nothing of the path, and in a recovery the sender goes by ssthresh.
        if !delivery.window_limited || matches!(delivery.phase, Phase::Recovery | Phase::Cwr) {
            return;
        }
        if self.slow_start {
            self.window = self.window.saturating_add(delivery.acked);
            return;
        }
        self.credit = self.credit.saturating_add(delivery.acked);
        if self.credit >= self.window {
            self.credit = 0;
            self.window = self.window.saturating_add(self.mss);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.slow_start = false;
        self.window = match event.cause {
            Congestion::Loss | Congestion::Ecn => event.flight_size / 5 * 4,
            _ => self.mss,
        };
        self.window = self.window.max(self.mss);
    }

    fn on_mss_change(&mut self, mss: u32) {
        self.mss = mss;
        self.window = self.window.max(mss);
    }

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

const CHUNKS: usize = 512;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let net = Net::builder().seed(1).build();
    let [server, client] = net.add_hosts(["server", "client"]);
    client.link().update(|pipe| {
        pipe.rate = Some(Rate::mbit(10));
        pipe.delay = Duration::from_millis(20);
        pipe.queue = Queue::packets(30);
    });
    server.spawn(async {
        let (mut stream, _) = TcpListener::bind("0.0.0.0:80").await?.accept().await?;
        stream.read_to_end(&mut Vec::new()).await.map(|_| ())
    });
    client.run(send(SocketAddr::new(server.ip(), 80))).await?;
    Ok(())
}

/// Sends, and draws the window five times a second.
async fn send(to: SocketAddr) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_congestion(Algorithm::custom(Gentle))?;
    let mut stream = socket.connect(to).await?;
    let (started, chunk) = (Instant::now(), [0; 16 << 10]);
    let mut next = started;
    for _ in 0..CHUNKS {
        stream.write_all(&chunk).await?;
        if Instant::now() >= next {
            let info = stream.info()?;
            let segments = info.cwnd / u32::from(info.snd_mss).max(1);
            let bar = "#".repeat(segments as usize);
            say!("{:5.1} s {segments:4} {bar}", started.elapsed().as_secs_f64());
            next += Duration::from_millis(200);
        }
    }
    stream.shutdown().await?;
    // The server closes when it has everything.
    stream.read_to_end(&mut Vec::new()).await?;
    let (bytes, seconds) = (CHUNKS * chunk.len(), started.elapsed().as_secs_f64());
    say!("{bytes} bytes in {seconds:.2} s: {:.2} Mbit/s", bytes as f64 * 8e-6 / seconds);
    say!(
        "congestion control: {}, retransmitted: {}",
        stream.info()?.congestion,
        stream.info()?.retransmitted
    );
    Ok(())
}
