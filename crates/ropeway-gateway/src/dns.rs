//! DNS queries to the gateway, passed on to the host's resolvers (RFC 1035).

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::counters::add;
use crate::gateway::{Refused, Shared, is_exhausted};
use crate::outside::{Datagrams, Outside};
use crate::policy::FlowKind;

const PORT: u16 = 53;
/// The header of a message (RFC 1035 4.1.1).
const HEADER: usize = 12;
/// The longest message over UDP; an answer that is longer than the asker takes is cut by the resolver.
const LONGEST: usize = 65_535;
/// Of the third byte: this is an answer.
const QR: u8 = 0x80;
/// Of the fourth: a code of the answer, and its value where a server cannot say anything.
const RCODE: u8 = 0x0f;
const SERVFAIL: u8 = 2;

/// The resolvers that the system's configuration names (`/etc/resolv.conf`), with the port 53.
///
/// # Errors
///
/// That of reading the file.
pub fn system_resolvers() -> io::Result<Vec<SocketAddr>> {
    Ok(resolvers_of(&fs::read_to_string("/etc/resolv.conf")?))
}

/// Likewise, those in the text of such a file. Addresses with a zone (`fe80::1%eth0`) are left out.
///
/// ```
/// let text = "# by hand\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 \noptions edns0\n";
/// assert_eq!(
///     ropeway_gateway::resolvers_of(text),
///     ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]
/// );
/// ```
#[must_use]
pub fn resolvers_of(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_one = words.next() == Some("nameserver");
        words.next().filter(|_| is_one)?.parse::<IpAddr>().ok()
    });
    addresses.map(|address| SocketAddr::new(address, PORT)).collect()
}

/// Whether datagrams to that address are queries for us.
pub(crate) fn is_query_to<O: Outside>(shared: &Shared<O>, to: SocketAddr) -> bool {
    to.port() == PORT && shared.settings.dns.as_ref().is_some_and(|dns| dns.at.contains(&to.ip()))
}

/// Takes a query of the guest's.
pub(crate) fn take<O: Outside>(
    shared: &Arc<Shared<O>>,
    tasks: &mut JoinSet<()>,
    query: &[u8],
    ends: (SocketAddr, SocketAddr),
) {
    // What is no query gets no answer.
    if query.get(2).is_none_or(|flags| flags & QR != 0) || question(query).is_none() {
        add(&shared.counts.dns_failed, 1);
        return;
    }
    let places = (shared.queries.clone().try_acquire_owned(), shared.descriptor());
    let (Ok(place), Some(descriptor)) = places else {
        add(&shared.counts.over_limit, 1);
        return;
    };
    add(&shared.counts.dns_queries, 1);
    tasks.spawn(answer(Arc::clone(shared), query.into(), ends, (place, descriptor)));
}

async fn answer<O: Outside>(
    shared: Arc<Shared<O>>,
    query: Box<[u8]>,
    (guest, at): (SocketAddr, SocketAddr),
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) {
    let target = match shared.target(FlowKind::Dns, guest, at).await {
        Ok(target) => target.address,
        Err(Refused::Silently) => return,
        Err(_) => return shared.reply(&failure(&query), (guest, at)),
    };
    let resolvers = shared.settings.dns.as_ref().map(|dns| dns.resolvers.as_slice()).unwrap_or_default();
    // The policy may have sent it elsewhere.
    let others = resolvers.iter().skip(1).filter(|_| resolvers.first() == Some(&target));
    for resolver in [&target].into_iter().chain(others) {
        match timeout(shared.settings.dns_timeout, ask(&shared, *resolver, &query)).await {
            Ok(Ok(answer)) => return shared.reply(&answer, (guest, at)),
            Ok(Err(error)) => {
                tracing::debug!(%resolver, %error, "a resolver cannot be asked");
                if is_exhausted(&error) {
                    add(&shared.counts.out_of_descriptors, 1);
                }
            }
            Err(_) => tracing::debug!(%resolver, "a resolver does not answer"),
        }
    }
    add(&shared.counts.dns_failed, 1);
    shared.reply(&failure(&query), (guest, at));
}

/// Asks a resolver, from a port of its own for each query: whoever would forge an answer has to guess it (RFC 5452).
async fn ask<O: Outside>(shared: &Shared<O>, resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = shared.outside.datagrams(resolver).await?;
    socket.try_send(query, None)?;
    let mut buf = vec![0; LONGEST];
    loop {
        socket.readable().await?;
        let (len, size) = match socket.try_recv(&mut buf) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        // Several of one size may have come together.
        let size = size.map_or(LONGEST, usize::from).max(1);
        for answer in buf.get(..len).unwrap_or_default().chunks(size) {
            if answers(answer, query) {
                return Ok(answer.to_vec());
            }
            add(&shared.counts.dns_mismatched, 1);
        }
    }
}

impl<O: Outside> Shared<O> {
    fn reply(&self, answer: &[u8], (guest, at): (SocketAddr, SocketAddr)) {
        if self.datagrams.try_send_from(answer, at, guest).is_err() {
            add(&self.counts.udp_dropped, 1);
        }
    }
}

/// Whether a message is the answer to that query: its number and its question are the same (RFC 5452 9.1).
fn answers(answer: &[u8], query: &[u8]) -> bool {
    let is_answer = answer.get(2).is_some_and(|flags| flags & QR != 0);
    // A server that understood nothing need not repeat the question (RFC 1035 4.1.1).
    let bare = answer.len() == HEADER && answer.get(3).is_some_and(|flags| flags & RCODE != 0);
    is_answer && answer.get(..2) == query.get(..2) && (bare || question(answer) == question(query))
}

/// The question of a message, which must have one.
fn question(message: &[u8]) -> Option<&[u8]> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            // A label is no longer; a pointer has nothing before it to point to.
            label @ 1..=63 => at += 1 + label,
            _ => return None,
        }
    }
    // Type and class.
    message.get(HEADER..at + 5)
}

/// The answer of a server that cannot answer.
fn failure(query: &[u8]) -> Vec<u8> {
    let question = question(query).unwrap_or_default();
    let [id @ .., flags] = *query.first_chunk::<3>().unwrap_or(&[0; 3]);
    let [high, low] = id;
    // The operation and "recursion desired" are the query's.
    let mut answer = vec![high, low, QR | flags & 0x79, QR | SERVFAIL, 0, 1, 0, 0, 0, 0, 0, 0];
    answer.extend_from_slice(question);
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

    use super::*;

    fn query(id: u16, name: &str) -> Vec<u8> {
        let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        [&message[..], &[0, 0, 1, 0, 1]].concat()
    }

    fn answer_to(query: &[u8]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= QR;
        answer
    }

    #[test]
    fn an_answer_has_the_number_and_the_question_of_its_query() {
        let asked = query(7, "example.com");
        assert!(answers(&answer_to(&asked), &asked));
        assert!(answers(&failure(&asked), &asked));
        assert!(!answers(&asked, &asked), "this is a query");
        assert!(!answers(&answer_to(&query(8, "example.com")), &asked));
        assert!(!answers(&answer_to(&query(7, "example.org")), &asked));
        for cut in 0..asked.len() {
            assert!(!answers(&answer_to(&asked)[..cut.max(3)], &asked), "{cut}");
        }
    }

    #[test]
    fn garbage_has_no_question() {
        for garbage in
            [&[][..], &[0; 11], &[0xff; 600], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1]]
        {
            assert_eq!(question(garbage), None);
        }
    }
}
