//! What a script says, line by line.

use std::net::IpAddr;

/// A whole script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Settings of ours that packetdrill takes for comments: `// @name: value`.
    pub pragmas: Vec<Pragma>,
    /// `--name=value` at the start.
    pub options: Vec<(String, Option<String>)>,
    /// The command in backticks before the first event.
    pub init: Option<String>,
    /// What happens, in order.
    pub events: Vec<Event>,
    /// The lines as they were written, for messages.
    pub lines: Vec<String>,
}

/// `// @name: value`
#[derive(Clone, Debug)]
pub struct Pragma {
    /// Where it stands.
    pub line: usize,
    /// Before the colon.
    pub name: String,
    /// Behind it.
    pub value: String,
}

/// One step of the script.
#[derive(Clone, Debug)]
pub struct Event {
    /// The line it begins on.
    pub line: usize,
    /// When.
    pub time: EventTime,
    /// What.
    pub action: Action,
    /// `// @packet:` lines right before it.
    pub pragmas: Vec<Pragma>,
}

/// A moment in microseconds since the script began, or since the event before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// `0.5`
    At(u64),
    /// `+0.5`
    After(u64),
    /// `*`
    Any,
    /// `0.5~0.6`
    Between(u64, u64),
    /// `+0.5~+0.6`
    AfterBetween(u64, u64),
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Action {
    /// A packet arrives, or is expected to be sent.
    Packet(Box<PacketSpec>),
    /// The application calls.
    Call(Call),
    /// A shell command in backticks.
    Command(String),
    /// Python between `%{` and `}%`.
    Code(String),
}

/// Which way a packet goes, seen from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`
    In,
    /// `>`
    Out,
}

/// A packet as the script has it.
#[derive(Clone, Debug)]
pub struct PacketSpec {
    /// Which way.
    pub direction: Direction,
    /// Of the IP header.
    pub ip: IpSpec,
    /// `src > dst`
    pub ports: Option<(u16, u16)>,
    /// Behind the IP header.
    pub body: Body,
}

/// What a script can say of the IP header.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpSpec {
    /// The two ECN bits.
    pub ecn: Option<Ecn>,
    /// The whole byte.
    pub tos: Option<u8>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// IPv6.
    pub flow_label: Option<u32>,
}

/// The ECN field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// These bits.
    Exactly(u8),
    /// ECT(0) or ECT(1).
    Ect01,
}

/// Behind the IP header.
#[derive(Clone, Debug)]
pub enum Body {
    /// A segment.
    Tcp(TcpSpec),
    /// An ICMP message.
    Icmp(IcmpSpec),
    /// A datagram of that many bytes.
    Udp(u16),
    /// Parsed, but nothing we can make.
    Unsupported(String),
}

/// A TCP segment; sequence numbers as the script counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpSpec {
    /// The control bits, as in [`crate::script::wire::flag`].
    pub flags: u16,
    /// `.` was replaced by a count (AccECN).
    pub ace: bool,
    /// SEG.SEQ.
    pub seq: u32,
    /// Bytes of data.
    pub len: usize,
    /// SEG.ACK.
    pub ack: Option<u32>,
    /// The window field.
    pub win: Option<u16>,
    /// The urgent pointer.
    pub urg: u16,
    /// `None` for `<...>`.
    pub options: Option<Vec<TcpOption>>,
}

/// A TCP option, one entry for each as it stands in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// Kind 0
    Eol,
    /// Kind 1
    Nop,
    /// Kind 2
    Mss(u16),
    /// Kind 3
    WindowScale(u8),
    /// Kind 4
    SackPermitted,
    /// Kind 5
    Sack(Vec<(u32, u32)>),
    /// Kind 8
    Timestamps {
        /// TSval
        val: u32,
        /// TSecr
        ecr: u32,
    },
    /// Kind 34, or the experimental one.
    FastOpen {
        /// Empty asks for one.
        cookie: Vec<u8>,
        /// Kind 254 with the magic number.
        experimental: bool,
    },
    /// The same, with the cookie that the stack makes.
    OwnCookie {
        /// Kind 254 with the magic number.
        experimental: bool,
    },
    /// Any other, or a known kind with another length: kind and bytes behind the length.
    Other(u8, Vec<u8>),
}

/// An ICMP message.
#[derive(Clone, Debug)]
pub struct IcmpSpec {
    /// `unreachable`, `packet_too_big`, ...
    pub kind: String,
    /// `port_unreachable`, `frag_needed`, ...
    pub code: Option<String>,
    /// `mtu 1300`
    pub mtu: Option<u32>,
    /// `id 7`
    pub id: u16,
    /// `[1:1001(1000)]`: the segment that is quoted.
    pub quoted: Option<(u32, usize)>,
    /// `[udp (100)]`
    pub quotes_udp: bool,
}

/// A call with its result.
#[derive(Clone, Debug)]
pub struct Call {
    /// When a call that blocks is to return (`...` and a time); relative as the event's own time is.
    pub end: Option<u64>,
    /// `read`
    pub name: String,
    /// Between the parentheses.
    pub args: Vec<Expr>,
    /// Behind `=`.
    pub result: Expr,
    /// `EAGAIN`
    pub errno: Option<String>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `...`
    Ellipsis,
    /// `5`, `0x5`
    Int(i64),
    /// `1.5`
    Float(f64),
    /// `O_NONBLOCK`
    Word(String),
    /// `"text"`
    Str(Vec<u8>),
    /// `a|b`
    Or(Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{a, b=c}`
    Struct(Vec<Expr>),
    /// `name=value` in a structure
    Field(String, Box<Expr>),
    /// `htons(5)`
    Apply(String, Vec<Expr>),
}

impl Expr {
    /// The value of a structure's field, or of one in the structures of a list.
    pub(super) fn field(&self, wanted: &str) -> Option<&Expr> {
        match self {
            Self::List(parts) => parts.iter().find_map(|part| part.field(wanted)),
            Self::Struct(fields) => fields.iter().find_map(|part| match part {
                Self::Field(name, value) if name == wanted => Some(&**value),
                _ => None,
            }),
            _ => None,
        }
    }
}

/// What `// @packet:` says of the packet on the next line.
#[derive(Clone, Debug, Default)]
pub struct PacketExtras {
    /// The checksum is wrong.
    pub bad_checksum: bool,
    /// From another address.
    pub src: Option<IpAddr>,
    /// To another address.
    pub dst: Option<IpAddr>,
    /// Instead of `<...>`: the bytes of the options as they stand.
    pub options: Option<Vec<u8>>,
    /// The bytes of the IPv4 options as they stand.
    pub ip_options: Option<Vec<u8>>,
    /// The reserved bits of the TCP header.
    pub reserved: u8,
    /// The data offset, in words, whatever it should be.
    pub data_offset: Option<u8>,
    /// The acknowledgement number without the flag that makes it count.
    pub ack_field: Option<u32>,
    /// The bytes differ from those that other segments have at the same sequence numbers.
    pub other_data: bool,
}
