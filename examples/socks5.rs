//! A SOCKS5 proxy (RFC 1928) on the host's TCP whose way out is ropeway's: curl, a browser, or any other program that knows proxies
//! uses ropeway's TCP and UDP over a TUN device, without being changed.
//!
//! Without arguments the device is in a network namespace of this process, with a web server at its other end; the proxy itself
//! listens on the host's 127.0.0.1. `--help` tells the rest.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fast_socks5::server::{SocksServerError, run_udp_proxy_custom};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command, new_udp_header, parse_udp_request, server};
#[cfg(target_os = "linux")]
use ropeway::device::tun::TunDevice;
use ropeway::net::{TcpStream, UdpSocket};
use ropeway::{IpCidr, Stack};
use ropeway_examples::namespace::Namespace;
#[cfg(not(target_os = "linux"))]
use ropeway_examples::namespace::TunDevice;
use ropeway_examples::site::Site;
use ropeway_examples::{link, namespace, report, say};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener as KernelListener;
use tokio::time::timeout;

/// How long a request and a connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(version, about = "A SOCKS5 proxy whose connections are ropeway's, until Ctrl-C")]
struct Options {
    /// Where the proxy listens; everybody who reaches it may use it
    #[arg(long, default_value = "127.0.0.1:1080")]
    listen: SocketAddr,
    /// The TUN device to use, made by hand as docs/TUN.md shows. Without it, one in a namespace of our own
    #[arg(long, value_name = "NAME", requires = "address")]
    tun: Option<String>,
    /// Our address on it, such as 10.9.0.2/24
    #[arg(long, value_name = "ADDRESS/PREFIX", requires = "tun")]
    address: Option<IpCidr>,
    /// The kernel's address on it. Needed only to make a device that is not there
    #[arg(long, value_name = "ADDRESS", requires = "tun")]
    via: Option<IpAddr>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // A socket stays in the namespace that it was made in: the host's programs reach the proxy, wherever its device is.
    let listener = std::net::TcpListener::bind(options.listen);
    // An ordinary user gets the rights only while the process has a single thread.
    let place = options.tun.is_none().then(namespace::enter);
    report::exit_code("socks5", run(options, listener, place))
}

#[tokio::main(flavor = "current_thread")]
async fn run(
    options: Options,
    listener: io::Result<std::net::TcpListener>,
    place: Option<Result<Namespace, String>>,
) -> Result<(), Box<dyn Error>> {
    let listener = listener.map_err(|error| format!("{}: {error}", options.listen))?;
    listener.set_nonblocking(true)?;
    let listener = KernelListener::from_std(listener)?;
    let proxy = listener.local_addr()?;
    // UDP needs a socket of the host's for each client, which there cannot be from within a namespace.
    let has_udp = place.is_none();
    let stack = match (&options.tun, options.address) {
        (Some(tun), Some(address)) => {
            let stack = link::stack(link::attach_or_make(tun, address, options.via)?, address, |_, _| {})?;
            say!("a SOCKS5 proxy is on {proxy}, and its way out is {tun}");
            stack
        }
        _ => {
            let device = match place {
                Some(Ok(place)) => link::tun(&place).map_err(|error| error.to_string()),
                Some(Err(reason)) => Err(reason),
                None => Err("--tun and --address belong together".to_owned()),
            };
            let (stack, site) = own_site(device).await?;
            say!("a SOCKS5 proxy is on {proxy}, and a web server on its other side. From this machine:\n");
            say!(
                "    curl --socks5-hostname {proxy} http://{site}/\n\nor set it as a browser's proxy. Ctrl-C ends it."
            );
            stack
        }
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, from) = accepted?;
                let stack = stack.clone();
                tokio::spawn(async move {
                    match serve(&stack, client, has_udp).await {
                        Ok(done) => say!("{from}: {done}"),
                        Err(error) => say!("{from}: {error}"),
                    }
                });
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// A web server at the other end of a link of our own: the kernel's if there is a device, ropeway's otherwise.
async fn own_site(device: Result<TunDevice, String>) -> io::Result<(Stack, SocketAddr)> {
    match device {
        Ok(device) => {
            let site = link::serve_on_kernel(Site::default()).await?;
            Ok((link::own_stack(device, |_, _| {})?, site))
        }
        Err(reason) => {
            say!("No TUN device ({reason}): both ends are ropeway's, with memory between them");
            let (device, site) = link::serve_in_memory(Site::default()).await?;
            Ok((link::own_stack(device, |_, _| {})?, site))
        }
    }
}

/// Does what a client asks for. Says what that was.
async fn serve(
    stack: &Stack,
    client: tokio::net::TcpStream,
    has_udp: bool,
) -> Result<String, SocksServerError> {
    let here = client.local_addr().map_or(IpAddr::from([127, 0, 0, 1]), |here| here.ip());
    let there = client.peer_addr().map(|there| there.ip());
    let asked = timeout(PATIENCE, async {
        server::Socks5ServerProtocol::accept_no_auth(client).await?.read_command().await
    });
    let (proto, command, target) = asked.await.map_err(|_| SocksServerError::EOF)??;
    match command {
        Socks5Command::TCPConnect => {
            let mut out = match timeout(PATIENCE, connect(stack, &target)).await {
                Ok(Ok(out)) => out,
                Ok(Err(error)) => {
                    proto.reply_error(&reply_of(&error)).await?;
                    return Ok(format!("CONNECT {target}: {error}"));
                }
                Err(_) => {
                    proto.reply_error(&ReplyError::ConnectionTimeout).await?;
                    return Ok(format!("CONNECT {target}: no answer"));
                }
            };
            let from = out.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
            let mut client = proto.reply_success(from).await?;
            // A reset on one side ends the other side, too.
            let copied = copy_bidirectional(&mut client, &mut out).await;
            Ok(copied.map_or_else(
                |error| format!("CONNECT {target}: {error}"),
                |(sent, got)| format!("CONNECT {target}: {sent} bytes there, {got} bytes back"),
            ))
        }
        Socks5Command::UDPAssociate if has_udp => {
            // What others send to the port is none of the client's.
            let relay = |inbound: std::net::UdpSocket| async move {
                let failed = |source| SocksServerError::Io { source, context: "relaying datagrams" };
                let there = there.map_err(failed)?;
                relay(stack, inbound, there).await.map_err(failed)
            };
            run_udp_proxy_custom(proto, &target, Some(here), here, |inbound| relay(inbound.into())).await?;
            Ok("UDP ASSOCIATE is over".to_owned())
        }
        Socks5Command::UDPAssociate | Socks5Command::TCPBind => {
            proto.reply_error(&ReplyError::CommandNotSupported).await?;
            Ok(format!("{command:?} is not supported here"))
        }
    }
}

/// A connection of ropeway's. Names are resolved by the host.
async fn connect(stack: &Stack, target: &TargetAddr) -> io::Result<TcpStream> {
    TcpStream::connect_on(stack, resolve(target).await?.as_slice()).await
}

async fn resolve(target: &TargetAddr) -> io::Result<Vec<SocketAddr>> {
    match target {
        TargetAddr::Ip(address) => Ok(vec![*address]),
        TargetAddr::Domain(name, port) => {
            Ok(tokio::net::lookup_host((name.as_str(), *port)).await?.collect())
        }
    }
}

/// What RFC 1928 calls an error.
fn reply_of(error: &io::Error) -> ReplyError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ReplyError::ConnectionRefused,
        io::ErrorKind::HostUnreachable => ReplyError::HostUnreachable,
        io::ErrorKind::NetworkUnreachable => ReplyError::NetworkUnreachable,
        io::ErrorKind::TimedOut => ReplyError::ConnectionTimeout,
        io::ErrorKind::PermissionDenied => ReplyError::ConnectionNotAllowed,
        _ => ReplyError::GeneralFailure,
    }
}

/// Carries datagrams between a client and a socket of ropeway's, until an error; each has a header that says where to, and where
/// from (RFC 1928 7).
async fn relay(stack: &Stack, inbound: std::net::UdpSocket, only: IpAddr) -> io::Result<()> {
    inbound.set_nonblocking(true)?;
    let inbound = tokio::net::UdpSocket::from_std(inbound)?;
    let outbound = UdpSocket::bind_on(stack, "[::]:0").await?;
    let (mut asked, mut answered) = (vec![0; 65_535], vec![0; 65_535]);
    let mut client = None;
    loop {
        tokio::select! {
            received = inbound.recv_from(&mut asked) => {
                let (len, from) = received?;
                if from.ip().to_canonical() != only.to_canonical() {
                    continue;
                }
                // What nobody understands, and what comes in fragments, is dropped (RFC 1928 7).
                let datagram = asked.get(..len).unwrap_or_default();
                let Ok((0, target, data)) = parse_udp_request(datagram).await else { continue };
                client = Some(from);
                if let Some(to) = resolve(&target).await.ok().and_then(|all| all.first().copied()) {
                    // Errors of UDP pass: whoever waits for an answer finds out.
                    let _ = outbound.send_to(data, to).await;
                }
            }
            received = outbound.recv_from(&mut answered) => {
                let (Ok((len, from)), Some(client)) = (received, client) else { continue };
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                let header = new_udp_header(from).map_err(io::Error::other)?;
                let _ = inbound.send_to(&[&header, answered.get(..len).unwrap_or_default()].concat(), client).await;
            }
        }
    }
}
