//! Every setting at its least and at its most: what cannot be meant is clamped, and nothing panics, overflows or spins.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropeway_core::congestion::NewReno;
use ropeway_core::{
    AckThinning, Algorithm, ConnectionId, EchoPolicy, EcnMode, EcnOption, KeepAlive, MtuProbing, Outgoing,
    Received, SendFlags, SocketOptions, Stack, StackConfig, SynCookieMode, TimeWaitReuse, Timestamp,
    UdpOptions,
};

use crate::common::*;
use crate::own_control::nonsense;

type Change = Box<dyn Fn(&mut StackConfig)>;

fn durations() -> Vec<Duration> {
    let mut all = vec![Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1)];
    all.extend([1 << 31, 1 << 32, 1 << 40, u64::MAX / 1000].map(Duration::from_millis));
    all.extend([u64::MAX - 1, u64::MAX].map(Duration::from_micros));
    all.push(Duration::MAX);
    all
}

/// Each field at each extreme. A field that is added and not named here fails `no_field_is_forgotten`.
fn extremes() -> Vec<(String, Change)> {
    let mut all: Vec<(String, Change)> = Vec::new();
    macro_rules! field {
        ($values:expr, $($field:ident).+ $(, $wrap:expr)?) => {
            for value in $values {
                let name = format!("{} = {value:?}", stringify!($($field).+));
                all.push((name, Box::new(move |config| config.$($field).+ = field!(@ value $(, $wrap)?))));
            }
        };
        (@ $value:ident) => { $value.clone() };
        (@ $value:ident, $wrap:expr) => { $wrap($value.clone()) };
    }
    field!(durations(), time_wait);
    field!(durations(), initial_rto);
    field!(durations(), min_rto);
    field!(durations(), max_rto);
    field!(durations(), delayed_ack);
    field!(durations(), clock_granularity);
    field!(durations(), fin_timeout);
    field!(durations(), decision_timeout);
    field!(durations(), reassembly_timeout);
    field!(durations(), fast_open_blackhole_timeout);
    field!(durations(), socket.user_timeout, Some);
    field!(durations(), socket.linger, Some);
    field!(durations(), socket.min_rto, Some);
    field!(durations(), socket.max_rto, Some);
    field!(durations(), socket.delayed_ack, Some);
    field!(durations(), socket.fin_timeout, Some);
    field!(durations(), socket.defer_accept, Some);
    let keep_alive = |idle, interval, count| Some(KeepAlive { idle, interval, count });
    let hour = Duration::from_secs(3600);
    field!(durations(), socket.keep_alive, move |idle| keep_alive(idle, hour, 9));
    field!(durations(), socket.keep_alive, move |interval| keep_alive(hour, interval, 9));
    field!([0, 1, u32::MAX], socket.keep_alive, move |count| keep_alive(hour, hour, count));
    field!([0, 1, 67, 68, 1279, 1280, u16::MAX], mtu);
    field!([0, 1, u8::MAX], quick_acks);
    for counts in [0, 1, u32::MAX] {
        field!([counts], retries1);
        field!([counts], retries2);
        field!([counts], orphan_retries);
        field!([counts], synack_retries);
        field!([counts], max_window);
        field!([counts], half_open_per_prefix);
        field!([counts], challenge_acks_per_second);
        field!([counts], icmp_errors_per_second);
        field!([counts], icmp_errors_per_source);
        field!([counts], socket.syn_retries);
        field!([counts], socket.synack_retries, Some);
        field!([counts], socket.fast_open);
    }
    for sizes in [0, 1, usize::MAX] {
        field!([sizes], max_connections);
        field!([sizes], max_time_wait);
        field!([sizes], reassembly_memory);
        field!([sizes], auto_recv_buffer.min);
        field!([sizes], auto_recv_buffer.initial);
        field!([sizes], auto_recv_buffer.max);
        field!([sizes], auto_send_buffer.min);
        field!([sizes], auto_send_buffer.initial);
        field!([sizes], auto_send_buffer.max);
        field!([sizes], max_orphans);
        field!([sizes], max_fast_open_cookies);
        field!([sizes], memory_budget, Some);
        field!([sizes], socket.recv_buffer);
        field!([sizes], socket.send_buffer);
        field!([sizes], socket.notsent_lowat, Some);
    }
    field!([0, 1, u16::MAX], socket.max_segment, Some);
    field!([0, 1, u16::MAX], socket.reordering);
    field!([0, 1, u16::MAX], socket.max_reordering);
    field!([0, 1, u8::MAX], socket.syn_linear_timeouts);
    field!([0, 1, u32::MAX], socket.window_clamp, Some);
    field!([0, u8::MAX], socket.tos);
    field!([EcnMode::Off, EcnMode::On, EcnMode::Accurate], socket.ecn);
    field!([EcnOption::Off, EcnOption::Least, EcnOption::Full], socket.ecn_option);
    field!([0, u8::MAX], socket.ecn_option_beacon);
    field!([true, false], socket.ecn_fallback);
    field!([0, 1, u8::MAX], socket.ttl);
    #[allow(clippy::reversed_empty_ranges, reason = "a range without a port")]
    let ranges = [0..=0, 0..=u16::MAX, u16::MAX..=u16::MAX, 9..=8, u16::MAX..=0];
    field!(ranges, ephemeral_ports);
    field!([false, true], tx_checksum_offload);
    field!([false, true], events_first);
    field!([0, 1, 1700, u16::MAX], longest_train);
    field!([false, true], timestamps);
    field!([false, true], strict_timestamps);
    field!([false, true], window_scaling);
    field!([false, true], abort_on_overflow);
    field!([false, true], sack);
    field!([false, true], dsack);
    field!([false, true], rack);
    field!([false, true], tlp);
    field!([false, true], frto);
    field!([false, true], undo);
    field!([false, true], prr);
    field!([false, true], pacing);
    field!([0, 1, u64::MAX], socket.max_pacing_rate, Some);
    field!([EchoPolicy::Answer, EchoPolicy::Drop, EchoPolicy::Divert], echo);
    field!([false, true], socket.window_scaling);
    field!([false, true], socket.timestamps);
    field!([false, true], socket.sack);
    field!([false, true], socket.dsack);
    field!([false, true], socket.rack);
    field!([false, true], socket.rack_adapts);
    field!([false, true], socket.rack_dup_thresh);
    field!([false, true], socket.tlp);
    field!([false, true], socket.slow_start_after_idle);
    field!([false, true], socket.thin_linear_timeouts);
    field!([false, true], socket.nodelay);
    field!([false, true], socket.fast_open_no_cookie);
    field!([false, true], socket.cork);
    field!([false, true], socket.quick_ack);
    let thinning = |segments, delay, sacks| Some(AckThinning { segments, delay, sacks });
    field!(durations(), socket.ack_thinning, move |delay| thinning(44, delay, 44));
    field!([0, 1, u32::MAX], socket.ack_thinning, move |segments| thinning(segments, hour, 44));
    field!([0, 1, u8::MAX], socket.ack_thinning, move |sacks| thinning(44, hour, sacks));
    field!([false, true], socket.reuse_addr);
    field!([false, true], socket.reuse_port);
    field!([SynCookieMode::Never, SynCookieMode::Always], syn_cookies);
    field!([MtuProbing::Off, MtuProbing::Always], mtu_probing);
    field!([0, u16::MAX], base_mss);
    field!([0, u16::MAX], mtu_probe_floor);
    field!(durations(), probe_interval);
    field!([0, u16::MAX], probe_threshold);
    field!([TimeWaitReuse::Never, TimeWaitReuse::Always], time_wait_reuse);
    field!(
        [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr, Algorithm::custom(NewReno)],
        socket.congestion
    );
    field!(nonsense(), socket.congestion);
    all.push(("addresses = none".into(), Box::new(|config| config.addresses.clear())));
    all
}

/// Two stacks on a wire that loses some packets, in virtual time.
struct Wire {
    stacks: [Stack; 2],
    now: u64,
    sent: u32,
    loses: fn(u32) -> bool,
}

impl Wire {
    fn new(change: &dyn Fn(&mut StackConfig), sides: [bool; 2], loses: fn(u32) -> bool) -> Self {
        let stacks = [0, 1].map(|side: usize| {
            let mut config = StackConfig::default();
            config.addresses = vec![format!("10.0.0.{}/24", side + 1).parse().unwrap()];
            if sides[side] {
                change(&mut config);
            }
            Stack::new(Arc::new(config), [side as u8; 32], Timestamp::from_micros(1_000_000))
        });
        Self { stacks, now: 1_000_000, sent: 0, loses }
    }

    fn ts(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// Lets time pass. A millisecond after a packet was sent it is there.
    fn run(&mut self, micros: u64, what: &str) {
        let end = self.now.saturating_add(micros);
        for _ in 0..400_000 {
            let mut moved = false;
            for side in 0..2 {
                let now = self.ts();
                if self.stacks[side].poll_timeout().is_some_and(|at| at <= now) {
                    self.stacks[side].handle_timeout(now);
                    moved = true;
                }
                while let Some(transmit) = self.stacks[side].poll_transmit(now) {
                    moved = true;
                    self.sent += 1;
                    if !(self.loses)(self.sent) {
                        transmit.for_each_on_wire(&mut BytesMut::new(), |packet| {
                            let packet = Received::new(Bytes::copy_from_slice(packet));
                            self.stacks[1 - side].handle_packet(now, packet);
                        });
                    }
                }
                while self.stacks[side].poll_event().is_some() {}
            }
            if moved {
                self.now += 1;
                continue;
            }
            let next = self.stacks.iter().filter_map(Stack::poll_timeout).min();
            match next.map(Timestamp::as_micros).filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = self.now.max(end);
                    return;
                }
            }
        }
        panic!("{what}: it spins at {} us", self.now);
    }

    /// Writes and reads until so much has crossed, or for so long.
    fn transfer(&mut self, (from, to): (usize, usize), ids: [ConnectionId; 2], len: usize, what: &str) {
        let (mut sent, mut read) = (0, 0);
        for _ in 0..200 {
            if read >= len {
                return;
            }
            let now = self.ts();
            let bytes = vec![7; len - sent];
            sent += self.stacks[from].send(now, ids[from], &bytes, SendFlags::default()).unwrap_or(0);
            self.run(300_000, what);
            let now = self.ts();
            read += self.stacks[to].recv(now, ids[to], usize::MAX).map_or(0, |payload| payload.len());
        }
    }
}

/// Opens, transfers, idles, and closes, with whatever success.
fn live(what: &str, change: &dyn Fn(&mut StackConfig), sides: [bool; 2], loses: fn(u32) -> bool) {
    let mut wire = Wire::new(change, sides, loses);
    let options = wire.stacks[1].config().socket.clone();
    let listener = wire.stacks[1].listen(addr("10.0.0.2:80"), usize::MAX, options);
    let options = wire.stacks[0].config().socket.clone();
    let now = wire.ts();
    let client = wire.stacks[0].connect(now, None, addr("10.0.0.2:80"), options);
    wire.run(3_000_000, what);
    if let (Ok(listener), Ok(client)) = (&listener, &client) {
        let now = wire.ts();
        if let Some((server, _)) = wire.stacks[1].accept(now, *listener).unwrap() {
            let ids = [*client, server];
            wire.transfer((0, 1), ids, 5000, what);
            wire.transfer((1, 0), ids, 5000, what);
            let idle = ms(3_000);
            wire.run(idle, what);
            let now = wire.ts();
            let _over = wire.stacks[0].shutdown(now, *client, Shutdown::Write);
            wire.run(2_000_000, what);
            let now = wire.ts();
            wire.stacks[1].close(now, server);
        }
        let now = wire.ts();
        wire.stacks[0].close(now, *client);
    }
    // `listen_any` and its decisions, probes, and an error to be sent.
    let now = wire.ts();
    let options = wire.stacks[1].config().socket.clone();
    if let Ok(any) = wire.stacks[1].listen_any(usize::MAX, options.clone()) {
        let opening = wire.stacks[0].connect(now, None, addr("10.0.0.2:81"), options.clone());
        wire.run(1000, what);
        let now = wire.ts();
        if let Some(incoming) = wire.stacks[1].poll_incoming(any) {
            wire.stacks[1].accept_incoming(now, &incoming);
        }
        wire.run(5_000_000, what);
        let now = wire.ts();
        if let Ok(id) = opening {
            wire.stacks[0].close(now, id);
        }
        wire.stacks[1].close_listener(now, any);
    }
    let flow = wire.stacks[0].udp_open(now, addr("10.0.0.2:9"), UdpOptions::default());
    let _sent = flow.and_then(|flow| wire.stacks[0].udp_send(now, flow, b"?", &Outgoing::default()));
    wire.run(10_000_000, what);
    let now = wire.ts();
    if let Ok(listener) = listener {
        wire.stacks[1].close_listener(now, listener);
    }
    wire.run(10_000_000, what);
    for stack in &wire.stacks {
        let _looked_at = (stack.sizes(), stack.poll_timeout(), stack.config());
    }
}

#[test]
fn a_connection_lives_with_every_setting_at_its_extremes() {
    for (what, change) in extremes() {
        for sides in [[true, false], [false, true], [true, true]] {
            live(&what, &*change, sides, |_| false);
            live(&what, &*change, sides, |sent| sent % 5 == 3);
        }
    }
}

/// Then the peer is gone: every timer goes off until the end.
#[test]
fn a_connection_is_given_up_with_every_setting_at_its_extremes() {
    for (what, change) in extremes() {
        live(&what, &*change, [true, true], |sent| sent > 6);
    }
}

/// What a change is of: `socket.ttl`.
fn field_of(what: &str) -> &str {
    what.split(' ').next().unwrap_or(what)
}

#[test]
fn all_settings_at_their_least_and_all_at_their_most() {
    // With one of these nothing would begin.
    let ends_all = ["max_connections", "addresses", "ephemeral_ports"];
    let usual = |what: &str| !ends_all.contains(&field_of(what));
    let at_least = |config: &mut StackConfig| {
        let all = extremes().into_iter().rev().filter(|(what, _)| usual(what));
        all.for_each(|(_, change)| change(config));
    };
    let at_most = |config: &mut StackConfig| {
        extremes().into_iter().filter(|(what, _)| usual(what)).for_each(|(_, change)| change(config));
    };
    for loses in [|_| false, |sent| sent % 5 == 3, |sent| sent > 6] as [fn(u32) -> bool; 3] {
        live("all at their least", &at_least, [true, true], loses);
        live("all at their most", &at_most, [true, true], loses);
    }
}

#[test]
fn no_field_is_forgotten() {
    let shown = format!("{:#?}", StackConfig::default());
    let named: Vec<String> = extremes().iter().map(|(what, _)| field_of(what).to_string()).collect();
    // A field that has fields of its own, which follow it.
    let mut group = "";
    for line in shown.lines() {
        let Some((field, value)) = line.trim_start().split_once(": ") else { continue };
        let name = match line.len() - line.trim_start().len() {
            4 if ["socket", "auto_recv_buffer", "auto_send_buffer"].contains(&field) => {
                group = field;
                continue;
            }
            4 => field.to_string(),
            8 => format!("{group}.{field}"),
            _ => continue,
        };
        assert!(named.contains(&name), "{name} ({value}) has no extremes here");
    }
}

/// What is clamped, and to what.
#[test]
fn what_cannot_be_meant_is_clamped() {
    let clamped = |change: fn(&mut StackConfig)| {
        let mut config = StackConfig::default();
        change(&mut config);
        Stack::new(Arc::new(config), [1; 32], Timestamp::START).config().clone()
    };
    let config = clamped(|config| {
        config.initial_rto = Duration::ZERO;
        config.max_rto = Duration::ZERO;
        config.mtu = 0;
        config.socket.ttl = 0;
        config.socket.notsent_lowat = Some(0);
        config.socket.user_timeout = Some(Duration::ZERO);
    });
    assert_eq!((config.initial_rto, config.max_rto), (Duration::from_millis(1), Duration::from_millis(1)));
    assert_eq!((config.mtu, config.socket.ttl), (68, 1));
    assert_eq!((config.socket.notsent_lowat, config.socket.user_timeout), (None, None), "as in Linux");
    let config = clamped(|config| {
        config.initial_rto = Duration::MAX;
        config.min_rto = Duration::MAX;
    });
    assert_eq!((config.initial_rto, config.min_rto), (config.max_rto, config.max_rto));
}

/// At the end of time, deadlines are now.
#[test]
fn the_last_moments_that_a_clock_can_show() {
    for before in [0, 1, 1000, 1_000_000, 100_000_000] {
        let mut lab = Lab::starting_at(u64::MAX - before, |_| {});
        let listener = lab.stack.listen(lab.local, 4, SocketOptions::default()).unwrap();
        lab.input(syn().mss(1460));
        let now = Timestamp::from_micros(u64::MAX);
        let id = lab.stack.connect(now, None, addr("10.0.0.1:9"), SocketOptions::default()).unwrap();
        for _ in 0..100 {
            lab.stack.handle_timeout(now);
            while lab.stack.poll_transmit(now).is_some() {}
        }
        lab.stack.close(now, id);
        lab.stack.close_listener(now, listener);
    }
}
