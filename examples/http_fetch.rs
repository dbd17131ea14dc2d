//! Fetches a web page through ropeway's TCP, and shows what happened on the wire.
//!
//! Without arguments, the server runs on the kernel's TCP at the other end of a TUN device, in a network
//! namespace of this process: nothing on the machine changes. `--help` tells the rest.

use std::error::Error;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use ropeway::net::TcpStream;
use ropeway::{IpCidr, Stack, State};
use ropeway_examples::capture::Capture;
use ropeway_examples::namespace::Namespace;
use ropeway_examples::recorder::Recorder;
use ropeway_examples::site::{Site, hex};
use ropeway_examples::{link, namespace, report, say};
use ropeway_plot::Plotter;
use ropeway_sim::ladder::{self, End};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt;

#[derive(Parser)]
#[command(version, about = "Fetch a web page through ropeway's TCP, and show what happened on the wire")]
struct Options {
    /// What to fetch, such as http://10.0.0.1:8080/x, over the device of --tun. Without it, a server of our own
    /// is at the other end
    #[arg(value_parser = report::parse_url)]
    url: Option<Uri>,
    /// The TUN device to use, made by hand as docs/TUN.md shows
    #[arg(long, value_name = "NAME", requires = "url")]
    tun: Option<String>,
    /// Our address on it, such as 10.9.0.2/24
    #[arg(long, value_name = "ADDRESS/PREFIX", requires = "tun")]
    address: Option<IpCidr>,
    /// The kernel's address on it, our gateway. Needed only to make a device that is not there: a TUN device
    /// has no link layer, so every packet goes to the kernel, and its routes decide
    #[arg(long, value_name = "ADDRESS", requires = "tun")]
    via: Option<IpAddr>,
    /// Fetch so many bytes instead of the page, such as 200M
    #[arg(long, value_parser = report::parse_size, conflicts_with = "url")]
    size: Option<u64>,
    /// Write all packets to a file that Wireshark opens
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Draw the connection, as this end sees it, into an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Draw only what happens in such a span of seconds since the first segment, such as 0..0.1
    #[arg(long, value_name = "FROM..UNTIL", value_parser = ropeway_plot::parse_span, requires = "plot")]
    plot_span: Option<Range<Duration>>,
    /// Give up when nothing arrives for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = report::seconds())]
    timeout: u64,
}

impl Options {
    /// What listens for the picture, if there is to be one. Whether it can be written is known before anything is fetched.
    fn plotter(&self) -> Result<Option<Plotter>, Box<dyn Error>> {
        let Some(path) = &self.plot else { return Ok(None) };
        ropeway_plot::prepare(path)?;
        let all = Plotter::default();
        Ok(Some(self.plot_span.as_ref().map_or_else(|| all.clone(), |span| all.clone().within(span))))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // First of all: an ordinary user gets the rights only while the process has a single thread.
    let place = options.url.is_none().then(namespace::enter);
    report::exit_code("http_fetch", run(options, place))
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: Options, place: Option<Result<Namespace, String>>) -> Result<(), Box<dyn Error>> {
    let capture = Capture::create(options.pcap.as_deref())?;
    let recorder = Recorder::start(capture.clone());
    let plotter = options.plotter()?;
    let listeners = tracing_subscriber::registry().with(recorder.layer());
    tracing::subscriber::set_global_default(listeners.with(plotter.as_ref().map(Plotter::layer)))?;
    let site = Site::default();
    let journey = match place {
        None => journey_by_hand(&options, &recorder).await?,
        Some(place) => own_journey(&options, place, &site, &recorder).await?,
    };

    let fetched = fetch(&journey, Duration::from_secs(options.timeout)).await?;
    say!(
        "GET {} -> {}, {} bytes in {:.2?}, {}/s",
        journey.url,
        fetched.status,
        fetched.len,
        fetched.time,
        HumanBytes(fetched.per_second()),
    );
    let verdict = match site.last_digest() {
        Some(digest) if digest == fetched.digest => ", which is what the server sent",
        Some(_) => return Err("what arrived is not what the server sent".into()),
        None => "",
    };
    say!("sha256 {}{verdict}\n", fetched.digest);

    wait_until_over(&recorder, fetched.local).await;
    let (crossings, changes) = recorder.finish();
    let us = End { name: "ropeway", reports: true };
    say!("{}", ladder::draw_within(report::columns(), &crossings, &changes, us, journey.peer));
    if !journey.peer.reports {
        say!(
            "The states on the left are ropeway's own report; those on the right are inferred from the packets."
        );
    }
    capture.finish()?;
    if let Some(path) = &options.pcap {
        say!("\nAll packets are in {}: wireshark {0}", path.display());
    }
    if let (Some(plotter), Some(path)) = (plotter, &options.plot) {
        let own = fetched.local.to_string();
        let pictures = plotter.pictures();
        let picture = pictures.iter().find(|picture| picture.local() == own);
        let picture = picture.ok_or("nothing happened in the span of --plot-span")?;
        picture.write(&format!("GET {}", journey.url), path)?;
        say!("\nThe connection is drawn in {}", path.display());
    }
    Ok(())
}

/// Where to go, and how.
struct Journey {
    stack: Stack,
    url: Uri,
    address: SocketAddr,
    peer: End<'static>,
}

/// To a server of our own: on the kernel's TCP if there can be a TUN device, on ropeway's otherwise.
async fn own_journey(
    options: &Options,
    place: Result<Namespace, String>,
    site: &Site,
    recorder: &Recorder,
) -> Result<Journey, Box<dyn Error>> {
    let device = place.and_then(|place| link::tun(&place).map_err(|error| error.to_string()));
    let (stack, address, peer) = match device {
        Ok(device) => {
            say!(
                "TUN device {} in a network namespace of its own, Linux {}, ropeway {}",
                device.name(),
                link::KERNEL,
                link::OURS
            );
            let stack = link::own_stack(device, recorder.hook())?;
            let address = link::serve_on_kernel(site.clone()).await?;
            (stack, address, End { name: "Linux", reports: false })
        }
        Err(reason) => {
            say!("No TUN device ({reason}): both ends are ropeway's, with memory between them");
            let (device, address) = link::serve_in_memory(site.clone()).await?;
            (link::own_stack(device, recorder.hook())?, address, End { name: "ropeway", reports: true })
        }
    };
    let path = options.size.map_or_else(|| "/".to_owned(), |size| format!("/bytes/{size}"));
    Ok(Journey { stack, url: format!("http://{address}{path}").parse()?, address, peer })
}

/// To wherever the kernel's routes lead from a device that was set up by hand.
async fn journey_by_hand(options: &Options, recorder: &Recorder) -> Result<Journey, Box<dyn Error>> {
    let (Some(url), Some(tun), Some(own)) = (options.url.clone(), &options.tun, options.address) else {
        return Err(
            "a URL needs --tun NAME and --address ADDRESS/PREFIX: docs/TUN.md shows how to set them up"
                .into(),
        );
    };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let mut addresses = tokio::net::lookup_host((host.as_str(), url.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| format!("the name {host} cannot be resolved: {error}"))?;
    let address = addresses
        .find(|address| address.is_ipv4() == own.address().is_ipv4())
        .ok_or_else(|| format!("{host} has no address of the same IP version as ours, {own}"))?;
    let device = link::attach_or_make(tun, own, options.via)?;
    let stack = link::stack(device, own, recorder.hook())?;
    Ok(Journey { stack, url, address, peer: End { name: "server", reports: false } })
}

/// What has arrived.
struct Fetched {
    local: SocketAddr,
    status: StatusCode,
    len: u64,
    time: Duration,
    digest: String,
}

impl Fetched {
    fn per_second(&self) -> u64 {
        let micros = u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX);
        self.len.saturating_mul(1_000_000) / micros.max(1)
    }
}

/// Fetches a page with hyper, as one does over a `TcpStream` of Tokio's.
async fn fetch(journey: &Journey, patience: Duration) -> Result<Fetched, Box<dyn Error>> {
    let Journey { stack, url, address, .. } = journey;
    let started = Instant::now();
    let silent = |_| {
        format!(
            "{address} has not answered for {patience:?}: is there a way from the device to it, and back?"
        )
    };
    let stream = timeout(patience, TcpStream::connect_on(stack, *address))
        .await
        .map_err(silent)?
        .map_err(|error| format!("no connection to {address}: {error}"))?;
    let local = stream.local_addr()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);

    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    let mut response = timeout(patience, sender.send_request(request)).await.map_err(silent)??;
    let bar = progress_bar(response.headers());
    let (mut len, mut digest) = (0, Sha256::new());
    while let Some(frame) = timeout(patience, response.frame()).await.map_err(silent)? {
        if let Ok(data) = frame?.into_data() {
            digest.update(&data);
            len += data.len() as u64;
            bar.set_position(len);
        }
    }
    let time = started.elapsed();
    bar.finish_and_clear();

    // With its last handle gone, hyper closes the connection: we are the end that waits in TIME-WAIT.
    drop(sender);
    timeout(patience, connection).await.map_err(silent)???;
    Ok(Fetched { local, status: response.status(), len, time, digest: hex(&digest.finalize()) })
}

/// A bar for a body that takes its time, on a terminal.
fn progress_bar(headers: &hyper::HeaderMap) -> ProgressBar {
    let len = headers.get("content-length").and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    match len {
        Some(len) if len > 1_000_000 && std::io::stderr().is_terminal() => {
            let style =
                ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        _ => ProgressBar::hidden(),
    }
}

/// Waits for the end of the connection, which is TIME-WAIT or, if the peer closed first, CLOSED.
async fn wait_until_over(recorder: &Recorder, local: SocketAddr) {
    let is_over = || recorder.has_seen(local, State::TimeWait) || recorder.has_seen(local, State::Closed);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if is_over() {
            break;
        }
    }
}
