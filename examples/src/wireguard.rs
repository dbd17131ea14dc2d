//! WireGuard in the program: what a stack sends leaves as UDP datagrams of the host, encrypted, and needs no rights for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use defguard_boringtun::noise::{Tunn, TunnResult};
use defguard_boringtun::x25519::{PublicKey, StaticSecret};
use ropeway::device::channel::{self, PacketChannel};
use ropeway::{IpCidr, Stack};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// What WireGuard's devices have on paths of 1500 bytes: IPv6, UDP and its own header take at most 80. A stack whose device says
/// so announces a maximum segment size that fits, so nothing in the tunnel has to be cut or clamped.
pub const MTU: u16 = 1420;
/// What a data message has besides the packet (a header of 16 bytes, a tag of as many).
const OVERHEAD: usize = 32;
/// The longest handshake message has 148 bytes.
const ROOM: usize = MTU as usize + OVERHEAD + 160;
/// How often timers are looked at, as the library asks for.
const TICK: Duration = Duration::from_millis(250);
/// The message type of a cookie reply, which goes to senders that nobody has verified.
const COOKIE_REPLY: u8 = 3;

/// A private key as `wg genkey` writes it.
#[derive(Clone)]
pub struct Key(StaticSecret);

impl Key {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(StaticSecret::random())
    }

    /// The key that the other end has to know.
    #[must_use]
    pub fn public(&self) -> PeerKey {
        PeerKey(PublicKey::from(&self.0))
    }

    /// As text.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.0.to_bytes())
    }
}

/// The other end's public key.
#[derive(Clone, Copy)]
pub struct PeerKey(PublicKey);

impl PeerKey {
    /// As text.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.0.as_bytes())
    }
}

fn bytes_of(text: &str) -> Result<[u8; 32], String> {
    let bytes = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "expected a key of 44 characters, as `wg genkey` and `wg pubkey` write it".to_owned())
}

impl std::str::FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes_of(text).map(|bytes| Self(bytes.into()))
    }
}

impl std::str::FromStr for PeerKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes_of(text).map(|bytes| Self(bytes.into()))
    }
}

/// What is known of a tunnel from outside.
#[derive(Clone, Debug)]
pub struct Handle {
    moves: mpsc::Sender<UdpSocket>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Where the other end is, as far as that is known.
    endpoint: Mutex<Option<SocketAddr>>,
    /// The longest datagram that was sent or received.
    longest: AtomicUsize,
}

impl Handle {
    /// Where the other end was last.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        *self.state.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of data the longest datagram had, either way.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.state.longest.load(Ordering::Relaxed)
    }

    /// Goes on from another socket, as when a telephone leaves the WLAN. The other end notices by itself.
    ///
    /// # Errors
    ///
    /// If the tunnel has ended.
    pub async fn move_to(&self, socket: UdpSocket) -> io::Result<()> {
        self.moves.send(socket).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// One end of a tunnel to one peer.
struct Tunnel {
    tunn: Tunn,
    socket: UdpSocket,
    channel: PacketChannel,
    /// The addresses that the peer may have in there.
    allowed: IpCidr,
    state: Arc<State>,
    room: Vec<u8>,
}

/// A stack with `address` in a tunnel to `peer`, which may have the addresses `allowed` there. Without an `endpoint` the tunnel waits
/// until the peer calls. It lasts as long as the stack and the runtime.
///
/// # Errors
///
/// Those of the stack's builder.
pub fn stack(
    address: IpCidr,
    key: &Key,
    (peer, allowed): (PeerKey, IpCidr),
    socket: UdpSocket,
    endpoint: Option<SocketAddr>,
) -> io::Result<(Stack, Handle)> {
    let (device, channel) = channel::channel(MTU);
    let stack = Stack::builder().address(address).device(device).build()?;
    let (moves, moved) = mpsc::channel(1);
    let state = Arc::new(State { endpoint: Mutex::new(endpoint), longest: AtomicUsize::new(0) });
    let handle = Handle { moves, state: Arc::clone(&state) };
    let tunn = Tunn::new(key.0.clone(), peer.0, None, None, 0, None);
    let tunnel = Tunnel { tunn, socket, channel, allowed, state, room: vec![0; ROOM] };
    tokio::spawn(tunnel.run(moved));
    Ok((stack, handle))
}

impl Tunnel {
    async fn run(mut self, mut moved: mpsc::Receiver<UdpSocket>) {
        let mut datagram = vec![0; usize::from(u16::MAX)];
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                packet = self.channel.recv() => match packet {
                    Some(packet) => self.send_packet(&packet).await,
                    // The stack has ended.
                    None => return,
                },
                received = self.socket.recv_from(&mut datagram) => {
                    // Errors of UDP pass.
                    if let Ok((len, from)) = received {
                        self.take_datagram(datagram.get(..len).unwrap_or_default(), from).await;
                    }
                }
                _ = tick.tick() => self.update().await,
                Some(socket) = moved.recv() => {
                    self.socket = socket;
                    // A keepalive: whoever only receives would send nothing from there, and the peer would not follow.
                    self.send_packet(&[]).await;
                }
            }
        }
    }

    async fn send_packet(&mut self, packet: &[u8]) {
        // Without a session the packet waits, and a handshake begins.
        if let TunnResult::WriteToNetwork(datagram) = self.tunn.encapsulate(packet, &mut self.room) {
            send(&self.socket, &self.state, datagram).await;
        }
    }

    async fn update(&mut self) {
        if let TunnResult::WriteToNetwork(datagram) = self.tunn.update_timers(&mut self.room) {
            send(&self.socket, &self.state, datagram).await;
        }
    }

    async fn take_datagram(&mut self, datagram: &[u8], from: SocketAddr) {
        self.state.longest.fetch_max(datagram.len(), Ordering::Relaxed);
        let mut next = datagram;
        // What has waited for the session comes with further calls, without a datagram.
        loop {
            match self.tunn.decapsulate(Some(from.ip()), next, &mut self.room) {
                // Whoever lacks the keys moves nothing.
                TunnResult::Err(_) => return,
                TunnResult::WriteToNetwork(answer) if answer.first() == Some(&COOKIE_REPLY) => {
                    let _ = self.socket.send_to(answer, from).await;
                    return;
                }
                TunnResult::Done => {
                    self.state.peer_is_at(from);
                    return;
                }
                TunnResult::WriteToNetwork(answer) => {
                    self.state.peer_is_at(from);
                    send(&self.socket, &self.state, answer).await;
                    next = &[];
                }
                TunnResult::WriteToTunnelV4(packet, source) => {
                    self.state.peer_is_at(from);
                    return deliver(&self.channel, &self.allowed, packet, source.into()).await;
                }
                TunnResult::WriteToTunnelV6(packet, source) => {
                    self.state.peer_is_at(from);
                    return deliver(&self.channel, &self.allowed, packet, source.into()).await;
                }
            }
        }
    }
}

impl State {
    /// A datagram that only the peer can have sent came from there: so it is where answers go.
    fn peer_is_at(&self, from: SocketAddr) {
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
    }
}

async fn send(socket: &UdpSocket, state: &State, datagram: &[u8]) {
    let endpoint = *state.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(endpoint) = endpoint {
        state.longest.fetch_max(datagram.len(), Ordering::Relaxed);
        // What cannot be sent is lost, as on any path.
        let _ = socket.send_to(datagram, endpoint).await;
    }
}

/// Gives a packet to the stack, if its source is one that the peer may have.
async fn deliver(channel: &PacketChannel, allowed: &IpCidr, packet: &[u8], source: IpAddr) {
    if allowed.contains(source) {
        // If the stack has ended, so has the tunnel.
        let _ = channel.send(Bytes::copy_from_slice(packet)).await;
    }
}
