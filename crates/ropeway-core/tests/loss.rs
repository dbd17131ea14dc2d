//! A bad network at every position of a short connection: loss, repetition, reordering, corruption.
//!
//! However it goes, the stream arrives whole, both ends reach CLOSED, and no table keeps an entry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::time::Duration;

use common::*;

/// Open, three requests of different sizes each way, and a close: by the client, by the server, and by
/// halves.
const CONVERSATIONS: [(&str, &[Op], &[Op]); 4] = [
    (
        "the client closes first",
        &[
            Op::Send(1),
            Op::Recv(10),
            Op::Send(2000),
            Op::Recv(3000),
            Op::Send(7000),
            Op::Recv(7300),
            Op::Close,
        ],
        &[
            Op::Recv(1),
            Op::Send(10),
            Op::Recv(2000),
            Op::Send(3000),
            Op::Recv(7000),
            Op::Send(7300),
            Op::RecvEof,
            Op::Close,
        ],
    ),
    (
        "the server closes first",
        &[
            Op::Send(1),
            Op::Recv(10),
            Op::Send(2000),
            Op::Recv(3000),
            Op::Send(7000),
            Op::Recv(7300),
            Op::RecvEof,
            Op::Close,
        ],
        &[
            Op::Recv(1),
            Op::Send(10),
            Op::Recv(2000),
            Op::Send(3000),
            Op::Recv(7000),
            Op::Send(7300),
            Op::Close,
        ],
    ),
    (
        "the client closes its half and reads on",
        &[Op::Send(5000), Op::ShutdownWrite, Op::Recv(6000), Op::RecvEof, Op::Close],
        &[Op::Recv(5000), Op::RecvEof, Op::Send(6000), Op::Close],
    ),
    (
        "the server speaks first and closes its half",
        &[Op::Recv(4000), Op::RecvEof, Op::Send(3000), Op::Close],
        &[Op::Send(4000), Op::ShutdownWrite, Op::Recv(3000), Op::RecvEof, Op::Close],
    ),
];

/// How many packets a conversation takes on a good network.
fn length(client: &[Op], server: &[Op]) -> usize {
    let mut pair = Pair::new();
    pair.converse(client, server);
    pair.live(secs(5));
    pair.total_crossed()
}

fn live(client: &[Op], server: &[Op], fate: impl FnMut(&pair::Crossing<'_>) -> Fate + 'static) -> Pair {
    let mut pair = Pair::new().fate(fate);
    pair.converse(client, server);
    pair.live(secs(200));
    pair
}

#[test]
fn nothing_is_lost_and_nothing_is_sent_twice() {
    for (_, client, server) in CONVERSATIONS {
        let mut pair = Pair::new();
        pair.converse(client, server);
        pair.live(secs(5));
        for stack in &pair.stacks {
            let counters = stack.counters();
            if (
                counters.tcp_retransmitted,
                counters.resets_sent,
                counters.out_of_window,
                counters.challenge_acks,
            ) != (0, 0, 0, 0)
            {
                pair.fail(&format!("{counters:?}"));
            }
        }
        assert!(pair.total_crossed() < 60, "{} packets", pair.total_crossed());
    }
}

#[test]
fn each_packet_is_lost_once() {
    for (_, client, server) in CONVERSATIONS {
        for lost in 0..length(client, server) {
            live(
                client,
                server,
                move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver },
            );
        }
    }
}

#[test]
fn every_pair_of_packets_is_lost() {
    for (_, client, server) in CONVERSATIONS {
        let packets = length(client, server) + 2;
        for first in 0..packets {
            for second in first + 1..packets {
                live(client, server, move |crossing| {
                    if crossing.number == first || crossing.number == second {
                        Fate::Drop
                    } else {
                        Fate::Deliver
                    }
                });
            }
        }
    }
}

/// A run of losses: bursts as a router with a full queue makes them.
#[test]
fn every_run_of_packets_is_lost() {
    for (_, client, server) in CONVERSATIONS {
        let packets = length(client, server);
        for first in 0..packets {
            for run in [3, 5] {
                live(client, server, move |crossing| {
                    if (first..first + run).contains(&crossing.number) { Fate::Drop } else { Fate::Deliver }
                });
            }
        }
    }
}

#[test]
fn one_direction_loses_every_second_or_third_packet() {
    for (_, client, server) in CONVERSATIONS {
        for side in 0..2 {
            for nth in 2..6 {
                live(client, server, move |crossing| {
                    let lost = crossing.from == side && crossing.number_this_way % nth == nth - 1;
                    if lost { Fate::Drop } else { Fate::Deliver }
                });
            }
        }
    }
}

#[test]
fn every_packet_arrives_twice() {
    for (_, client, server) in CONVERSATIONS {
        let pair = live(client, server, |_| Fate::Duplicate);
        for stack in &pair.stacks {
            // The second copy of the last ACK finds nobody; the RST it gets finds TIME-WAIT.
            assert_eq!(stack.counters().resets_received, 0);
        }
    }
}

#[test]
fn each_packet_arrives_twice_once() {
    for (_, client, server) in CONVERSATIONS {
        for twice in 0..length(client, server) {
            live(
                client,
                server,
                move |crossing| {
                    if crossing.number == twice { Fate::Duplicate } else { Fate::Deliver }
                },
            );
        }
    }
}

/// Late by less than a round trip, by more than a retransmission timeout, and by many seconds.
#[test]
fn each_packet_is_late_once() {
    for (_, client, server) in CONVERSATIONS {
        for late in 0..length(client, server) {
            for by in [1, 1200, 250_000, 5_000_000, 30_000_000] {
                live(client, server, move |crossing| {
                    if crossing.number == late {
                        Fate::Late(Duration::from_micros(by))
                    } else {
                        Fate::Deliver
                    }
                });
            }
        }
    }
}

#[test]
fn every_pair_of_packets_is_reordered() {
    for (_, client, server) in CONVERSATIONS {
        let packets = length(client, server);
        for first in 0..packets {
            for second in first + 1..packets {
                live(client, server, move |crossing| match crossing.number {
                    n if n == first => Fate::Late(Duration::from_micros(2100)),
                    n if n == second => Fate::Late(Duration::from_micros(700)),
                    _ => Fate::Deliver,
                });
            }
        }
    }
}

/// One packet comes late and another is lost: old duplicates meet a new round.
#[test]
fn one_packet_is_lost_and_another_is_late() {
    let (_, client, server) = CONVERSATIONS[0];
    let packets = length(client, server);
    for lost in 0..packets {
        for late in 0..packets {
            live(client, server, move |crossing| match crossing.number {
                n if n == lost => Fate::Drop,
                n if n == late => Fate::Late(Duration::from_millis(300)),
                _ => Fate::Deliver,
            });
        }
    }
}

#[test]
fn a_network_that_does_everything_at_once() {
    let runs = if std::env::var_os("ROPEWAY_SOAK").is_some() { 50_000 } else { 500 };
    for seed in 0..runs {
        let mut random = Random::new(seed);
        let (_, client, server) = CONVERSATIONS[random.below(4) as usize];
        live(client, server, move |_| match random.below(100) {
            0..8 => Fate::Drop,
            8..14 => Fate::Duplicate,
            14..24 => Fate::Late(Duration::from_micros(random.below(20_000))),
            24..26 => Fate::Late(Duration::from_millis(random.below(2000))),
            26..30 => Fate::Corrupt(random.below(1500) as usize, 1 << random.below(8)),
            _ => Fate::Deliver,
        });
    }
}

/// Small enough that each byte of each packet can have its turn.
const SHORT: (&[Op], &[Op]) = (
    &[Op::Send(5), Op::Recv(7), Op::Send(20), Op::Recv(30), Op::Close],
    &[Op::Recv(5), Op::Send(7), Op::Recv(20), Op::Send(30), Op::RecvEof, Op::Close],
);

// RFC 9293 3.1 MUST-3: a byte that changes on the way is found out, or it does not matter.
#[test]
fn each_byte_of_each_packet_is_spoilt_once() {
    for v6 in [false, true] {
        let new = || if v6 { Pair::new().v6() } else { Pair::new() };
        let mut clean = new();
        clean.converse(SHORT.0, SHORT.1);
        clean.live(secs(5));
        for number in 0..clean.total_crossed() {
            for byte in 0..120 {
                for with in [0xff, 1 << (byte % 8)] {
                    let mut pair = new().fate(move |crossing| {
                        let hit = crossing.number == number && byte < crossing.packet.len();
                        if hit { Fate::Corrupt(byte, with) } else { Fate::Deliver }
                    });
                    pair.converse(SHORT.0, SHORT.1);
                    pair.live(secs(60));
                }
            }
        }
    }
}

#[test]
fn a_cut_link_that_heals_loses_nothing() {
    // Of a server that speaks first and whose handshake is reaped, the client would never hear again.
    for (_, client, server) in &CONVERSATIONS[..3] {
        for (cut_at, healed_at) in [(0, 2), (1, 40), (4, 30), (6, 45)] {
            let mut pair = Pair::new();
            pair.delay = [Duration::from_millis(1); 2];
            pair.converse(client, server);
            pair.run_to(ms(cut_at));
            pair.cut = true;
            pair.run_to(secs(healed_at));
            pair.cut = false;
            pair.live(secs(300));
        }
    }
}

#[test]
fn a_link_that_stays_cut_ends_both_connections() {
    let (_, client, server) = CONVERSATIONS[0];
    let client = [&client[..client.len() - 1], &[Op::Fails, Op::Close]].concat();
    let server = [&server[..server.len() - 2], &[Op::Fails, Op::Close]].concat();
    let mut pair = Pair::new();
    pair.converse(&client, &server);
    // The last answer is under way.
    pair.pump();
    while pair.programs[1].received() < 9001 {
        assert!(pair.step());
    }
    pair.cut = true;
    // The client waits for an answer and has nothing outstanding: only a keep-alive could tell it.
    let id = pair.programs[0].id.unwrap();
    let ts = pair.ts();
    pair.stacks[0].update_options(ts, id, |options| options.keep_alive = Some(Default::default())).unwrap();
    let taken = Op::Recv(7300);
    pair.programs[0].abandon(taken);
    pair.live(secs(20_000));
}

/// Buffers so small that the window is closed more often than not.
#[test]
fn each_packet_is_lost_once_with_small_buffers() {
    let client = [Op::Send(900), Op::Recv(700), Op::Close];
    let server = [Op::Recv(900), Op::Send(700), Op::RecvEof, Op::Close];
    for buffer in [1, 7, 100, 333] {
        let new = || {
            let mut pair = Pair::new();
            pair.converse_with(
                &client,
                &server,
                |options| options.recv_buffer = buffer,
                |options| {
                    options.recv_buffer = buffer;
                },
            );
            pair
        };
        let mut clean = new();
        clean.live(secs(1000));
        let packets = clean.total_crossed();
        for lost in (0..packets).step_by((packets / 60).max(1)) {
            let mut pair = new();
            pair.set_fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
            pair.live(secs(3000));
        }
    }
}

/// Without timestamps, without window scaling, and with neither.
#[test]
fn each_packet_is_lost_once_without_options() {
    for (timestamps, scaling) in [(false, true), (true, false), (false, false)] {
        let new = || {
            let mut pair = Pair::with(|side, config| {
                // One side alone is enough to switch them off.
                config.timestamps = timestamps || side == 0;
                config.window_scaling = scaling || side == 1;
            });
            pair.converse(CONVERSATIONS[0].1, CONVERSATIONS[0].2);
            pair
        };
        let mut clean = new();
        clean.live(secs(5));
        for lost in 0..clean.total_crossed() {
            let mut pair = new();
            pair.set_fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
            pair.live(secs(200));
        }
    }
}

/// A link in the middle is narrower than the ends know: a router drops what does not fit, and says so, or is
/// not heard.
#[test]
fn a_narrow_link_in_the_middle_is_found_out() {
    for v6 in [false, true] {
        for mtu in [1280, 1300, 1499] {
            for unheard in [0, 1, 3] {
                let mut pair = if v6 { Pair::new().v6() } else { Pair::new() };
                pair.narrow = Some(pair::Narrow { mtu, unheard });
                pair.converse(CONVERSATIONS[0].1, CONVERSATIONS[0].2);
                pair.live(secs(100));
                let mut pair = if v6 { Pair::new().v6() } else { Pair::new() };
                pair.narrow = Some(pair::Narrow { mtu, unheard });
                pair.converse(
                    &[Op::Send(500_000), Op::Recv(300_000), Op::Close],
                    &[Op::Recv(500_000), Op::Send(300_000), Op::RecvEof, Op::Close],
                );
                pair.live(secs(100));
            }
        }
    }
}

/// Random programs with random options over a random network: whatever they do, the streams arrive whole.
#[test]
fn random_programs_over_a_random_network() {
    let runs = if std::env::var_os("ROPEWAY_SOAK").is_some() { 30_000 } else { 250 };
    for seed in 0..runs {
        let mut random = Random::new(seed + 1_000_000);
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(6) {
            let most = [10, 2000, 20_000][random.below(3) as usize];
            let len = 1 + random.below(most) as usize;
            let (speaker, listener) =
                if random.chance(50) { (&mut client, &mut server) } else { (&mut server, &mut client) };
            // Written in pieces, read in pieces.
            for (script, op) in [(speaker, Op::Send as fn(usize) -> Op), (listener, Op::Recv)] {
                let mut left = len;
                while left > 0 {
                    let piece = 1 + random.below(left as u64) as usize;
                    script.push(op(piece));
                    left -= piece;
                    if random.chance(20) {
                        script.push(Op::Pause(random.below(300)));
                    }
                    if random.chance(20) {
                        script.push(Op::Set(random.next()));
                    }
                }
            }
        }
        let (first, second) =
            if random.chance(50) { (&mut client, &mut server) } else { (&mut server, &mut client) };
        if random.chance(50) {
            first.extend([Op::ShutdownWrite, Op::RecvEof, Op::Close]);
        } else {
            first.push(Op::Close);
        }
        second.extend([Op::RecvEof, Op::Close]);
        let trouble = random.below(25);
        let mut network = random.clone();
        let mut pair = Pair::new().fate(move |_| match network.below(100) {
            n if n >= trouble => Fate::Deliver,
            n if n % 3 == 0 => Fate::Drop,
            n if n % 3 == 1 => Fate::Late(Duration::from_micros(network.below(50_000))),
            _ => Fate::Duplicate,
        });
        pair.delay =
            [Duration::from_micros(random.below(30_000)), Duration::from_micros(random.below(30_000))];
        // Smaller ones work too, but not in any time that a test has.
        let sizes = [500, 1460, 5000, 65_535, 512 * 1024];
        let mut buffer = || sizes[random.below(5) as usize];
        let (r1, s1, r2, s2) = (buffer(), buffer(), buffer(), buffer());
        pair.converse_with(
            &client,
            &server,
            |options| (options.recv_buffer, options.send_buffer) = (r1, s1),
            |options| (options.recv_buffer, options.send_buffer) = (r2, s2),
        );
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.live(secs(3000))));
        if let Err(panic) = done {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
