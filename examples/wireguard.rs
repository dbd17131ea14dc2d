//! HTTPS through a WireGuard tunnel that two programs keep between them, without rights and without a device: each end is a stack
//! of ropeway's over the channel device, and boringtun makes UDP datagrams of its packets.
//!
//! Without arguments both ends are in this process. `wireguard serve` and `wireguard fetch` are the two programs; `wireguard key`
//! makes their keys. With `--roam` the client goes on from another UDP port in the middle of the transfer.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use indicatif::HumanBytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{IpCidr, Stack};
use ropeway_examples::site::{Site, hex};
use ropeway_examples::wireguard::{self, Handle, Key, PeerKey};
use ropeway_examples::{report, say};
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Addresses in the tunnel.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const PORT: u16 = 443;
/// How long nothing may arrive before the client gives up.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(version, about = "HTTPS through WireGuard, on ropeway's TCP")]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a private key, and tell the public one that belongs to it
    Key,
    /// Be the end that serves
    Serve(Serve),
    /// Be the end that fetches
    Fetch(Fetch),
}

#[derive(Args)]
struct Serve {
    /// This end's private key
    #[arg(long)]
    key: Key,
    /// The other end's public key
    #[arg(long)]
    peer: PeerKey,
    /// The UDP address of this host to be called at
    #[arg(long, default_value = "127.0.0.1:51820")]
    listen: SocketAddr,
    /// Where to write the certificate (DER) that the client is to trust
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
}

#[derive(Args)]
struct Fetch {
    /// This end's private key
    #[arg(long)]
    key: Key,
    /// The other end's public key
    #[arg(long)]
    peer: PeerKey,
    /// The UDP address of the other end's host
    #[arg(long, default_value = "127.0.0.1:51820")]
    endpoint: SocketAddr,
    /// The certificate that the server has written
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// How much to fetch, such as 200M
    #[arg(long, value_parser = report::parse_size, default_value = "20M")]
    size: u64,
    /// Go on from another UDP port when half of it has arrived
    #[arg(long)]
    roam: bool,
}

fn main() -> ExitCode {
    report::exit_code("wireguard", run(Options::parse()))
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    match options.command {
        None => both().await,
        Some(Command::Key) => {
            let key = Key::generate();
            say!("private {}\npublic  {}", key.to_base64(), key.public().to_base64());
            Ok(())
        }
        Some(Command::Serve(Serve { key, peer, listen, certificate })) => {
            let socket = UdpSocket::bind(listen).await?;
            let server = Server::new(&key, peer, socket)?;
            fs::write(&certificate, &server.certificate)
                .map_err(|error| format!("{}: {error}", certificate.display()))?;
            say!("waiting for a WireGuard peer on UDP {}", server.udp);
            server.run().await
        }
        Some(Command::Fetch(Fetch { key, peer, endpoint, certificate, size, roam })) => {
            let certificate =
                fs::read(&certificate).map_err(|error| format!("{}: {error}", certificate.display()))?;
            fetch(&key, (peer, endpoint), certificate.into(), size, roam).await.map(drop)
        }
    }
}

/// Both ends, with new keys.
async fn both() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = (Key::generate(), Key::generate());
    let server = Server::new(&theirs, ours.public(), UdpSocket::bind("127.0.0.1:0").await?)?;
    let (certificate, endpoint, site) = (server.certificate.clone(), server.udp, server.site.clone());
    let tunnel = server.tunnel.clone();
    let before = async { server.run().await.map_err(|error| error.to_string()) };
    tokio::select! {
        ended = before => Err(ended.err().unwrap_or_else(|| "the server has ended".to_owned()).into()),
        fetched = fetch(&ours, (theirs.public(), endpoint), certificate, 20 << 20, true) => {
            let fetched = fetched?;
            if site.last_digest().is_none_or(|digest| digest != fetched) {
                return Err("what arrived is not what the server sent".into());
            }
            let followed = tunnel.endpoint().ok_or("the server has heard of nobody")?;
            say!("which is what the server sent; the last datagram that it got came from {followed}");
            Ok(())
        }
    }
}

/// The end that serves.
struct Server {
    stack: Stack,
    tunnel: Handle,
    udp: SocketAddr,
    certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
    site: Site,
}

impl Server {
    fn new(key: &Key, peer: PeerKey, socket: UdpSocket) -> Result<Self, Box<dyn Error>> {
        let udp = socket.local_addr()?;
        let only = IpCidr::new(CLIENT.into(), 32);
        let (stack, tunnel) =
            wireguard::stack(IpCidr::new(SERVER.into(), 24), key, (peer, only), socket, None)?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([SERVER.to_string()])?;
        let private = PrivateKeyDer::try_from(signing_key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { stack, tunnel, udp, certificate: cert.der().clone(), acceptor, site: Site::default() })
    }

    async fn run(self) -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind_on(&self.stack, (SERVER, PORT)).await?;
        loop {
            let (stream, peer) = listener.accept().await?;
            let (acceptor, site, tunnel) = (self.acceptor.clone(), self.site.clone(), self.tunnel.clone());
            tokio::spawn(async move {
                let endpoint =
                    |tunnel: &Handle| tunnel.endpoint().map_or_else(String::new, |at| at.to_string());
                let before = endpoint(&tunnel);
                // One that fails shows at the other end.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ = site.clone().serve(stream).await;
                let digest = site.last_digest().unwrap_or_default();
                say!("served {peer}, which was at {before} and is at {}; sha256 {digest}", endpoint(&tunnel));
            });
        }
    }
}

/// Fetches so many bytes through a tunnel. Gives their digest.
async fn fetch(
    key: &Key,
    (peer, endpoint): (PeerKey, SocketAddr),
    certificate: CertificateDer<'static>,
    size: u64,
    roam: bool,
) -> Result<String, Box<dyn Error>> {
    let here = |endpoint: SocketAddr| if endpoint.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(here(endpoint)).await?;
    let first = socket.local_addr()?.port();
    let only = IpCidr::new(SERVER.into(), 32);
    let (stack, tunnel) =
        wireguard::stack(IpCidr::new(CLIENT.into(), 24), key, (peer, only), socket, Some(endpoint))?;
    let started = Instant::now();
    let silent =
        |_| format!("{endpoint} has not answered for {PATIENCE:?}: do both ends know each other's key?");
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect_on(&stack, (SERVER, PORT)))
        .await
        .map_err(silent)??;
    say!("a tunnel with an MTU of {}: the maximum segment size is {}", wireguard::MTU, stream.info()?.advmss);

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(config)).connect(SERVER.into(), stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("/bytes/{size}")).header(HOST, SERVER.to_string());
    let mut response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the server says {}", response.status()).into());
    }
    let (mut len, mut digest, mut roams) = (0, Sha256::new(), roam);
    while let Some(frame) = tokio::time::timeout(PATIENCE, response.frame()).await.map_err(silent)? {
        if let Ok(data) = frame?.into_data() {
            digest.update(&data);
            len += data.len() as u64;
        }
        if roams && len >= size / 2 {
            roams = false;
            let socket = UdpSocket::bind(here(endpoint)).await?;
            say!("{len} bytes are here: on from UDP port {first} to {}", socket.local_addr()?.port());
            tunnel.move_to(socket).await?;
        }
    }
    let time = started.elapsed();
    drop(sender);
    tokio::time::timeout(PATIENCE, connection).await.map_err(silent)???;
    let digest = hex(&digest.finalize());
    let per_second = u128::from(len) * 1_000_000 / time.as_micros().max(1);
    let per_second = HumanBytes(u64::try_from(per_second).unwrap_or(u64::MAX));
    say!("GET https://{SERVER}/bytes/{size}: {len} bytes in {time:.2?}, {per_second}/s");
    say!("the longest datagram between the hosts had {} bytes", tunnel.longest());
    say!("sha256 {digest}");
    Ok(digest)
}
