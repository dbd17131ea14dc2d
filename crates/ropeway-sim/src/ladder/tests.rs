//! Drawings of connections that are made up.

use std::time::{Duration, SystemTime};

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use super::crossings::Crossing;
use super::*;

const OPENER: &str = "10.9.0.2:49152";
const OTHER: &str = "10.9.0.1:8080";

/// A whole connection: `(from the opener?, flags, seq, ack, len)`, with the opener's numbers from 1000 and the
/// other's from u32::MAX, and one segment a millisecond.
fn connection(segments: &[(bool, TcpFlags, u32, u32, usize)]) -> Crossings {
    let cross = |(at, &(right, flags, seq, ack, len)): (u64, &(bool, TcpFlags, u32, u32, usize))| {
        let (from, to) = if right { (OPENER, OTHER) } else { (OTHER, OPENER) };
        let (own, peer) = if right { (1000, u32::MAX) } else { (u32::MAX, 1000) };
        let is_syn = flags.contains(TcpFlags::SYN);
        let options = TcpOptions {
            mss: is_syn.then_some(1460),
            window_scale: is_syn.then_some(7),
            timestamps: Some(Timestamps { tsval: own.wrapping_add(5), tsecr: peer.wrapping_add(5) }),
            ..TcpOptions::default()
        };
        let (seq, ack) = (SeqNum::new(own) + seq, SeqNum::new(peer) + ack);
        let header = TcpHeader { flags, seq, ack, window: 500, options, ..TcpHeader::default() };
        Crossing {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(at),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            header,
            len,
            start: Crossing::start(&b"on belay? climbing"[..len.min(18)]),
        }
    };
    let mut crossings = Crossings::default();
    (0..).zip(segments).map(cross).for_each(|crossing| crossings.push(crossing));
    crossings
}

fn short() -> Crossings {
    let (syn, ack, fin) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN | TcpFlags::ACK);
    connection(&[
        (true, syn, 0, 0, 0),
        (false, syn | ack, 0, 1, 0),
        (true, ack, 1, 1, 0),
        (true, ack | TcpFlags::PSH, 1, 1, 10),
        (true, fin, 11, 1, 0),
        (false, ack, 1, 12, 0),
        (false, fin, 1, 12, 0),
        (true, ack, 12, 2, 0),
    ])
}

#[test]
fn a_connection_is_drawn_from_syn_to_time_wait() {
    let report = |to: State, after| Change {
        local: OPENER.parse().unwrap(),
        remote: OTHER.parse().unwrap(),
        to,
        after,
    };
    // The last two segments were received in one batch, and what they did was reported after that.
    let changes = [
        report(State::SynSent, 0),
        report(State::Established, 2),
        report(State::FinWait1, 4),
        report(State::FinWait2, 7),
        report(State::TimeWait, 7),
    ];
    let us = End { name: "ropeway", reports: true };
    let drawn = draw(&short(), &changes, us, End { name: "Linux", reports: false });
    let expected = r#"
       ms  ropeway 10.9.0.2:49152                                                                 Linux 10.9.0.1:8080
           CLOSED                                                                                 LISTEN
    0.000  SYN-SENT     |-- SYN seq 0 win 500 [mss 1460 ts 0/- ws 7] ------------------------->|  SYN-RECEIVED
    1.000  ESTABLISHED  |<- SYN,ACK seq 0 ack 1 win 500 [mss 1460 ts 0/0 ws 7] ----------------|
    2.000               |-- ACK seq 1 ack 1 win 64000 [ts 0/0] ------------------------------->|  ESTABLISHED
    3.000               |-- PSH,ACK seq 1 ack 1 len 10 "on belay? " win 64000 [ts 0/0] ------->|
    4.000  FIN-WAIT-1   |-- FIN,ACK seq 11 ack 1 win 64000 [ts 0/0] -------------------------->|  CLOSE-WAIT
    5.000  FIN-WAIT-2   |<- ACK seq 1 ack 12 win 64000 [ts 0/0] -------------------------------|
    6.000  TIME-WAIT    |<- FIN,ACK seq 1 ack 12 win 64000 [ts 0/0] ---------------------------|  LAST-ACK
    7.000               |-- ACK seq 12 ack 2 win 64000 [ts 0/0] ------------------------------>|  CLOSED
"#;
    assert_eq!(format!("\n{drawn}"), expected);
}

#[test]
fn what_was_inferred_and_what_was_reported_agree() {
    let end = |reports| End { name: "", reports };
    let changes: Vec<Change> = [
        (State::SynSent, 0),
        (State::Established, 2),
        (State::FinWait1, 4),
        (State::FinWait2, 6),
        (State::TimeWait, 7),
    ]
    .map(|(to, after)| Change { local: OPENER.parse().unwrap(), remote: OTHER.parse().unwrap(), to, after })
    .into();
    assert_eq!(draw(&short(), &changes, end(true), end(false)), draw(&short(), &[], end(false), end(false)));
}

#[test]
fn a_long_transfer_is_drawn_without_its_middle() {
    let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
    let mut segments = vec![(true, syn, 0, 0, 0), (false, syn | ack, 0, 1, 0), (true, ack, 1, 1, 0)];
    for n in 0..5000 {
        segments.push((false, ack, 1 + n * 100, 1, 100));
        segments.push((true, ack, 1, 101 + n * 100, 0));
    }
    segments.push((true, TcpFlags::RST, 1, 0, 0));
    let end = End { name: "x", reports: false };
    let drawn = draw(&connection(&segments), &[], end, end);
    assert_eq!(drawn.lines().count(), 2 + 2 * SHOWN + 1);
    assert!(
        drawn.contains("4990 segments with 0 bytes to the right, 4990 with 499000 to the left"),
        "{drawn}"
    );
    assert!(drawn.ends_with("CLOSED\n"), "{drawn}");
}

#[test]
fn nothing_crossed() {
    let end = End { name: "x", reports: true };
    assert_eq!(draw(&Crossings::default(), &[], end, end), "no connection crossed\n");
}

#[test]
fn only_the_first_connection_is_drawn() {
    let mut crossings = Crossings::default();
    let other = connection(&[(true, TcpFlags::ACK, 0, 0, 0)]);
    assert!(other.is_empty(), "a connection begins with a SYN");
    let Some(mut stray) = short().kept().0.next().map(|(_, crossing)| crossing.clone()) else { panic!() };
    crossings.push(stray.clone());
    stray.from.set_port(1);
    crossings.push(stray);
    assert_eq!(crossings.len(), 1);
}

/// What a terminal of 80 columns shows without breaking a line; one that is narrower gets the same.
#[test]
fn a_drawing_fits_the_columns_there_are() {
    let end = |name| End { name, reports: false };
    let many = (1..200).map(|n| (true, TcpFlags::ACK, n, 1, 1_000_000));
    let many: Vec<_> = std::iter::once((true, TcpFlags::SYN, 0, 0, 0)).chain(many).collect();
    for crossings in [short(), connection(&many)] {
        for columns in [80, 100, 116, 117, 200] {
            let drawn = draw_within(columns, &crossings, &[], end("ropeway"), end("Linux"));
            let widest = drawn.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns, "{widest} of {columns} columns:\n{drawn}");
            assert!(drawn.contains(OPENER) && drawn.contains(OTHER));
        }
        let drawn = |columns| draw_within(columns, &crossings, &[], end("ropeway"), end("Linux"));
        assert_eq!(drawn(0).lines().count(), drawn(80).lines().count());
        assert_eq!(drawn(200), draw(&crossings, &[], end("ropeway"), end("Linux")));
    }
}

#[test]
fn the_first_bytes_of_the_data_are_shown_as_far_as_there_is_room() {
    let told = |data: &[u8], room: usize| {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let crossings =
            connection(&[(true, syn, 0, 0, 0), (false, syn | ack, 0, 1, 0), (true, ack, 1, 1, 9)]);
        let mut notation = Notation::new(OPENER.parse().unwrap());
        let mut told = String::new();
        for (_, crossing) in crossings.kept().0 {
            let mut crossing = crossing.clone();
            if crossing.len > 0 {
                (crossing.len, crossing.start) = (data.len(), Crossing::start(data));
            }
            told = notation.describe(&crossing, room);
        }
        told
    };
    let get = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
    assert_eq!(told(get, 100), r#"ACK seq 1 ack 1 len 29 "GET / HTTP/1.1\r\n".. win 64000 [ts 0/0]"#);
    assert_eq!(told(get, 62), r#"ACK seq 1 ack 1 len 29 "GET / HTTP/1.1\r".. win 64000 [ts 0/0]"#);
    assert_eq!(told(get, 50), r#"ACK seq 1 ack 1 len 29 "GET / HTTP/1.".. win 64000"#);
    assert_eq!(told(get, 40), r#"ACK seq 1 ack 1 len 29 "GET".. win 64000"#);
    assert_eq!(told(get, 20), "ACK seq 1 ack 1 len 29 win 64000");
    let hello = b"\x16\x03\x01\x00\xa5\x01";
    assert_eq!(told(hello, 100), "ACK seq 1 ack 1 len 6 0x16030100a501 win 64000 [ts 0/0]");
}
