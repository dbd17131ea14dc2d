//! Fragments that contradict each other: of such a datagram nothing is taken (RFC 5722 4, RFC 8200 4.5), in IPv4 either.

use super::*;

/// A fragment: where it begins, where it ends, and whether it is the last.
type Place = (usize, usize, bool);

/// A datagram of 200 bytes in three fragments.
const HONEST: [Place; 3] = [(0, 80, false), (80, 160, false), (160, 200, true)];

/// What does not go with it.
const CASES: [(&str, Place); 14] = [
    ("reaches into the next", (0, 88, false)),
    ("covers the next", (0, 160, false)),
    ("the same start, and shorter", (80, 120, false)),
    ("the same start, and longer", (80, 168, false)),
    ("begins in one and ends in the next", (40, 120, false)),
    ("within another", (88, 96, false)),
    ("the end of another", (120, 160, false)),
    ("the beginning of another", (0, 8, false)),
    ("another end, earlier", (80, 160, true)),
    ("another end, within a fragment", (80, 100, true)),
    ("another end, later", (160, 208, true)),
    ("beyond the end", (200, 240, false)),
    ("far beyond the end", (800, 808, false)),
    ("the last, and not the last", (160, 200, false)),
];

/// Whether these make a datagram by themselves.
fn is_whole(places: &[Place]) -> bool {
    let mut places = places.to_vec();
    places.sort_unstable();
    places[0].0 == 0 && places.windows(2).all(|pair| pair[0].1 == pair[1].0) && places.last().unwrap().2
}

fn bytes_of((start, end, _): Place, upper: &[u8]) -> Vec<u8> {
    let mut bytes = upper.to_vec();
    bytes.resize(end.max(upper.len()), 0xee);
    bytes[start..end].to_vec()
}

// RFC 5722 4-3
/// The honest fragments in some order, with the other one at some place, and then all of them once more: no answer ever
/// (RFC 5722 4-1, RFC 8200 4.5-7).
#[test]
fn what_overlaps_makes_the_whole_datagram_disappear() {
    for ends in BOTH {
        let whole = echo(ends, 192);
        let upper = &whole[if ends.0 { 40 } else { 20 }..];
        assert_eq!(upper.len(), 200);
        let protocol = if ends.0 { Protocol::ICMPV6 } else { Protocol::ICMP };
        let packet = |place: Place| piece(ends, protocol, (9, place.0, !place.2), &bytes_of(place, upper));
        for (what, odd) in CASES {
            let mut tried = 0;
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
                for at in 0..3 {
                    let mut lab = Lab::new();
                    let mut places = order.map(|index| HONEST[index]).to_vec();
                    places.insert(at, odd);
                    if (1..=places.len()).any(|count| is_whole(&places[..count])) {
                        // Nobody can tell: it was an honest one so far.
                        continue;
                    }
                    tried += 1;
                    for place in &places {
                        lab.send_packet(packet(*place));
                    }
                    lab.quiet();
                    let counters = lab.stack.counters();
                    assert_eq!(
                        (counters.datagrams_overlapping, counters.datagrams_reassembled),
                        (1, 0),
                        "{what}: {places:?}"
                    );
                    // RFC 5722 4: "including those not yet received".
                    for place in HONEST {
                        lab.send_packet(packet(place));
                    }
                    lab.quiet();
                    assert_eq!(lab.stack.counters().datagrams_overlapping, 1);
                    // "Silently": no ICMP error, now or later.
                    lab.at(60_000);
                    lab.quiet();
                    assert_nothing_waits(&lab);
                    assert_eq!(lab.stack.counters().datagrams_timed_out, 0);
                    // The identification may be used again then.
                    for place in HONEST {
                        lab.send_packet(packet(place));
                    }
                    assert_eq!(echoed(&lab.next_packet()).len(), 192);
                }
            }
            assert!(tried > 3, "{what}");
        }
    }
}

/// The same place with other bytes is no duplicate: which of them would a filter have seen?
#[test]
fn the_same_place_with_other_bytes_is_an_overlap() {
    for ends in BOTH {
        let mut lab = Lab::new();
        let pieces = cut(&echo(ends, 200), 150, 9);
        let mut other = pieces[0].clone();
        *other.last_mut().unwrap() ^= 1;
        lab.send_packet(pieces[0].clone());
        lab.send_packet(other);
        pieces[1..].iter().for_each(|piece| lab.send_packet(piece.clone()));
        lab.quiet();
        assert_eq!(lab.stack.counters().datagrams_overlapping, 1);
    }
}

#[test]
fn a_refused_datagram_holds_nothing_but_its_name() {
    for ends in BOTH {
        let mut lab = Lab::new();
        let protocol = if ends.0 { Protocol::ICMPV6 } else { Protocol::ICMP };
        for n in 1..20 {
            lab.send_packet(piece(ends, protocol, (9, n * 1000, true), &[8; 1000]));
        }
        assert!(lab.stack.memory().fragments > 19_000);
        lab.send_packet(piece(ends, protocol, (9, 1008, true), &[8; 8]));
        assert!(lab.stack.memory().fragments < 1000);
        for n in 20..60 {
            lab.send_packet(piece(ends, protocol, (9, n * 1000, true), &[8; 1000]));
        }
        assert!(lab.stack.memory().fragments < 1000);
    }
}

/// After a datagram is whole, a fragment that comes again begins another one, which nobody completes.
#[test]
fn what_comes_after_the_whole_begins_another() {
    for ends in BOTH {
        let mut lab = Lab::new();
        let pieces = cut(&echo(ends, 200), 150, 9);
        pieces.iter().for_each(|piece| lab.send_packet(piece.clone()));
        echoed(&lab.next_packet());
        lab.send_packet(pieces[1].clone());
        lab.quiet();
        lab.at(60_000);
        assert_nothing_waits(&lab);
        assert_eq!(
            (lab.stack.counters().datagrams_timed_out, lab.stack.counters().datagrams_overlapping),
            (1, 0)
        );
    }
}
