//! A small exchange, field by field.

use ropeway_core::events::{SEGMENT, SENDER};
use tracing::Level;

use crate::common::*;
use crate::{SACK, Told, lab, told, told_at};

/// The fields as text, in the order of their names, without the tuple, sequence numbers as the lab has them.
fn text(told: &Told, lab: &Lab) -> String {
    assert_eq!((told.get("local"), told.get("remote")), ("10.0.0.2:80", "10.0.0.1:4000"));
    let own = if told.get("direction") == "received" { "ack" } else { "seq" };
    let fields = told.fields.iter().filter(|(name, _)| !["local", "remote"].contains(name));
    let fields = fields.map(|(name, value)| match *name {
        "at" => format!("at={}", told.number("at") - lab.start),
        "snd_una" | "snd_nxt" => {
            format!("{name}={}", value.parse::<u32>().unwrap().wrapping_sub(lab.flow.iss))
        }
        field if field == own => {
            format!("{name}={}", value.parse::<u32>().unwrap().wrapping_sub(lab.flow.iss))
        }
        _ => format!("{name}={value}"),
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// Opened by the peer; the first of two segments is reported missing and sent again; then one of the peer's comes beyond a
/// gap.
fn exchange(lab: &mut Lab) {
    let id = lab.accepted(SACK);
    lab.at(10);
    lab.write(id, &pattern(0, 2000));
    lab.drain();
    lab.at(20);
    lab.send(ack().ack(1).sack(&[(1461, 2001)]));
    lab.run_to(ms(30));
    lab.drain();
    lab.send(some(100).seq(101).ack(2001));
    lab.drain();
}

#[test]
fn an_exchange_is_told_segment_by_segment() {
    let mut lab = lab();
    let told = told(SEGMENT, || exchange(&mut lab));
    let lines: Vec<String> = told.iter().map(|told| text(told, &lab)).collect();
    assert_eq!(
        lines,
        [
            "at=0 direction=received flags=SYN len=0 mss=1460 seq=0 window=65535",
            "ack=1 at=0 direction=sent flags=SYN|ACK len=0 mss=1460 retransmission=false seq=0 window=65535",
            "ack=1 at=0 direction=received flags=ACK len=0 seq=1 window=65535",
            "ack=1 at=10000 direction=sent flags=ACK len=1460 retransmission=false seq=1 window=65535",
            "ack=1 at=10000 direction=sent flags=PSH|ACK len=540 retransmission=false seq=1461 window=65535",
            &format!("ack=1 at=20000 direction=received flags=ACK len=0 sack={} seq=1 window=65535", {
                let number = |relative: u32| lab.flow.iss.wrapping_add(relative);
                format!("{}:{}", number(1461), number(2001))
            }),
            "ack=1 at=21000 cause=rack direction=sent flags=ACK len=1460 retransmission=true seq=1 window=65535",
            "ack=2001 at=30000 direction=received flags=ACK len=100 seq=101 window=65535",
            "ack=1 at=30000 direction=sent flags=ACK len=0 retransmission=false sack=101:201 seq=2001 window=65535",
        ]
    );
}

#[test]
fn an_exchange_is_told_as_the_sender_sees_it() {
    let mut lab = lab();
    let told = told(SENDER, || exchange(&mut lab));
    let brief = |told: &Told| {
        let kept = ["at", "ca_state", "cause", "cwnd", "in_flight", "sacked", "snd_nxt", "snd_una", "srtt"];
        let fields = text(told, &lab);
        let fields = fields.split(' ').filter(|field| kept.contains(&field.split('=').next().unwrap()));
        fields.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = told.iter().map(brief).collect();
    let sacked =
        "at=20000 ca_state=Disorder cause=ack cwnd=14600 in_flight=1460 sacked=540 snd_nxt=2001 snd_una=1";
    assert_eq!(
        lines,
        [
            "at=0 ca_state=Open cause=established cwnd=14600 in_flight=0 sacked=0 snd_nxt=1 snd_una=1 srtt=0",
            "at=10000 ca_state=Open cause=sent cwnd=14600 in_flight=1460 sacked=0 snd_nxt=1461 snd_una=1 srtt=0",
            "at=10000 ca_state=Open cause=sent cwnd=14600 in_flight=2000 sacked=0 snd_nxt=2001 snd_una=1 srtt=0",
            &format!("{sacked} srtt=1250"),
            "at=21000 ca_state=Recovery cause=rack cwnd=1460 in_flight=0 sacked=540 snd_nxt=2001 snd_una=1 srtt=1250",
            "at=21000 ca_state=Recovery cause=sent cwnd=1460 in_flight=1460 sacked=540 snd_nxt=2001 snd_una=1 srtt=1250",
            "at=30000 ca_state=Open cause=ack cwnd=10330 in_flight=0 sacked=0 snd_nxt=2001 snd_una=2001 srtt=1250",
        ]
    );
    assert!(told.iter().all(|told| told.get("snd_wnd") == "65535" && told.get("rto").parse::<u64>().is_ok()));
}

#[test]
fn an_event_says_what_the_connection_says_of_itself() {
    let mut lab = lab();
    let mut info = None;
    let told = told(SENDER, || {
        let id = lab.accepted(SACK);
        lab.write(id, &pattern(0, 40 * 1460));
        lab.drain();
        lab.at(20);
        lab.send(ack().sack(&[(1461, 1 + 10 * 1460)]).ack(1));
        lab.drain();
        info = Some(lab.info(id));
    });
    let (last, info) = (told.last().unwrap(), info.unwrap());
    let numbers = [
        ("cwnd", u64::from(info.cwnd)),
        ("ssthresh", u64::from(info.ssthresh)),
        ("in_flight", u64::from(info.in_flight)),
        ("sacked", u64::from(info.sacked)),
        ("lost", u64::from(info.lost)),
        ("retrans_out", u64::from(info.retrans_out)),
        ("snd_wnd", u64::from(info.snd_wnd)),
        ("srtt", info.srtt.as_micros() as u64),
        ("rttvar", info.rttvar.as_micros() as u64),
        ("min_rtt", info.min_rtt.unwrap().as_micros() as u64),
        ("rto", info.rto.as_micros() as u64),
        ("pacing_rate", info.pacing_rate.unwrap()),
        ("delivery_rate", info.delivery_rate.unwrap()),
    ];
    for (field, value) in numbers {
        assert_eq!(last.number(field), value, "{field} of {last:?}");
    }
    assert_eq!(last.get("ca_state"), format!("{:?}", info.ca_state));
}

#[test]
fn who_wants_less_than_trace_hears_nothing_of_segments() {
    let mut lab = lab();
    let told = told_at(Level::DEBUG, || exchange(&mut lab));
    assert!(!told.is_empty() && told.iter().all(|told| told.target == "ropeway::state"), "{told:?}");
}

#[test]
fn windows_are_told_as_they_are_meant() {
    let peer = Peer { ws: Some(3), ts: true, ..SACK };
    let mut lab = lab();
    let told = told(SEGMENT, || {
        let id = lab.accepted(peer);
        lab.send(some(1).win(1000));
        lab.run_to(ms(100));
        lab.drain();
        lab.close(id);
        lab.drain();
    });
    let windows: Vec<(&str, u64)> =
        told.iter().map(|told| (told.get("direction"), told.number("window"))).collect();
    let ours = windows[4].1;
    assert_eq!(windows[..2], [("received", 65_535), ("sent", 65_535)], "those of SYNs are not scaled");
    assert_eq!(windows[2..4], [("received", 8 * 65_535), ("received", 8000)]);
    assert!(ours > 65_535, "{ours}");
    assert_eq!((told[0].get("wscale"), told[0].get("tsecr")), ("3", "0"));
    assert_eq!(told[1].get("tsecr"), told[0].get("tsval"));
}
