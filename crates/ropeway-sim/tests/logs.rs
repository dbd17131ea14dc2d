//! Log lines of simulated hosts say where and when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Link, Net, SimTime, Stamp};
use tokio::time::sleep;
use tracing::level_filters::LevelFilter;

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn lines_have_the_host_and_simulated_time() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_timer(SimTime)
        .with_ansi(false)
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(5))).build();
    let [server, client] = net.add_hosts(["server", "client"]);
    server.spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tracing::info!("accepted");
        // A task of a task has no span, but it has a host.
        tokio::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            tracing::warn!("dropped");
            drop(stream);
        });
    });
    client
        .run(async {
            let _stream = TcpStream::connect("server:80").await.unwrap();
            tracing::info!("connected");
            sleep(Duration::from_millis(100)).await;
        })
        .await;
    tracing::info!("over");
    let lines = log.lines();
    let line = |text: &str| {
        let found = lines.iter().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text} is not in {lines:#?}")).as_str()
    };
    assert!(line("accepted").starts_with("      30.000 server  INFO host{name=\"server\"}: "), "{lines:#?}");
    assert!(line("dropped").starts_with("      35.000 server  WARN "), "{lines:#?}");
    assert!(line("connected").starts_with("      20.000 client  INFO host{name=\"client\"}: "), "{lines:#?}");
    assert!(line("over").starts_with("     120.000 -  INFO "), "{lines:#?}");
    // What the stacks themselves have to say.
    let states: Vec<_> = lines.iter().filter(|line| line.contains("ropeway::state")).collect();
    assert!(
        states.iter().any(|line| line.contains(" server ") && line.contains("host{name=\"server\"}")),
        "{lines:#?}"
    );
    assert!(
        states.iter().any(|line| line.contains(" client ") && line.contains("host{name=\"client\"}")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn there_need_not_be_a_simulation() {
    assert_eq!(Stamp::now().to_string(), "           - -");
    assert_eq!(std::thread::spawn(Stamp::now).join().unwrap().to_string(), "           - -");
}
