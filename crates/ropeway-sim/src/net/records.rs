//! What a test can look at afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hash as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use siphasher::sip128::{Hasher128, SipHasher24};

use super::Net;
use crate::engine::millis;
use crate::host::Host;
use crate::ladder::simulated;
use crate::record::Journey;
use crate::world::World;

/// Connections that are drawn for a test that failed.
const DRAWN: usize = 16;
/// Where the records of tests that failed go, if it is set.
const DIRECTORY: &str = "ROPEWAY_SIM_DIR";

impl Net {
    /// All packets as a pcapng file for Wireshark: each once, at the moment when its sender sent it, on an interface that
    /// has the sender's name. A comment tells its path: where it was at which millisecond, what was done to it, and why
    /// and where it was lost. Times are on the network's own clock.
    ///
    /// To see what a host has got, and when, take [its own](Host::pcap). How many packets are remembered is
    /// [`NetBuilder::keep`](crate::NetBuilder::keep)'s.
    #[must_use]
    pub fn pcap(&self) -> Vec<u8> {
        self.handle.shared.world().pcapng()
    }

    /// Writes [`pcap`](Self::pcap) to a file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write_pcap(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.pcap())
    }

    /// A digest of all packets and what became of them: runs of the same seed have the same one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use ropeway_sim::Net;
    /// use ropeway::net::TcpStream;
    ///
    /// let mut digests = Vec::new();
    /// for seed in [1, 1, 2] {
    ///     let net = Net::builder().seed(seed).build();
    ///     net.add_host("b").build();
    ///     let _refused = net.add_host("a").build().run(TcpStream::connect("b:80")).await;
    ///     digests.push(net.digest());
    /// }
    /// assert_eq!(digests[0], digests[1]);
    /// assert_ne!(digests[0], digests[2]);
    /// # }
    /// ```
    #[must_use]
    pub fn digest(&self) -> u128 {
        let mut hasher = SipHasher24::new();
        self.handle.shared.world().record.traces().for_each(|trace| trace.hash(&mut hasher));
        hasher.finish128().as_u128()
    }

    /// How many packets hosts and routers have sent so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.handle.shared.world().packets()
    }

    /// What befell the network, one line for each fault: when, in milliseconds, and what.
    #[must_use]
    pub fn log(&self) -> String {
        log(&self.handle.shared.world())
    }

    /// Draws the last connection that was opened between two hosts, with the one that opened it on the left: when
    /// each segment was sent, when it arrived, or why it did not, and the states that the ends entered with it.
    ///
    /// ```text
    ///           ms  a 10.0.0.1:40123                                          ms  b 10.0.0.2:7
    ///        0.000  SYN-SENT     |-- SYN seq 0 win 65535 [...] -------->|     10.000  SYN-RECEIVED
    ///       20.000  ESTABLISHED  |<- SYN,ACK seq 0 ack 1 win 65535 ... -|     10.000
    ///       20.000               |-- ACK seq 1 ack 1 win 65536 ------X  |            lost at random (hub to b)
    /// ```
    #[must_use]
    pub fn ladder(&self, a: &Host, b: &Host) -> String {
        let (one, other) = (a.addresses(), b.addresses());
        let world = self.handle.shared.world();
        let journeys = world.journeys();
        let between = |journey: &Journey| {
            let ends = [journey.from.ip(), journey.to.ip()];
            ends.iter().any(|end| one.contains(end)) && ends.iter().any(|end| other.contains(end))
        };
        let found = connections(&journeys, between);
        let last = found.iter().max_by_key(|segments| segments.first().map(|segment| segment.sent_at));
        last.map_or_else(|| "no segment was sent\n".to_owned(), |segments| draw(&world, segments))
    }

    /// Draws the connections that were active last, as [`ladder`](Self::ladder) does: at most 16.
    #[must_use]
    pub fn ladders(&self) -> String {
        ladders(&self.handle.shared.world())
    }

    /// Writes all that is recorded into a directory, which is made: `packets.pcapng`, `packets-NAME.pcapng` for each host
    /// that has sent or got any, `connections.txt` and `events.txt`. That is what happens by itself when a test fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// let net = ropeway_sim::Net::new();
    /// net.add_host("a").build().crash();
    /// assert!(net.log().contains("a crashes"));
    /// net.save(directory.path().join("after-the-crash"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn save(&self, directory: impl AsRef<Path>) -> io::Result<()> {
        save(&self.handle.shared.world(), directory.as_ref())
    }
}

impl Host {
    /// The packets that this host has sent and got, as a pcapng file for Wireshark: as `tcpdump` on the host would have
    /// seen them, each with its path in a comment. What was lost on its way is in the sender's alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// let net = ropeway_sim::Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// let _refused = a.run(ropeway::net::TcpStream::connect("b:80")).await;
    /// std::fs::write(directory.path().join("b.pcapng"), b.pcap())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn pcap(&self) -> Vec<u8> {
        self.handle.shared.world().pcapng_of(self.id)
    }
}

/// Writes what is recorded where it is found again, and tells the seed: the test has failed.
pub(super) fn tell_failure(world: &World) {
    let seed = world.seed.number();
    eprintln!("\nropeway-sim: the seed was {seed}; {}={seed} replays it", crate::seed::VARIABLE);
    let directory = failure_directory(seed);
    match save(world, &directory) {
        Ok(()) => eprintln!(
            "ropeway-sim: packets.pcapng, one for each host, connections.txt and events.txt are in {}",
            directory.display()
        ),
        Err(error) => eprintln!("ropeway-sim: {}: {error}", directory.display()),
    }
}

/// `ROPEWAY_SIM_DIR`, or `ropeway-sim` in Cargo's target directory; and in it, one for the test and the seed.
fn failure_directory(seed: u64) -> PathBuf {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", "-");
    let base = std::env::var_os(DIRECTORY).map(PathBuf::from).unwrap_or_else(|| {
        let program = std::env::current_exe().unwrap_or_default();
        let target = program.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
        target.unwrap_or(Path::new("target")).join("ropeway-sim")
    });
    base.join(format!("{test}-{seed}"))
}

fn save(world: &World, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("packets.pcapng"), world.pcapng())?;
    for (node, name) in world.names_of_files() {
        std::fs::write(directory.join(format!("packets-{name}.pcapng")), world.pcapng_of(node))?;
    }
    std::fs::write(directory.join("connections.txt"), ladders(world))?;
    std::fs::write(directory.join("events.txt"), log(world))
}

fn log(world: &World) -> String {
    let mut text = format!("{:>12}  seed {}\n", "ms", world.seed.number());
    for (at, what) in &world.record.events {
        let _ = writeln!(text, "{:>12}  {what}", millis(*at));
    }
    text
}

/// Draws the connections that were active last.
pub(crate) fn ladders(world: &World) -> String {
    let journeys = world.journeys();
    let mut found = connections(&journeys, |_| true);
    found.sort_by_key(|segments| segments.last().map(|segment| segment.sent_at));
    let left_out = found.len().saturating_sub(DRAWN);
    let mut text = String::new();
    if left_out > 0 {
        let _ = writeln!(text, "{left_out} connections that were active earlier are left out\n");
    }
    for segments in found.iter().skip(left_out) {
        let _ = writeln!(text, "{}", draw(world, segments));
    }
    text
}

/// The connections whose segments are chosen, in the order of their ends.
fn connections(journeys: &[Journey], chosen: impl Fn(&Journey) -> bool) -> Vec<Vec<&Journey>> {
    let mut pairs: BTreeMap<(SocketAddr, SocketAddr), Vec<&Journey>> = BTreeMap::new();
    for journey in journeys.iter().filter(|journey| chosen(journey)) {
        pairs.entry(journey.ends()).or_default().push(journey);
    }
    pairs.into_values().flat_map(simulated::connections).collect()
}

fn draw(world: &World, segments: &[&Journey]) -> String {
    let name = |end: Option<SocketAddr>| {
        let node = end.and_then(|end| world.at_address(end.ip()));
        node.map(|node| world.node(node).name.as_str()).unwrap_or_default()
    };
    let first = segments.first();
    let names = [name(first.map(|segment| segment.from)), name(first.map(|segment| segment.to))];
    simulated::draw(segments, names)
}
