//! Tokens to packets.

use super::Error;
use super::ast::{Body, Direction, Ecn, IcmpSpec, IpSpec, PacketSpec, TcpOption, TcpSpec};
use super::lexer::Token;
use super::parse::Parser;
use super::wire::flag;

impl Parser {
    pub(super) fn packet(&mut self) -> Result<PacketSpec, Error> {
        let direction = if self.accept('<') {
            Direction::In
        } else {
            self.expect('>')?;
            Direction::Out
        };
        for encapsulation in ["ipv4", "ipv6", "gre", "GREv0", "mpls"] {
            if self.is_word(encapsulation) {
                self.skip_line();
                let body = Body::Unsupported(format!("encapsulation in {encapsulation}"));
                return Ok(PacketSpec { direction, ip: IpSpec::default(), ports: None, body });
            }
        }
        let ip = self.ip_info()?;
        if self.is_word("encap") || self.is_word("sctp") {
            let body = Body::Unsupported(self.word()?);
            self.skip_line();
            return Ok(PacketSpec { direction, ip, ports: None, body });
        }
        if self.accept_word("icmp") {
            let body = Body::Icmp(self.icmp()?);
            return Ok(PacketSpec { direction, ip, ports: None, body });
        }
        let udp = self.accept_word("udp");
        let ports = self.ports()?;
        let body = if udp || self.accept_word("udp") {
            self.expect('(')?;
            let len = self.number()?;
            self.expect(')')?;
            Body::Udp(len)
        } else {
            Body::Tcp(self.tcp(direction)?)
        };
        let body = self.tunnel()?.unwrap_or(body);
        Ok(PacketSpec { direction, ip, ports, body })
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.peek().is_some() && self.line() == line {
            self.next();
        }
    }

    fn ip_info(&mut self) -> Result<IpSpec, Error> {
        let mut ip = IpSpec::default();
        let close = if self.is('[') {
            ']'
        } else if self.is('(') {
            ')'
        } else {
            return Ok(ip);
        };
        self.next();
        while !self.accept(close) {
            match self.word()?.as_str() {
                "noecn" => ip.ecn = Some(Ecn::Exactly(0)),
                "ect1" => ip.ecn = Some(Ecn::Exactly(1)),
                "ect0" => ip.ecn = Some(Ecn::Exactly(2)),
                "ce" => ip.ecn = Some(Ecn::Exactly(3)),
                "ect01" => ip.ecn = Some(Ecn::Ect01),
                "tos" | "class" => ip.tos = Some(self.number()?),
                "ttl" | "hlim" => ip.ttl = Some(self.number()?),
                "flowlabel" => ip.flow_label = Some(self.number()?),
                other => return Err(self.error(format!("'{other}' is nothing of an IP header"))),
            }
            self.accept(',');
        }
        Ok(ip)
    }

    fn ports(&mut self) -> Result<Option<(u16, u16)>, Error> {
        let given = matches!(self.peek(), Some(Token::Int(_))) && self.peek_at(1) == Some(&Token::Punct('>'));
        if !given {
            return Ok(None);
        }
        let src = self.number()?;
        self.expect('>')?;
        Ok(Some((src, self.number()?)))
    }

    fn tcp(&mut self, direction: Direction) -> Result<TcpSpec, Error> {
        let mut tcp = TcpSpec::default();
        self.flags(&mut tcp)?;
        (tcp.seq, tcp.len) = self.sequence()?;
        if self.accept_word("ack") {
            tcp.ack = Some(self.number()?);
        }
        if self.accept_word("win") {
            tcp.win = Some(self.number()?);
        }
        if self.accept_word("urg") {
            tcp.urg = self.number()?;
        }
        tcp.options = Some(Vec::new());
        if self.accept('<') {
            if self.peek() == Some(&Token::Ellipsis) {
                self.next();
                if direction == Direction::In {
                    return Err(self.error("a packet that arrives needs its options"));
                }
                tcp.options = None;
            } else {
                tcp.options = Some(self.options()?);
                return Ok(tcp);
            }
            self.expect('>')?;
        }
        Ok(tcp)
    }

    /// `/udp(1 > 2)`: tunnelled.
    fn tunnel(&mut self) -> Result<Option<Body>, Error> {
        if !self.accept('/') {
            return Ok(None);
        }
        let what = self.word()?;
        if self.accept('(') {
            while !self.accept(')') && self.peek().is_some() {
                self.next();
            }
        }
        Ok(Some(Body::Unsupported(format!("TCP over {what}"))))
    }

    fn flags(&mut self, tcp: &mut TcpSpec) -> Result<(), Error> {
        if self.accept('-') {
            return Ok(());
        }
        let mut some = false;
        if let Some(Token::Word(letters)) = self.peek().cloned() {
            self.next();
            some = true;
            for letter in letters.chars() {
                // `P5.`: the counter stands before the dot.
                if let Some(count) = letter.to_digit(8) {
                    tcp.flags |= flag::of_ace(u16::try_from(count).unwrap_or_default());
                    tcp.ace = true;
                    continue;
                }
                tcp.flags |= flag::of_letter(letter)
                    .ok_or_else(|| self.error(format!("'{letter}' in '{letters}' is no flag")))?;
            }
        }
        if self.accept('.') {
            tcp.flags |= flag::ACK;
            return Ok(());
        }
        // `.5`: an ACK with a counter in the ECN bits.
        if let Some(Token::Float(text)) = self.peek().cloned()
            && let Some(count) = text.strip_prefix('.').and_then(|digits| digits.parse::<u16>().ok())
            && count < 8
        {
            self.next();
            tcp.flags |= flag::ACK | flag::of_ace(count);
            tcp.ace = true;
            return Ok(());
        }
        if some { Ok(()) } else { Err(self.error("expected flags")) }
    }

    /// `first:last(length)`; what others write as `...(length)` is not looked at.
    fn sequence(&mut self) -> Result<(u32, usize), Error> {
        if self.peek() == Some(&Token::Ellipsis) {
            return Err(self.error("sequence numbers that are left open are not understood"));
        }
        let first: u32 = self.number()?;
        self.expect(':')?;
        let last: u32 = self.number()?;
        self.expect('(')?;
        let len: u16 = self.number()?;
        self.expect(')')?;
        if first.wrapping_add(u32::from(len)) != last {
            return Err(self.error(format!("{first}:{last} are not {len} bytes")));
        }
        Ok((first, usize::from(len)))
    }

    /// Up to and with `>`.
    fn options(&mut self) -> Result<Vec<TcpOption>, Error> {
        let mut options = Vec::new();
        loop {
            options.push(self.option()?);
            if self.accept('>') {
                return Ok(options);
            }
            self.expect(',')?;
        }
    }

    fn option(&mut self) -> Result<TcpOption, Error> {
        Ok(match self.word()?.as_str() {
            "nop" => TcpOption::Nop,
            "eol" => TcpOption::Eol,
            "mss" => TcpOption::Mss(self.number()?),
            "wscale" => TcpOption::WindowScale(self.number()?),
            "sackOK" => TcpOption::SackPermitted,
            "sack" => self.sack()?,
            "TS" => {
                if !self.accept_word("val") {
                    return Err(self.error("expected 'val'"));
                }
                let val = self.number()?;
                if !self.accept_word("ecr") {
                    return Err(self.error("expected 'ecr'"));
                }
                TcpOption::Timestamps { val, ecr: self.number()? }
            }
            name @ ("FO" | "FOEXP") => {
                // A name stands for a cookie that the stack is to make.
                let named = matches!(self.peek(), Some(Token::Word(word)) if hex(word).is_none());
                if named {
                    self.next();
                }
                let experimental = name == "FOEXP";
                match named {
                    true => TcpOption::OwnCookie { experimental },
                    false => TcpOption::FastOpen { cookie: self.blob()?, experimental },
                }
            }
            "md5" => {
                // Some collections only say whether the digest is valid.
                let named = matches!(self.peek(), Some(Token::Word(word)) if hex(word).is_none());
                if named {
                    self.next();
                }
                TcpOption::Other(19, if named { vec![0; 16] } else { self.blob()? })
            }
            "ECN" => self.accecn()?,
            other => return Err(self.error(format!("'{other}' is no option"))),
        })
    }

    fn sack(&mut self) -> Result<TcpOption, Error> {
        let mut blocks = Vec::new();
        while let Some(Token::Int(_)) = self.peek() {
            let left = self.number()?;
            self.expect(':')?;
            blocks.push((left, self.number()?));
        }
        Ok(TcpOption::Sack(blocks))
    }

    /// Hexadecimal digits, none if an option is over.
    fn blob(&mut self) -> Result<Vec<u8>, Error> {
        let text = match self.peek().cloned() {
            Some(Token::Word(text) | Token::Int(text)) => text,
            _ => return Ok(Vec::new()),
        };
        let bytes = hex(&text).ok_or_else(|| self.error("expected hexadecimal digits, two for a byte"))?;
        self.next();
        Ok(bytes)
    }

    /// `ECN e1b 1 ceb 0 e0b 1`: three counters of 24 bits, fewer if they are left out.
    fn accecn(&mut self) -> Result<TcpOption, Error> {
        let mut bytes = Vec::new();
        let first = self.is_word("e0b");
        while let Some(Token::Word(_)) = self.peek() {
            self.next();
            let count: u32 = self.number()?;
            bytes.extend_from_slice(&count.to_be_bytes()[1..]);
        }
        Ok(TcpOption::Other(if first { 172 } else { 174 }, bytes))
    }

    fn icmp(&mut self) -> Result<IcmpSpec, Error> {
        let kind = self.word()?;
        let code = match self.peek() {
            Some(Token::Word(word)) if word != "mtu" && word != "id" => Some(self.word()?),
            _ => None,
        };
        let mut spec = IcmpSpec { kind, code, mtu: None, id: 0, quoted: None, quotes_udp: false };
        if self.accept_word("mtu") {
            spec.mtu = Some(self.number()?);
        }
        if self.accept_word("id") {
            spec.id = self.number()?;
        }
        if self.accept('[') {
            if self.accept_word("udp") {
                spec.quotes_udp = true;
                while !self.is(']') && self.peek().is_some() {
                    self.next();
                }
            } else {
                spec.quoted = Some(self.sequence()?);
            }
            self.expect(']')?;
        }
        Ok(spec)
    }
}

/// `0a1b` to bytes.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
