//! A day of a busy server, in virtual time.

use super::*;

/// How a connection goes: what the client does, and the server.
const LIVES: [(&[Op], &[Op]); 8] = [
    (
        &[Op::Send(100), Op::Recv(20_000), Op::Close],
        &[Op::Recv(100), Op::Send(20_000), Op::RecvEof, Op::Close],
    ),
    (&[Op::Send(100), Op::Recv(5000), Op::RecvEof, Op::Close], &[Op::Recv(100), Op::Send(5000), Op::Close]),
    // An upload to a slow reader, and a download by one.
    (
        &[Op::Send(300_000), Op::ShutdownWrite, Op::RecvEof, Op::Close],
        &[Op::Pause(20_000), Op::Recv(300_000), Op::RecvEof, Op::Close],
    ),
    (
        &[Op::Pause(30_000), Op::Recv(300_000), Op::RecvEof, Op::Close],
        &[Op::Send(300_000), Op::ShutdownWrite, Op::RecvEof, Op::Close],
    ),
    // Ends in anger, on both sides, with data unread and unsent.
    (&[Op::Send(50_000), Op::Abort, Op::Close], &[Op::Fails, Op::Close]),
    (&[Op::Fails, Op::Close], &[Op::Send(50_000), Op::Abort, Op::Close]),
    (&[Op::Send(70_000), Op::Close], &[Op::Pause(5000), Op::Close]),
    // Idle for half of an hour.
    (&[Op::Pause(1_800_000), Op::Send(1), Op::Close], &[Op::Recv(1), Op::RecvEof, Op::Close]),
];

/// Each hour brings many connections of all kinds over a bad network, a flood of SYNs that nobody completes, and an outage;
/// then it is quiet. What is held at the end of each quiet time is the same, by the allocator as by the ledger.
pub(crate) fn a_day_of_churn() {
    let mut pair = Pair::new().fate(|crossing| match crossing.number % 53 {
        7 | 8 | 40 => Fate::Drop,
        20 => Fate::Duplicate,
        _ => Fate::Deliver,
    });
    pair.watch = None;
    let mut options = pair.stacks[1].config().socket.clone();
    // A RST may be lost.
    options.keep_alive = Some(KeepAlive { idle: Duration::from_secs(60), ..KeepAlive::default() });
    // A port for each kind: connections are accepted in another order than they began.
    let at = |kind: usize| std::net::SocketAddr::new("10.0.0.2".parse().unwrap(), 80 + kind as u16);
    let listeners =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|kind| pair.stacks[1].listen(at(kind), 4096, options.clone()).unwrap());
    let mut after = Vec::new();
    for hour in 1..=24u64 {
        for turn in 0..3 {
            for (kind, (client, server)) in LIVES.into_iter().enumerate() {
                let ts = pair.ts();
                let id = pair.stacks[0].connect(ts, None, at(kind), options.clone()).unwrap();
                pair.add(0, Some(id), None, client);
                pair.add(1, None, Some(listeners[kind]), server);
            }
            flood(&mut pair, turn);
            let now = pair.now;
            pair.run_to(now + ms(400));
            // For ten seconds nothing crosses.
            pair.cut = turn == 2;
            pair.run_to(now + secs(10));
            pair.cut = false;
        }
        pair.run_to(secs(3600 * hour));
        let stuck: Vec<_> = pair.programs.iter().filter(|program| !program.is_finished()).collect();
        assert!(stuck.is_empty(), "after {hour} hours: {stuck:?}");
        pair.programs = Vec::new();
        pair.bases.clear();
        for stack in &pair.stacks {
            let sizes = stack.sizes();
            assert_eq!((sizes.connections, sizes.half_open, sizes.time_wait), (0, 0, 0), "hour {hour}");
        }
        let held = pair.stacks.each_ref().map(|stack| stack.memory().total());
        after.push((held, live()));
    }
    let (held, allocated) = after[1];
    for (hour, (later, live)) in after.iter().enumerate().skip(2) {
        assert_eq!(*later, held, "the ledger after {} hours", hour + 1);
        let more = live - allocated;
        assert!(more.abs() < 16 * 1024, "{more} bytes more after {} hours", hour + 1);
    }
    assert!(pair.stacks[0].counters().tcp_retransmitted > 500, "the network was bad");
}

/// SYNs of hosts that are not there.
fn flood(pair: &mut Pair, turn: u16) {
    let ts = pair.ts();
    for number in 0..200u16 {
        let [high, low] = number.to_be_bytes();
        let from = [10, 7, high, low].into();
        let header = header((1000 + turn, 80), &syn().mss(1460), 7, 0, 65_535, None);
        let packet = tcp_packet(from, pair.server.ip(), &header, None, &[]);
        pair.stacks[1].handle_packet(ts, ropeway_core::Received::alone(packet.into()));
    }
}
