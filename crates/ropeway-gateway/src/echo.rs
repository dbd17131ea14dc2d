//! Echo requests to addresses outside, passed on by the host's unprivileged ICMP sockets.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ropeway::packet::{IcmpMessage, IpPacket, UnreachableKind, icmp, ip};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::counters::add;
use crate::gateway::{Refused, Shared, is_exhausted, note_panic};
use crate::outside::{Datagrams, Outside};
use crate::policy::FlowKind;

/// Requests of one flow that wait to be sent.
const QUEUE: usize = 16;
const LONGEST: usize = 65_535;
const HOP_LIMIT: u8 = 64;

/// Who asks, whom, and by which number.
type Flow = (IpAddr, IpAddr, u16);

/// An echo request: the packet, its sequence number, and its data.
type Request = (u16, Bytes);

/// Takes what nobody else takes of the guest's, until the stack ends.
pub(crate) async fn run<O: Outside>(shared: Arc<Shared<O>>) -> io::Result<()> {
    let mut flows: HashMap<Flow, mpsc::Sender<Request>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let packet = tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                flows.retain(|_, flow| !flow.is_closed());
                note_panic(ended);
                continue;
            }
            packet = shared.diversion.recv() => packet?,
        };
        let Ok(ip) = ip::parse(&packet) else { continue };
        // Everything else has nowhere to go to: it is dropped, as a router does that carries nothing but these.
        let Ok(IcmpMessage::EchoRequest { ident, seq, data }) = icmp::parse(&packet, &ip) else { continue };
        let flow = (ip.src, ip.dst, ident);
        if let Some(known) = flows.get(&flow).filter(|known| !known.is_closed()) {
            // A guest that asks faster than the host sends is not waited for.
            if known.try_send((seq, packet.slice(data))).is_err() {
                add(&shared.counts.echo_failed, 1);
            }
            continue;
        }
        let Some(descriptor) =
            shared.descriptor().filter(|_| flows.len() < shared.settings.limits.echo_flows)
        else {
            add(&shared.counts.over_limit, 1);
            continue;
        };
        let Some(socket) = open(&shared, &packet, &ip).await else { continue };
        let (sender, requests) = mpsc::channel(QUEUE);
        // There is room for the first.
        let _first = sender.try_send((seq, packet.slice(data)));
        flows.insert(flow, sender);
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let _descriptor = descriptor;
            carry(&shared, flow, socket, requests).await;
        });
    }
}

async fn open<O: Outside>(shared: &Shared<O>, packet: &[u8], ip: &IpPacket) -> Option<O::Datagrams> {
    let ends = (ip.dst, ip.src);
    let prohibited = UnreachableKind::AdminProhibited;
    let (guest, to) = (SocketAddr::new(ip.src, 0), SocketAddr::new(ip.dst, 0));
    let target = match shared.target(FlowKind::Echo, guest, to).await {
        Ok(target) => target.address.ip(),
        Err(Refused::Silently) => return None,
        Err(Refused::Told) => {
            shared.unreachable(packet, ends, prohibited);
            return None;
        }
        Err(Refused::Failed(_)) => {
            shared.unreachable(packet, ends, UnreachableKind::Host);
            return None;
        }
    };
    // Both know their own messages only.
    let socket = match target.is_ipv4() == ip.src.is_ipv4() {
        true => shared.outside.echo(target),
        false => Err(io::ErrorKind::Unsupported.into()),
    };
    socket
        .inspect_err(|error| {
            tracing::debug!(%target, %error, "an echo request is not passed on");
            add(&shared.counts.echo_failed, 1);
            if is_exhausted(error) {
                add(&shared.counts.out_of_descriptors, 1);
            }
        })
        .ok()
}

/// Sends requests and gives the guest their answers, until nothing has happened for a while.
async fn carry<O: Outside>(
    shared: &Shared<O>,
    (guest, to, ident): Flow,
    socket: O::Datagrams,
    mut requests: mpsc::Receiver<Request>,
) {
    enum Next {
        Request(Option<Request>),
        Readable(io::Result<()>),
    }
    let mut buf = vec![0; LONGEST];
    loop {
        let next = timeout(shared.settings.echo_idle, async {
            tokio::select! {
                biased;
                request = requests.recv() => Next::Request(request),
                readable = socket.readable() => Next::Readable(readable),
            }
        });
        match next.await {
            Err(_) | Ok(Next::Request(None) | Next::Readable(Err(_))) => return,
            Ok(Next::Request(Some((seq, data)))) => {
                let counter = match socket.try_send(&request(to, seq, &data), None) {
                    Ok(()) => &shared.counts.echo_requests,
                    Err(_) => &shared.counts.echo_failed,
                };
                add(counter, 1);
            }
            Ok(Next::Readable(Ok(()))) => {
                let Ok((len, _)) = socket.try_recv(&mut buf) else { continue };
                let Some((seq, data)) = reply(to, buf.get(..len).unwrap_or_default()) else { continue };
                add(&shared.counts.echo_replies, 1);
                shared.send(icmp::emit_echo_reply(to, guest, ident, seq, data, HOP_LIMIT).into());
            }
        }
    }
}

/// An echo request as an ICMP socket takes it: identifier and checksum are the kernel's.
fn request(to: IpAddr, seq: u16, data: &[u8]) -> Vec<u8> {
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REQUEST_V6: u8 = 128;
    let kind = if to.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
    let [high, low] = seq.to_be_bytes();
    [&[kind, 0, 0, 0, 0, 0, high, low], data].concat()
}

/// The sequence number and the data of a reply, as an ICMP socket gives it.
fn reply(to: IpAddr, message: &[u8]) -> Option<(u16, &[u8])> {
    const ECHO_REPLY: u8 = 0;
    const ECHO_REPLY_V6: u8 = 129;
    let kind = if to.is_ipv4() { ECHO_REPLY } else { ECHO_REPLY_V6 };
    let (head, data) = message.split_at_checked(8)?;
    match *head {
        [of, 0, _, _, _, _, high, low] if of == kind => Some((u16::from_be_bytes([high, low]), data)),
        _ => None,
    }
}
