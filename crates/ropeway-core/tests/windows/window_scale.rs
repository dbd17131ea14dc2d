//! Window scaling (RFC 7323 2).

use crate::common::*;

// RFC 7323 2.2-1, RFC 7323 2.3-1
#[test]
fn windows_are_scaled_only_if_both_say_so() {
    // Both: the peer's windows count 16 times, ours are announced in units of 1024, since the buffer may grow to 32 MiB.
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(4).win(1000));
    lab.expect(syn_ack().ws(10).win(65535));
    lab.send(ack().win(1000));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).snd_wnd, 16_000);
    lab.send_all([some(1460), some(1460)]);
    lab.expect(ack().win(((128 * 1024 - 2920) / 1024) as u16));
    // The peer does not.
    let (mut lab, id) = established();
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).rcv_wscale), (None, None));
    lab.send_all([some(1460), some(1460)]);
    lab.expect(ack().win(65535));
    // Nor when it was we who asked.
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().ws(10));
    lab.send(syn_ack().mss(1460).win(1000));
    lab.expect(ack().win(65535));
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).rcv_wscale), (None, None));
    // We do not.
    let mut lab = Lab::with(|config| config.window_scaling = false);
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(4).win(1000));
    assert_eq!(lab.expect(syn_ack()).tcp.options.window_scale, None);
    lab.send(ack().win(1000));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).snd_wnd, 1000);
}

// RFC 7323 2.3-2
#[test]
fn a_scale_beyond_14_counts_as_14() {
    for (shift, window) in [(0, 3), (14, 3 << 14), (15, 3 << 14), (255, 3 << 14)] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ws: Some(shift), win: 3, ..Peer::default() });
        assert_eq!(lab.info(id).snd_wnd, window);
    }
}

// RFC 7323 2.2-3, RFC 7323 2.3-1
#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().ws(10).win(65535));
    lab.send(syn_ack().mss(1460).ws(10).win(500));
    // Even the first ACK of ours is.
    lab.expect(ack().win(128));
    assert_eq!(lab.info(id).snd_wnd, 500);
    lab.send(ack().win(500));
    assert_eq!(lab.info(id).snd_wnd, 500 << 10);
}

// MUST-1; RFC 9293 3.1 REC-1
#[test]
fn the_largest_window_is_not_negative() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ws: Some(14), win: 65535, ..Peer::default() });
    assert_eq!(lab.info(id).snd_wnd, 65535 << 14);
    lab.write(id, &pattern(0, 14_600));
    assert_eq!(lab.drain().len(), 10);
}

#[test]
fn scaled_windows_of_small_buffers_are_exact_enough() {
    for buffer in [1, 100, 1000, 8191, 8192, 9000, 65_535, 65_536, 100_000] {
        let mut lab = Lab::new();
        let listener = lab.listen_with(16, |options| options.recv_buffer = buffer);
        lab.send(syn().mss(1460).ws(0));
        let shift = lab.expect(syn_ack()).tcp.options.window_scale.unwrap();
        lab.send(ack());
        assert!(lab.accept(listener).is_some());
        lab.send(some(1));
        lab.after(40);
        let announced = usize::from(lab.expect(ack()).tcp.window) << shift;
        assert!(
            announced <= buffer && announced + (1 << shift) + 1 > buffer - buffer / 32,
            "{buffer}: {announced}"
        );
    }
}

// RFC 7323 2.4-2
// SHLD-14: with scaling, a window may look smaller by less than one unit (RFC 7323 2.4); never by more.
#[test]
fn the_right_edge_never_recedes_by_a_unit() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| options.recv_buffer = 100_000);
    lab.send(syn().mss(1460).ws(0));
    let shift = lab.expect(syn_ack()).tcp.options.window_scale.unwrap();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    let mut best = 0;
    let mut random = Random::new(3);
    for _ in 0..2000 {
        lab.input(some(random.below(300) as usize));
        if random.chance(30) {
            let _ = lab.stack.recv(lab.ts(), id, 1 + random.below(2000) as usize);
        }
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap().tcp;
            let edge = tcp.ack.get() + (u32::from(tcp.window) << shift);
            assert!(edge + (1 << shift) > best, "{edge} after {best}");
            best = best.max(edge);
        }
        if lab.info(id).unread > 99_000 {
            lab.read(id, 50_000);
            lab.drain();
        }
    }
}

// RFC 7323 2.3: the window field counts in units of 1024 here.
#[test]
fn a_buffer_smaller_than_the_units_of_the_window_still_opens_a_window() {
    let mut pair = Pair::new();
    let bytes = 100_000;
    pair.converse(
        &[Op::Send(bytes), Op::ShutdownWrite, Op::RecvEof, Op::Close],
        &[Op::Recv(bytes), Op::RecvEof, Op::Close],
    );
    pair.run_to(ms(2));
    let (now, id) = (pair.ts(), pair.programs[1].id.unwrap());
    pair.stacks[1].update_options(now, id, |options| options.recv_buffer = 300).unwrap();
    // What the SYN promised is used up; from then on, probes alone would take two hours.
    pair.live(secs(60));
}
