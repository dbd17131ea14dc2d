//! RFC 3168: the echo, its answer, and which packets may be marked.

use ropeway_core::ConnectionId;
use ropeway_core::EcnMode;
use ropeway_core::congestion::Phase;
use ropeway_core::packet::{TcpFlags, TcpSegment};

use crate::common::*;
use crate::{accepted, mode};

/// Ten segments of data are out, which may be marked.
fn flight() -> (Lab, ConnectionId) {
    let (mut lab, id) = accepted();
    lab.write(id, &[b'x'; 14_600]);
    for sent in 0..10 {
        lab.expect(some(1460).seq(1 + 1460 * sent).ect0());
    }
    (lab, id)
}

// RFC 3168 6.1.3-1, RFC 3168 6.1.2-5, RFC 3168 6.1.3-2
#[test]
fn a_mark_is_echoed_until_it_is_answered() {
    let (mut lab, id) = accepted();
    lab.send(some(100).ce());
    lab.expect(ack().ece().ack(101).not_ect());
    lab.send(some(1460).ect0());
    lab.after(40);
    lab.expect(ack().ece().ack(1561));
    // What we send ourselves echoes it, too.
    lab.write(id, b"hi");
    lab.expect(data("hi").ece().seq(1).ect0());
    lab.send(some(100).cwr().ect0());
    lab.expect(ack().ack(1661));
    lab.send(some(100).ect0());
    lab.after(40);
    lab.expect(ack().ack(1761));
    assert!(lab.info(id).ecn_seen);
}

// RFC 3168 6.1.3-2
#[test]
fn a_mark_on_the_answer_begins_a_new_echo() {
    let (mut lab, _) = accepted();
    lab.send(some(100).ce());
    lab.expect(ack().ece().ack(101));
    lab.send(some(100).cwr().ce());
    lab.expect(ack().ece().ack(201));
}

// RFC 3168 6.1.3: a sender with a small window does not wait for a delayed acknowledgement to learn of it.
#[test]
fn a_mark_is_told_of_at_once_but_only_the_first() {
    let (mut lab, _) = accepted();
    lab.send(some(100).ce());
    lab.expect(ack().ece().ack(101));
    lab.send(some(100).ce());
    lab.after(40);
    lab.expect(ack().ece().ack(201));
}

// RFC 3168 6.1.5-2: only data counts, and only in the window.
#[test]
fn marks_on_what_cannot_be_marked_say_nothing() {
    let (mut lab, id) = accepted();
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).ect0());
    lab.send(ack().ce());
    lab.send(some(100).ect0());
    lab.after(40);
    lab.expect(ack().ack(101));
    // Old, it comes again: it may be anybody's.
    lab.send(some(100).seq(1).ce());
    lab.expect(ack().ack(101));
    // Beyond the window.
    lab.send(some(100).seq(1_000_000).ce());
    lab.expect(ack().ack(101));
    // Not the peer's.
    lab.send(some(100).ack(5000).ce());
    lab.expect(ack().ack(101));
}

#[test]
fn a_train_that_is_marked_counts_as_a_marked_segment_does() {
    let (mut lab, _) = accepted();
    lab.send(some(2920).merged(1460).ce());
    lab.expect(ack().ece().ack(2921));
}

// RFC 3168 6.1.2-1, RFC 3168 6.1.2-2
#[test]
fn an_echo_reduces_the_window_once_and_is_answered_with_cwr_once() {
    let (mut lab, id) = flight();
    lab.write(id, &[b'y'; 20_000]);
    let before = lab.info(id);
    lab.input(ack().ece().ack(1461));
    let info = lab.info(id);
    assert_eq!((info.ca_state, info.delivered_ce), (Phase::Cwr, 1));
    assert!(info.ssthresh < before.cwnd, "{} of {}", info.ssthresh, before.cwnd);
    // The first that goes has CWR, and those after it have not.
    let mut flags: Vec<_> = lab.drain().into_iter().map(|sent| sent.tcp.unwrap().tcp.flags).collect();
    for acked in 2..=10 {
        lab.send(ack().ece().ack(1 + 1460 * acked));
        flags.extend(lab.drain().into_iter().map(|sent| sent.tcp.unwrap().tcp.flags));
    }
    let cwr = TcpFlags::CWR;
    assert!(flags[0].contains(cwr), "{flags:?}");
    assert!(flags.len() > 2 && !flags[1..].iter().any(|flags| flags.contains(cwr)), "{flags:?}");
    assert_eq!(lab.info(id).ssthresh, info.ssthresh, "one reduction");
    assert_eq!(lab.info(id).retransmitted, 0);
}

// RFC 3168 6.1.2-3, RFC 3168 6.1.2-4
#[test]
fn a_loss_is_answered_with_cwr_on_new_data_and_not_on_the_retransmission() {
    let (mut lab, id) = flight();
    lab.write(id, &[b'y'; 20_000]);
    let mut sent = Vec::new();
    for _ in 0..9 {
        lab.send(ack().ack(1));
        let flags = |sent: TcpSegment| (sent.tcp.seq, sent.tcp.flags.ace(), sent.ip.traffic_class);
        sent.extend(lab.drain().into_iter().map(|sent| flags(sent.tcp.unwrap())));
    }
    let sent: Vec<_> =
        sent.into_iter().map(|(seq, ace, class)| (lab.relative(seq) / 1460, ace, class)).collect();
    // Two by limited transmit, the retransmission, and new data again: CWR is told once.
    assert_eq!(sent[..4], [(10, 0, 2), (11, 0, 2), (0, 0, 0), (12, 0b010, 2)], "{sent:?}");
    assert!(sent[4..].iter().all(|(_, ace, class)| (*ace, *class) == (0, 2)), "{sent:?}");
}

// RFC 3168 6.1.5-1
#[test]
fn what_is_sent_again_cannot_be_marked() {
    let (mut lab, id) = accepted();
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).ect0());
    lab.at(200);
    lab.expect(data("x").seq(1).not_ect());
    lab.send(ack());
    lab.write(id, b"y");
    lab.expect(data("y").cwr().seq(2).ect0());
}

// RFC 3168 6.1.6-1
#[test]
fn a_probe_of_the_window_cannot_be_marked() {
    let (mut lab, id) = accepted();
    lab.write(id, b"a");
    lab.expect(data("a").ect0());
    lab.flow.win = 0;
    lab.send(ack());
    lab.write(id, b"bc");
    lab.at(200);
    lab.expect(some(1).seq(2).not_ect());
}

// RFC 3168 6.1.4-1
#[test]
fn what_has_no_data_cannot_be_marked() {
    let (mut lab, id) = accepted();
    lab.set(id, |options| {
        options.keep_alive =
            Some(ropeway_core::KeepAlive { idle: std::time::Duration::from_secs(1), ..Default::default() })
    });
    lab.at(1000);
    lab.expect(ack().seq(0).not_ect());
    lab.shutdown_write(id);
    lab.expect(fin().seq(1).not_ect());
    let (mut lab, id) = accepted();
    lab.abort(id);
    assert_eq!(lab.next_tcp().ip.traffic_class, 0);
}

#[test]
fn a_connection_without_ecn_takes_no_notice_of_anything() {
    let mut lab = Lab::with(mode(EcnMode::Off));
    let id = lab.accepted_with(Peer::default(), roomy);
    lab.send(some(100).ce());
    lab.after(40);
    lab.expect(ack().ack(101).not_ect());
    lab.write(id, &[b'x'; 14_600]);
    for _ in 0..10 {
        lab.expect(some(1460).not_ect());
    }
    lab.send(ack().ece().cwr().ack(1461));
    let info = lab.info(id);
    assert_eq!((info.ca_state, info.ssthresh, info.delivered_ce), (Phase::Open, u32::MAX, 0));
}

#[test]
fn a_train_has_cwr_on_its_first_segment_only() {
    let mut lab = Lab::with(|config| config.longest_train = 65_535);
    let listener = lab.listen_with(16, roomy);
    lab.send(syn().mss(1460).ece().cwr());
    lab.expect(syn_ack().ece());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.write(id, &[b'x'; 14_600]);
    lab.drain();
    lab.send(ack().ece().ack(14_601));
    lab.stack.send(lab.ts(), id, &[b'y'; 4 * 1460], Default::default()).unwrap();
    let (mut trains, mut sent) = (0, Vec::new());
    while let Some(train) = lab.stack.poll_transmit(lab.ts()) {
        trains += u32::from(train.segment_size.is_some());
        train.for_each_on_wire(&mut bytes::BytesMut::new(), |packet| {
            let parsed = parse(packet).unwrap();
            sent.push((parsed.tcp.flags.ace(), parsed.ip.traffic_class));
        });
    }
    assert_eq!((trains, sent.len()), (1, 4));
    assert_eq!(sent.iter().filter(|(ace, _)| *ace == 0b010).count(), 1, "{sent:?}");
    assert!(sent.iter().all(|(_, class)| *class == 2), "{sent:?}");
}
