//! Packet scripts: packetdrill's language, run against `ropeway-core` on a virtual clock.
//!
//! A script says what arrives, what the application calls, and what the stack has to send, and when. The
//! language is that of the public packetdrill, as far as TCP needs it; see docs/SCRIPTS.md.
//!
//! ```
//! use std::path::Path;
//! use ropeway_tests::script::{Ip, Mode, Outcome, parse, run, Settings};
//!
//! let text = "
//!      0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
//!     +0 bind(3, ..., ...) = 0
//!     +0 listen(3, 1) = 0
//!     +0 < S 0:0(0) win 1000 <mss 1000>
//!     +0 > S. 0:0(0) ack 1 <mss 1460>
//!     +1 > S. 0:0(0) ack 1 <mss 1460>
//! ";
//! let script = parse(text).unwrap();
//! let settings = Settings::new(&script, Path::new("example.pkt"), Mode::Strict, Ip::V4).unwrap();
//! assert!(matches!(run(&script, &settings).outcome, Outcome::Pass));
//! ```

pub mod ast;
mod calls;
mod compare;
mod deliver;
mod expect;
mod fast_open;
mod flow;
mod info;
mod lexer;
mod notation;
mod options;
mod orders;
mod parse;
mod parse_packet;
mod python;
mod report;
mod run;
mod settings;
mod sockets;
mod sysctl;
pub mod wire;
mod zero_copy;

use std::fmt;

use wire::flag;

pub use compare::Difference;
pub use orders::orders;
pub use parse::parse;
pub use report::{Failure, Outcome, Report};
pub use run::run;
pub use settings::{Ip, Mode, Settings};

/// What is wrong with a script itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub line: usize,
    /// What.
    pub what: String,
}

impl Error {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Error {}

/// Which IP versions a script runs over: both, unless `--ip_version` or `// @ip` names one. A script that spells out a cookie
/// which the stack makes runs over IPv4 alone: the addresses are in it.
#[must_use]
pub fn versions(script: &ast::Script) -> Vec<Ip> {
    let pragma = script.pragmas.iter().find(|pragma| pragma.name == "ip").map(|pragma| pragma.value.as_str());
    let option = script.options.iter().find(|(name, _)| name == "ip_version");
    let option = option.and_then(|(_, value)| value.as_deref());
    match pragma.or(option) {
        Some("4" | "ipv4" | "ipv4-mapped-ipv6") => vec![Ip::V4],
        Some("6" | "ipv6") => vec![Ip::V6],
        _ if spells_own_cookie(script) => vec![Ip::V4],
        _ => vec![Ip::V4, Ip::V6],
    }
}

/// Whether a SYN-ACK of the stack's is to carry a cookie, or to take one and all the data that came with it.
fn spells_own_cookie(script: &ast::Script) -> bool {
    let mut taken_if = None;
    script.events.iter().any(|event| {
        let ast::Action::Packet(spec) = &event.action else { return false };
        let ast::Body::Tcp(tcp) = &spec.body else { return false };
        let cookie =
            |option: &ast::TcpOption| matches!(option, ast::TcpOption::FastOpen { cookie, .. } if !cookie.is_empty());
        let has_cookie = tcp.options.iter().flatten().any(cookie);
        let (incoming, flags) = (spec.direction == ast::Direction::In, tcp.flags & (flag::SYN | flag::ACK));
        if incoming && flags == flag::SYN && has_cookie {
            let len = u32::try_from(tcp.len).unwrap_or(u32::MAX);
            taken_if = Some(tcp.seq.wrapping_add(1).wrapping_add(len));
        }
        !incoming && flags == flag::SYN | flag::ACK && (has_cookie || taken_if.take().is_some_and(|end| tcp.ack == Some(end)))
    })
}
