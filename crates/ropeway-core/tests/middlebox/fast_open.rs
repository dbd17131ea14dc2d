//! Boxes that take Fast Open for an attack, or do not know it (RFC 7413 7.1): requests arrive once, in time, and what does not pass
//! is not tried for ever.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ropeway_core::packet::{FastOpen, TcpFlags, TcpSegment};
use ropeway_core::{ConnectionId, ListenerId, SocketOptions};
use ropeway_sim::changed;

use crate::common::*;

/// What the box does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Nothing,
    /// Takes the option out: of SYNs, of SYN-ACKs, of both.
    StripFromSyn,
    StripFromSynAck,
    Strip,
    /// Drops SYNs with data.
    DropSynWithData,
    /// Drops SYNs with the option, and answers to them.
    DropOption,
    DropSynAckWithOption,
    /// Lets a SYN pass, and only its data not.
    CutData,
    /// The SYN-ACK has the option of the SYN.
    Reflect,
    /// The cookie is another one: on its way to the client, or back.
    ForgeInSyn,
    ForgeInSynAck,
    /// Cookies of zeros, on their way to the client.
    ZeroInSynAck,
    /// The option has its experimental number (RFC 6994) from there on.
    Experiment,
    /// Each SYN comes twice.
    Repeat,
    /// The first data behind the SYN, from the server, is dropped: a box that knows no data before the third segment.
    DropAnswers,
}

const DEEDS: [Deed; 15] = [
    Deed::Nothing,
    Deed::StripFromSyn,
    Deed::StripFromSynAck,
    Deed::Strip,
    Deed::DropSynWithData,
    Deed::DropOption,
    Deed::DropSynAckWithOption,
    Deed::CutData,
    Deed::Reflect,
    Deed::ForgeInSyn,
    Deed::ForgeInSynAck,
    Deed::ZeroInSynAck,
    Deed::Experiment,
    Deed::Repeat,
    Deed::DropAnswers,
];

impl Deed {
    /// What becomes of a segment. `asked`: the option of the last SYN.
    fn fate(self, packet: &[u8], segment: &TcpSegment, asked: Option<FastOpen>, handshaken: bool) -> Fate {
        let flags = segment.tcp.flags;
        let (syn, syn_ack) = match (flags.contains(TcpFlags::SYN), flags.contains(TcpFlags::ACK)) {
            (true, ack) => (!ack, ack),
            (false, _) => (false, false),
        };
        let (option, early) = (segment.tcp.options.fast_open, syn && !segment.payload.is_empty());
        let put = |option: Option<FastOpen>| {
            Fate::Replace(changed(packet, |_, tcp| tcp.options.fast_open = option))
        };
        let given = option.filter(|option| !option.is_request());
        match self {
            Self::StripFromSyn if syn => put(None),
            Self::StripFromSynAck if syn_ack => put(None),
            Self::Strip => put(None),
            Self::DropSynWithData if early => Fate::Drop,
            Self::DropOption if syn && option.is_some() => Fate::Drop,
            Self::DropSynAckWithOption if syn_ack && option.is_some() => Fate::Drop,
            Self::CutData if early => {
                Fate::Replace(tcp_packet(segment.ip.src, segment.ip.dst, &segment.tcp, None, &[]))
            }
            Self::Reflect if syn_ack => put(asked.or(option)),
            Self::ForgeInSyn if syn && given.is_some() => put(FastOpen::new(&[0x5a; 8])),
            Self::ForgeInSynAck if syn_ack && given.is_some() => put(FastOpen::new(&[0x5a; 8])),
            Self::ZeroInSynAck if syn_ack && given.is_some() => put(FastOpen::new(&[0; 4])),
            Self::Experiment if syn || syn_ack => put(option.map(|option| option.as_experiment(true))),
            Self::Repeat if syn => Fate::Duplicate,
            Self::DropAnswers if !syn && !syn_ack && !handshaken && !segment.payload.is_empty() => Fate::Drop,
            _ => Fate::Deliver,
        }
    }
}

struct Path {
    pair: Pair,
    listener: ListenerId,
    options: SocketOptions,
}

const REQUEST: usize = 300;
const ANSWER: usize = 2000;
/// A round trip takes twice as long.
const DELAY: Duration = Duration::from_millis(10);

impl Path {
    fn new(deed: Deed, without_cookie: bool) -> Self {
        let mut pair = Pair::with(|_, config| {
            config.socket.fast_open = 8;
            config.socket.fast_open_no_cookie = without_cookie;
        });
        (pair.delay, pair.watch) = ([DELAY; 2], None);
        let (asked, handshaken) = (Rc::new(Cell::new(None)), Cell::new(false));
        pair.set_fate(move |crossing| {
            let Some(segment) = parse(crossing.packet) else { return Fate::Deliver };
            let fate = deed.fate(crossing.packet, &segment, asked.get(), handshaken.get());
            let flags = segment.tcp.flags;
            if flags.contains(TcpFlags::SYN) && crossing.from == 0 {
                asked.set(segment.tcp.options.fast_open);
                handshaken.set(false);
            } else if crossing.from == 0 {
                handshaken.set(true);
            }
            fate
        });
        let options = pair.stacks[1].config().socket.clone();
        let listener = pair.stacks[1].listen(pair.server, 8, options.clone()).unwrap();
        Self { pair, listener, options }
    }

    /// A request and its answer. How long it took, in microseconds, and how much of it went with the SYN.
    fn exchange(&mut self, port: u16, what: &str) -> (u64, usize) {
        let (begin, ts) = (self.pair.now, self.pair.ts());
        let local = std::net::SocketAddr::new(addr("10.0.0.1:0").ip(), port);
        let request = pattern(usize::from(port), REQUEST);
        let (server, options) = (self.pair.server, self.options.clone());
        let opened = self.pair.stacks[0].connect_with(ts, Some(local), server, options, &request);
        let (client, with_syn) = opened.unwrap();
        let (mut written, mut guest) = (with_syn, None);
        let (mut heard, mut answer) = (Vec::new(), Vec::new());
        while answer.len() < ANSWER {
            let ts = self.pair.ts();
            if let Ok(more) = self.pair.stacks[0].send(ts, client, &request[written..], Default::default()) {
                written += more;
            }
            if guest.is_none() {
                guest = self.pair.stacks[1].accept(ts, self.listener).unwrap().map(|(id, _)| id);
            }
            if let Some(guest) = guest {
                self.take(1, guest, &mut heard);
                if heard.len() == REQUEST && self.pair.stacks[1].info(ts, guest).unwrap().bytes_sent == 0 {
                    assert_eq!(heard, request, "{what}");
                    let sent =
                        self.pair.stacks[1].send(ts, guest, &pattern(0, ANSWER), Default::default()).unwrap();
                    assert_eq!(sent, ANSWER, "{what}");
                }
            }
            self.take(0, client, &mut answer);
            assert!(
                heard.len() <= REQUEST && self.pair.now - begin < secs(60),
                "{what}: too much, or too late"
            );
            self.pair.pump();
            if answer.len() < ANSWER {
                assert!(self.pair.step(), "{what}: it stands still");
            }
        }
        assert_eq!(answer, pattern(0, ANSWER), "{what}");
        let took = self.pair.now - begin;
        let ts = self.pair.ts();
        self.pair.stacks[0].abort(ts, client);
        self.pair.stacks[0].close(ts, client);
        self.pair.pump();
        self.pair.run_to(self.pair.now + secs(1));
        self.pair.stacks[1].close(self.pair.ts(), guest.unwrap());
        // Whoever came a second time, with a SYN that was repeated.
        while let Some((ghost, _)) = self.pair.stacks[1].accept(self.pair.ts(), self.listener).unwrap() {
            self.pair.stacks[1].close(self.pair.ts(), ghost);
        }
        self.pair.pump();
        (took, with_syn)
    }

    fn take(&mut self, side: usize, id: ConnectionId, into: &mut Vec<u8>) {
        let ts = self.pair.ts();
        while let Ok(payload) = self.pair.stacks[side].recv(ts, id, 10_000) {
            if payload.is_empty() {
                break;
            }
            into.extend(payload.to_vec());
        }
    }
}

/// A SYN's timeout, and the round trips of a connection without Fast Open; with a lost answer, a timeout more.
const WITH_A_TIMEOUT: u64 = secs(1) + ms(300);

#[test]
fn whatever_a_box_does_to_fast_open_requests_arrive_once_and_in_time() {
    for without_cookie in [false, true] {
        for deed in DEEDS {
            let what = format!("{deed:?}, without cookies: {without_cookie}");
            let mut path = Path::new(deed, without_cookie);
            let (mut times, mut early) = (Vec::new(), Vec::new());
            for port in 5000..5006 {
                let (took, with_syn) = path.exchange(port, &format!("{what}, {port}"));
                times.push(took);
                early.push(with_syn);
            }
            assert!(times.iter().all(|took| *took < WITH_A_TIMEOUT), "{what}: {times:?}");
            // What costs a timeout is not tried for ever.
            let slow = times.iter().filter(|took| **took >= secs(1)).count();
            assert!(slow <= 2 && *times.last().unwrap() < ms(400), "{what}: {times:?}, {early:?}");
            if deed == Deed::Nothing {
                assert!(times[1..].iter().all(|took| *took == ms(20)), "{what}: {times:?}");
                assert!(early[1..].iter().all(|len| *len == REQUEST), "{what}: {early:?}");
            }
        }
    }
}
