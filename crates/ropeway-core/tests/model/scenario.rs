//! What the two programs do.

use ropeway_core::congestion::Algorithm;
use ropeway_core::{EcnMode, EcnOption, MtuProbing, Stack, StackConfig, SynCookieMode};

/// How the connection comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// A connects, B listens.
    ThreeWay,
    /// Both connect.
    Simultaneous,
    /// A connects, B listens, and a SYN of an earlier incarnation is still on its way to B.
    OldSyn,
    /// A connects with two bytes of data in its SYN, and B takes them (RFC 7413).
    Fast,
    /// The same with a cookie, which a connection before has brought.
    FastWithCookie,
    /// The same, but B has changed its key twice since then.
    FastWithStaleCookie,
}

impl Opening {
    pub fn is_fast(self) -> bool {
        matches!(self, Self::Fast | Self::FastWithCookie | Self::FastWithStaleCookie)
    }
}

/// What a scenario is there for, which its search has to come upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// A probe of the path's MTU has gone out.
    Probe,
    ProbePassed,
    ProbeLost,
    /// A black hole for large packets was found.
    BlackHole,
    /// A router has said that a packet is too big, and was believed.
    TooBig,
    /// A SYN with data has opened a connection.
    EarlyData,
    /// A SYN with data was refused: its cookie is not good.
    CookieRefused,
    /// Fast Open did not get what it asked for: the data of its SYN was not taken, or not answered.
    EarlyDataFailed,
    /// The path was found to swallow what Fast Open sends.
    FastOpenBlackHole,
    /// A SYN with data has opened two connections, the second after the end of the first (RFC 7413 2.1).
    DeliveredAgain,
}

impl Class {
    /// Whether it has happened on the way here.
    pub fn is_met(self, stacks: &[Stack; 2]) -> bool {
        stacks.iter().map(Stack::counters).any(|counters| match self {
            Self::Probe => counters.mtu_probes > 0,
            Self::ProbePassed => counters.mtu_probes_passed > 0,
            Self::ProbeLost => counters.mtu_probes_lost > 0,
            Self::BlackHole => counters.black_holes > 0,
            Self::TooBig => counters.icmp_received > counters.icmp_ignored,
            Self::EarlyData => counters.fast_open_passive > 0,
            Self::CookieRefused => counters.fast_open_passive_failed > 0,
            Self::EarlyDataFailed => counters.fast_open_active_failed > 0,
            Self::FastOpenBlackHole => counters.fast_open_black_holes > 0,
            Self::DeliveredAgain => counters.fast_open_passive > 1,
        })
    }
}

/// One call of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Writes so many bytes; possible when there is room for all of them.
    Send(u32),
    /// The same, and shuts down its writing at once: the FIN comes with the data.
    SendFin(u32),
    /// Reads what is there; without this, a program reads whatever comes.
    Read,
    Shutdown,
    Close,
    Abort,
    /// Waits for the end of the other's stream.
    AwaitEnd,
    /// Waits until it is open or has failed.
    AwaitOpen,
}

pub struct Scenario {
    pub name: &'static str,
    pub opening: Opening,
    pub scripts: [&'static [Call]; 2],
    /// Somebody breaks off: the other may see an error, and bytes may be lost.
    pub abortive: bool,
    /// Programs read only where their script says so.
    pub reads_by_script: bool,
    /// B stops listening when it has its connection.
    pub one_guest: bool,
    /// A box on the way is among the adversary's moves.
    pub meddler: bool,
    /// The path may stop taking packets that are longer than this, and say so or not: among the adversary's moves.
    pub narrow: Option<usize>,
    /// What the search has to come upon, and with how many moves of the adversary.
    pub shows: &'static [(Class, u32)],
    pub change: fn(&mut StackConfig),
    /// What is different at B.
    pub change_b: fn(&mut StackConfig),
}

impl Scenario {
    /// How many bytes a program sends with its SYN.
    pub fn with_syn(&self, side: usize) -> usize {
        if self.opening.is_fast() && side == 0 { 2 } else { 0 }
    }

    /// How many bytes a program writes, if it gets to it.
    pub fn sends(&self, side: usize) -> usize {
        let sends = self.scripts[side].iter().map(|call| match call {
            Call::Send(n) | Call::SendFin(n) => *n as usize,
            _ => 0,
        });
        sends.sum::<usize>() + self.with_syn(side)
    }
}

const PLAIN: Scenario = Scenario {
    name: "",
    opening: Opening::ThreeWay,
    scripts: [&[], &[]],
    abortive: false,
    reads_by_script: false,
    one_guest: false,
    meddler: false,
    narrow: None,
    shows: &[],
    change: |_| {},
    change_b: |_| {},
};

use Call::{Abort, AwaitEnd, AwaitOpen, Close, Read, Send, SendFin, Shutdown};

/// Data in SYNs, for whoever has a cookie.
fn fast_open_with_cookie(config: &mut StackConfig) {
    config.socket.fast_open = 4;
}

/// Segments of 720 bytes at most, and of 520 where that does not pass. One duplicate is a loss, so that little data is enough for a
/// probe; and no router is believed who says less than 552 (RFC 1191), so that it is not very little.
fn short_path(config: &mut StackConfig) {
    (config.mtu, config.base_mss, config.socket.reordering) = (760, 520, 1);
}

/// What passes if large packets do not.
const NARROW: Option<usize> = Some(640);

/// Data in SYNs, without the connection before that would bring a cookie.
fn fast_open(config: &mut StackConfig) {
    (config.socket.fast_open, config.socket.fast_open_no_cookie) = (4, true);
}

/// A sends two segments, B one.
const TWO_THERE: &[Call] = &[AwaitOpen, Send(1), SendFin(2), AwaitEnd, Close];
const ONE_BACK: &[Call] = &[SendFin(3), AwaitEnd, Close];
/// A segment each, where both connect.
const OPEN_ONE: &[Call] = &[AwaitOpen, SendFin(1), AwaitEnd, Close];

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "A closes, then B",
        scripts: [&[AwaitOpen, Shutdown, AwaitEnd, Close], &[AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "B closes, then A",
        scripts: [&[AwaitOpen, AwaitEnd, Close], &[Shutdown, AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "both close when they like",
        scripts: [&[AwaitOpen, Shutdown, AwaitEnd, Close], &[Shutdown, AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "simultaneous open, both close when they like",
        opening: Opening::Simultaneous,
        scripts: [&[AwaitOpen, Shutdown, AwaitEnd, Close], &[AwaitOpen, Shutdown, AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "two segments from A, one from B",
        scripts: [
            &[AwaitOpen, Send(1), Send(2), Shutdown, AwaitEnd, Close],
            &[Send(3), Shutdown, AwaitEnd, Close],
        ],
        ..PLAIN
    },
    Scenario {
        name: "the same with delayed acknowledgements, timestamps and window scaling",
        scripts: [
            &[AwaitOpen, Send(1), Send(2), Shutdown, AwaitEnd, Close],
            &[Send(3), Shutdown, AwaitEnd, Close],
        ],
        change: |config| {
            let usual = StackConfig::default();
            (config.timestamps, config.window_scaling) = (usual.timestamps, usual.window_scaling);
            (config.delayed_ack, config.socket) = (usual.delayed_ack, usual.socket);
        },
        ..PLAIN
    },
    Scenario {
        name: "simultaneous open, a segment each",
        opening: Opening::Simultaneous,
        scripts: [
            &[AwaitOpen, Send(1), Shutdown, AwaitEnd, Close],
            &[AwaitOpen, Send(2), Shutdown, AwaitEnd, Close],
        ],
        ..PLAIN
    },
    Scenario {
        name: "data written before the connection is open",
        scripts: [&[Send(2), AwaitOpen, Shutdown, AwaitEnd, Close], &[Send(1), Shutdown, AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "FIN with data from both",
        scripts: [&[AwaitOpen, SendFin(2), AwaitEnd, Close], &[SendFin(3), AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "half-close: B answers after the end of A's stream",
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[AwaitEnd, Send(2), Shutdown, Close]],
        ..PLAIN
    },
    Scenario {
        name: "an old duplicate of a SYN",
        opening: Opening::OldSyn,
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[SendFin(2), AwaitEnd, Close]],
        ..PLAIN
    },
    Scenario {
        name: "A closes with unsent data behind a window of two bytes",
        scripts: [&[AwaitOpen, Send(5), Close], &[Read, Read, Read, Read, AwaitEnd, Close]],
        reads_by_script: true,
        // Nobody who was told of an orphan's patience may wait for ever: B reads late, and A gives up.
        abortive: true,
        change: |config| config.socket.recv_buffer = 2,
        ..PLAIN
    },
    Scenario {
        name: "both fill the other's window of two bytes, and read when they like",
        scripts: [
            &[AwaitOpen, Send(3), Read, Read, Read, Shutdown, AwaitEnd, Close],
            &[Send(3), Read, Read, Read, Shutdown, AwaitEnd, Close],
        ],
        reads_by_script: true,
        change: |config| config.socket.recv_buffer = 2,
        ..PLAIN
    },
    Scenario {
        name: "A aborts",
        scripts: [&[AwaitOpen, Send(1), Abort, Close], &[Send(2), Shutdown, AwaitEnd, Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "both abort",
        scripts: [&[AwaitOpen, Send(1), Abort, Close], &[Send(1), Abort, Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "A closes with unread data",
        scripts: [&[AwaitOpen, Close], &[Send(2), Shutdown, AwaitEnd, Close]],
        reads_by_script: true,
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "both close at once and read nothing more",
        scripts: [&[AwaitOpen, Send(1), Close], &[Send(2), Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "A closes before the connection is open",
        scripts: [&[Close], &[AwaitEnd, Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "simultaneous open, and A closes in the middle of it",
        opening: Opening::Simultaneous,
        scripts: [&[Close], &[AwaitOpen, Send(1), Shutdown, AwaitEnd, Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "simultaneous open, and A aborts in the middle of it",
        opening: Opening::Simultaneous,
        scripts: [&[Abort, Close], &[AwaitOpen, Send(1), Shutdown, AwaitEnd, Close]],
        abortive: true,
        ..PLAIN
    },
    Scenario {
        name: "Fast Open, and both close when they like",
        opening: Opening::Fast,
        scripts: [&[AwaitOpen, Shutdown, AwaitEnd, Close], &[Send(1), Shutdown, AwaitEnd, Close]],
        one_guest: true,
        change: fast_open,
        ..PLAIN
    },
    Scenario {
        name: "Fast Open, and B aborts",
        opening: Opening::Fast,
        scripts: [&[AwaitOpen, AwaitEnd, Close], &[Send(1), Abort, Close]],
        abortive: true,
        one_guest: true,
        change: fast_open,
        ..PLAIN
    },
    Scenario {
        name: "SYN cookies",
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[SendFin(2), AwaitEnd, Close]],
        // A segment that overtakes the one with the cookie is reset (RFC 9293 3.10.7.2).
        abortive: true,
        // A cookie that comes twice would make a second connection.
        one_guest: true,
        change: |config| config.syn_cookies = SynCookieMode::Always,
        ..PLAIN
    },
    Scenario {
        name: "ECN of RFC 3168",
        scripts: [TWO_THERE, ONE_BACK],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::On,
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN",
        scripts: [TWO_THERE, ONE_BACK],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::Accurate,
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN with timestamps, its option now and then",
        scripts: [TWO_THERE, ONE_BACK],
        meddler: true,
        change: |config| {
            config.timestamps = true;
            (config.socket.ecn, config.socket.ecn_option) = (EcnMode::Accurate, EcnOption::Least);
        },
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN is asked for, that of RFC 3168 agreed to",
        scripts: [TWO_THERE, ONE_BACK],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::Accurate,
        change_b: |config| config.socket.ecn = EcnMode::WhenAsked,
        ..PLAIN
    },
    Scenario {
        name: "ECN of RFC 3168 is asked for, by a simultaneous open",
        opening: Opening::Simultaneous,
        scripts: [OPEN_ONE, OPEN_ONE],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::On,
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN, by a simultaneous open",
        opening: Opening::Simultaneous,
        scripts: [OPEN_ONE, OPEN_ONE],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::Accurate,
        ..PLAIN
    },
    Scenario {
        name: "both kinds of ECN, by a simultaneous open",
        opening: Opening::Simultaneous,
        scripts: [OPEN_ONE, OPEN_ONE],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::Accurate,
        change_b: |config| config.socket.ecn = EcnMode::OnOrAccurateWhenAsked,
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN behind a cookie",
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[SendFin(2), AwaitEnd, Close]],
        abortive: true,
        one_guest: true,
        meddler: true,
        change: |config| {
            config.syn_cookies = SynCookieMode::Always;
            config.socket.ecn = EcnMode::Accurate;
        },
        ..PLAIN
    },
    Scenario {
        name: "Accurate ECN, and an old duplicate of a SYN without",
        opening: Opening::OldSyn,
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[SendFin(2), AwaitEnd, Close]],
        meddler: true,
        change: |config| config.socket.ecn = EcnMode::Accurate,
        ..PLAIN
    },
    Scenario {
        name: "four segments from A, and blocks that come and go",
        scripts: [
            &[AwaitOpen, Send(1), Send(2), Send(1), SendFin(2), AwaitEnd, Close],
            &[AwaitOpen, AwaitEnd, Close],
        ],
        meddler: true,
        ..PLAIN
    },
    Scenario {
        name: "BBR",
        scripts: [TWO_THERE, ONE_BACK],
        change: |config| config.socket.congestion = Algorithm::Bbr,
        ..PLAIN
    },
    Scenario {
        name: "BBR and Accurate ECN",
        scripts: [TWO_THERE, &[AwaitEnd, Close]],
        meddler: true,
        change: |config| {
            (config.socket.congestion, config.socket.ecn) = (Algorithm::Bbr, EcnMode::Accurate);
        },
        ..PLAIN
    },
    Scenario {
        name: "reno, with ECN of RFC 3168 and timestamps",
        scripts: [TWO_THERE, &[AwaitEnd, Close]],
        meddler: true,
        change: |config| {
            config.timestamps = true;
            (config.socket.congestion, config.socket.ecn) = (Algorithm::NewReno, EcnMode::On);
        },
        ..PLAIN
    },
    Scenario {
        name: "Fast Open with a cookie, on a path that strips it",
        opening: Opening::FastWithCookie,
        scripts: [&[AwaitOpen, Shutdown, AwaitEnd, Close], &[AwaitEnd, Close]],
        one_guest: true,
        meddler: true,
        shows: &[(Class::EarlyData, 0), (Class::EarlyDataFailed, 1)],
        change: fast_open_with_cookie,
        ..PLAIN
    },
    Scenario {
        name: "Fast Open with a cookie that is refused",
        opening: Opening::FastWithStaleCookie,
        scripts: [&[AwaitOpen, SendFin(1), AwaitEnd, Close], &[SendFin(1), AwaitEnd, Close]],
        one_guest: true,
        shows: &[(Class::CookieRefused, 0), (Class::EarlyDataFailed, 0)],
        change: fast_open_with_cookie,
        ..PLAIN
    },
    Scenario {
        name: "Fast Open, and a SYN with data that comes again",
        opening: Opening::FastWithCookie,
        // B closes last, and keeps nothing of the connection that would know the SYN.
        scripts: [&[Shutdown, AwaitEnd, Close], &[AwaitEnd, SendFin(1), Close]],
        abortive: true,
        shows: &[(Class::EarlyData, 0), (Class::DeliveredAgain, 1)],
        change: fast_open_with_cookie,
        ..PLAIN
    },
    Scenario {
        name: "Fast Open, with a SYN that nobody answers",
        opening: Opening::FastWithCookie,
        scripts: [&[Shutdown, AwaitEnd, Close], &[AwaitEnd, Close]],
        abortive: true,
        one_guest: true,
        // A gives up at once.
        shows: &[(Class::EarlyData, 0), (Class::FastOpenBlackHole, 1)],
        change: |config| {
            fast_open_with_cookie(config);
            config.socket.syn_retries = 0;
        },
        ..PLAIN
    },
    Scenario {
        name: "probes of the path's MTU",
        scripts: [&[AwaitOpen, SendFin(1660), AwaitEnd, Close], &[AwaitEnd, Close]],
        narrow: NARROW,
        shows: &[(Class::Probe, 0), (Class::ProbePassed, 0), (Class::ProbeLost, 1), (Class::TooBig, 1)],
        change: |config| {
            short_path(config);
            config.mtu_probing = MtuProbing::Always;
        },
        ..PLAIN
    },
    Scenario {
        name: "a black hole for large packets, and probes behind it",
        scripts: [
            &[AwaitOpen, Send(720), Read, SendFin(2400), AwaitEnd, Close],
            &[Read, Send(1), AwaitEnd, Close],
        ],
        reads_by_script: true,
        narrow: NARROW,
        shows: &[(Class::BlackHole, 1), (Class::Probe, 1), (Class::ProbeLost, 1)],
        change: short_path,
        ..PLAIN
    },
    Scenario {
        name: "a black hole, or a router who says so, without SACK",
        scripts: [&[AwaitOpen, SendFin(1400), AwaitEnd, Close], &[AwaitEnd, Close]],
        narrow: NARROW,
        shows: &[(Class::BlackHole, 1), (Class::TooBig, 1)],
        change: |config| {
            short_path(config);
            config.sack = false;
        },
        ..PLAIN
    },
];
