//! The clock jumps: a process that was stopped, a virtual machine, a clock that counts sleep. Whatever the jump, all that
//! would have become due on the way is due at once, it is worked off in bounded steps, and then all goes on.

use std::time::Duration;

use ropeway_core::{ConnectionId, KeepAlive, ListenerId, SocketOptions, State, SynCookieMode, TableSizes};

use crate::common::*;

const DAY: u64 = 86_400;

/// In microseconds: ordinary ones, and those around which a moment in few bits wraps.
fn jumps() -> Vec<u64> {
    let edges = [1 << 31, 1 << 32, 1 << 39, 1 << 40, 3 << 39, 1 << 41];
    let millis = [1000u64 << 31, 1000 << 32];
    let around = edges.into_iter().chain(millis).flat_map(|edge| [edge - 1, edge, edge + 1]);
    let plain =
        [1, 59, 60, 61, 120, 3600, DAY, 5 * DAY, 6 * DAY, 7 * DAY, 10 * DAY, 13 * DAY, 19 * DAY, 30 * DAY];
    let years = [1, 2, 10, 100].map(|years| years * 365 * DAY);
    plain.into_iter().chain(years).map(secs).chain(around).collect()
}

/// A lab with so many entries in each table, and one connection for each timer.
fn busy(many: u16) -> (Lab, [ConnectionId; 3]) {
    let mut lab = Lab::with(|config| {
        config.syn_cookies = SynCookieMode::Never;
        config.half_open_per_prefix = u32::MAX;
    });
    lab.most_calls = u32::MAX;
    lab.silent = true;
    lab.remote.set_port(80);
    let mut options = SocketOptions::default();
    options.keep_alive = Some(KeepAlive { idle: Duration::from_secs(50), ..KeepAlive::default() });
    let listener = lab.stack.listen(lab.local, usize::from(many) + 10, options).unwrap();
    let any = lab.stack.listen_any(usize::from(many), SocketOptions::default()).unwrap();
    for n in 0..many {
        lab.switch(1000 + n);
        lab.input(syn().mss(1460));
        lab.collect();
        lab.drain();
    }
    for n in 0..many {
        lab.switch(20_000 + n);
        lab.handshake(TIMESTAMPS);
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack());
    }
    let listening = lab.local;
    lab.local.set_port(4444);
    for n in 0..many {
        lab.switch(40_000 + n);
        lab.input(syn().mss(1460));
        if n % 2 == 0 {
            assert!(lab.stack.poll_incoming(any).is_some());
        }
    }
    lab.local = listening;
    lab.switch(50_000);
    lab.handshake(TIMESTAMPS);
    let idle = lab.accept(listener).unwrap();
    lab.switch(50_001);
    lab.handshake(TIMESTAMPS);
    let sending = lab.accept(listener).unwrap();
    lab.write(sending, b"not acknowledged");
    let opening = lab.stack.connect(lab.ts(), None, addr("10.0.0.1:9"), SocketOptions::default()).unwrap();
    lab.collect();
    lab.drain();
    let all = usize::from(many);
    assert_eq!((lab.stack.sizes().half_open, lab.stack.sizes().time_wait), (2 * all, all));
    (lab, [idle, sending, opening])
}

const TIMESTAMPS: Peer = Peer { mss: Some(1460), ws: None, ts: true, sack: false, win: 65_535 };

/// Lets the stack do all that is due at this moment. Each call does a bounded part.
fn work_off(lab: &mut Lab) {
    let mut before = lab.stack.sizes();
    for _ in 0..10_000 {
        let now = lab.ts();
        if lab.stack.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        lab.stack.handle_timeout(now);
        let after = lab.stack.sizes();
        let gone = |what: fn(&TableSizes) -> usize| what(&before) - what(&after);
        assert!(gone(|sizes| sizes.half_open) <= 256 && gone(|sizes| sizes.time_wait) <= 256);
        while lab.stack.poll_transmit(now).is_some() {}
        while lab.stack.poll_event().is_some() {}
        before = after;
    }
    panic!("it is never done: {before:?}");
}

/// Connections open as ever, in both directions, and TIME-WAIT lasts as long as ever.
fn all_is_well(lab: &mut Lab, port: u16) {
    let listener: ListenerId = lab.stack.listen(addr("10.0.0.2:81"), 1, SocketOptions::default()).unwrap();
    lab.local.set_port(81);
    lab.switch(port);
    lab.flow = lab::Flow { win: 65_535, ..Default::default() };
    lab.handshake(TIMESTAMPS);
    let id = lab.accept(listener).expect("it was opened");
    lab.send(data(b"as ever"));
    lab.drain();
    assert_eq!(lab.read(id, 100), b"as ever");
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(2));
    lab.expect(ack());
    assert_eq!(lab.next_deadline(), Some(lab.now + secs(60)), "TIME-WAIT is over after a minute");
    lab.stack.close_listener(lab.ts(), listener);
    let client = lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default()).unwrap();
    let tuple = lab.stack.tuple(client).unwrap();
    (lab.local, lab.remote) = (tuple.local(), tuple.remote());
    lab.flow = lab::Flow { win: 65_535, ..Default::default() };
    lab.collect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    lab.abort(client);
    lab.close(client);
    lab.run_to(lab.now + secs(60));
    lab.drain();
}

#[test]
fn after_a_jump_of_any_length_all_is_due_and_connects_work() {
    for jump in jumps() {
        let (mut lab, ids) = busy(600);
        lab.now += jump;
        work_off(&mut lab);
        let sizes = lab.stack.sizes();
        if jump >= secs(60) {
            assert_eq!(sizes.time_wait, 0, "a jump of {jump} us");
        }
        if jump >= secs(120) {
            assert_eq!(sizes.half_open, 0, "a jump of {jump} us");
        }
        // What still waits, waits as long as it should, and no longer.
        lab.run_to(lab.now + secs(1200));
        lab.drain();
        let sizes = lab.stack.sizes();
        assert_eq!((sizes.half_open, sizes.time_wait), (0, 0), "a jump of {jump} us");
        lab.run_to(lab.now + secs(4000));
        lab.drain();
        assert!(ids.iter().all(|id| lab.state(*id) == State::Closed), "a jump of {jump} us");
        ids.iter().for_each(|id| lab.close(*id));
        assert_eq!(lab.stack.sizes().connections, 0, "a jump of {jump} us");
        all_is_well(&mut lab, 30_000);
        assert_eq!(lab.next_deadline(), None, "a jump of {jump} us");
    }
}

#[test]
fn several_jumps_in_a_row_with_and_without_a_turn_in_between() {
    for jump in [secs(121), secs(4 * DAY), secs(6 * DAY), secs(10 * DAY), secs(40 * DAY)] {
        for turns in [false, true] {
            let (mut lab, ids) = busy(600);
            for n in 0..5 {
                lab.now += jump;
                if turns {
                    lab.stack.handle_timeout(lab.ts());
                } else {
                    lab.input(syn().mss(1460));
                }
                // Something new in between is not yet due.
                lab.local.set_port(80);
                lab.switch(60_000 + n);
                lab.input(syn().mss(1460));
            }
            work_off(&mut lab);
            let sizes = lab.stack.sizes();
            assert_eq!((sizes.half_open <= 2, sizes.time_wait), (true, 0), "{jump} us, {turns}: {sizes:?}");
            lab.run_to(lab.now + secs(4000));
            lab.drain();
            ids.iter().for_each(|id| lab.close(*id));
            all_is_well(&mut lab, 30_000);
        }
    }
}

/// What arrives after a jump before anything else: the third segment of a handshake, and a SYN for a tuple in TIME-WAIT.
#[test]
fn a_packet_that_arrives_right_after_a_jump_is_taken() {
    for jump in jumps() {
        let mut lab = Lab::new();
        let listener = lab.listen();
        lab.handshake(TIMESTAMPS);
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack());
        lab.now += jump;
        lab.stack.handle_timeout(lab.ts());
        lab.flow = lab::Flow { win: 65_535, isn: 5_000_000, ..Default::default() };
        lab.handshake(TIMESTAMPS);
        let id = lab.accept(listener).expect("the tuple is free again");
        lab.write(id, b"hello");
        lab.expect(data(b"hello"));
        // And an established connection goes on, whatever the two clocks make of the pause.
        lab.send(ack().ack(6));
        lab.now += jump;
        lab.send(data(b"again"));
        lab.drain();
        assert_eq!(lab.read(id, 100), b"again", "a jump of {jump} us");
        lab.write(id, b"hello again");
        lab.expect(data(b"hello again"));
        let rto = lab.info(id).rto;
        assert!(rto <= lab.stack.config().max_rto, "{rto:?}");
    }
}

/// An acknowledgement that comes after the jump measures no round trip of days.
#[test]
fn a_jump_between_a_segment_and_its_acknowledgement_is_no_round_trip() {
    for (jump, ts) in
        [(secs(3600), false), (secs(3600), true), (secs(10 * DAY), false), (secs(10 * DAY), true)]
    {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts, ..TIMESTAMPS });
        lab.write(id, b"a");
        lab.expect(data(b"a"));
        lab.now += jump;
        lab.send(ack().ack(2));
        lab.drain();
        let srtt = lab.info(id).srtt;
        assert!(srtt <= Duration::from_secs(120), "{srtt:?}");
        // It is soon forgotten.
        for n in 0..60 {
            lab.write(id, b"b");
            lab.drain();
            lab.run_to(lab.now + ms(10));
            lab.drain();
            lab.send(ack().ack(3 + n));
        }
        assert!(lab.info(id).rto < Duration::from_secs(3), "{:?}", lab.info(id).rto);
    }
}

#[test]
fn the_longest_waits_that_can_be_configured_end_too() {
    for (wait, jump) in [(3 * DAY, 2 * DAY), (3 * DAY, 4 * DAY), (400 * DAY, 4 * DAY), (400 * DAY, 30 * DAY)]
    {
        let mut lab = Lab::with(|config| {
            config.time_wait = Duration::from_secs(wait);
            config.decision_timeout = Duration::from_secs(wait);
        });
        let any = lab.stack.listen_any(10, SocketOptions::default()).unwrap();
        lab.remote.set_port(999);
        lab.input(syn().mss(1460));
        lab.switch(1001);
        let id = lab.accepted(TIMESTAMPS);
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack());
        lab.now += secs(jump);
        work_off(&mut lab);
        let over = jump >= wait.min(5 * DAY);
        assert_eq!(lab.stack.sizes().time_wait, usize::from(!over));
        assert_eq!(lab.stack.poll_incoming(any).is_some(), !over);
        lab.run_to(lab.now + secs(6 * DAY));
        lab.drain();
        let sizes = lab.stack.sizes();
        assert_eq!((sizes.half_open, sizes.time_wait), (0, 0), "{wait} {jump}");
    }
}
