//! Windows bounded by the user (`TCP_WINDOW_CLAMP`).

use ropeway_core::SocketOptions;

use crate::common::*;

fn clamp(bytes: u32) -> impl FnOnce(&mut SocketOptions) {
    move |options| options.window_clamp = Some(bytes)
}

#[test]
fn no_window_of_a_handshake_is_larger() {
    for (bytes, window) in [(4000, 4000), (10, 1152), (65_535, 65_535), (1 << 20, 65_535), (0, 65_535)] {
        let mut lab = Lab::new();
        lab.connect_with(clamp(bytes)).unwrap();
        assert_eq!(lab.expect(syn()).tcp.window, window);
        let mut lab = Lab::new();
        lab.listen_with(1, clamp(bytes));
        lab.send(syn().mss(1460));
        assert_eq!(lab.expect(syn_ack()).tcp.window, window);
    }
}

// RFC 7323 2.3: a scale for what will be announced.
#[test]
fn the_scale_is_for_no_larger_window() {
    for (bytes, scale) in [(65_535, 0), (1 << 17, 2), (1 << 20, 5), (1 << 30, 10), (0, 10)] {
        let mut lab = Lab::new();
        lab.connect_with(clamp(bytes)).unwrap();
        assert_eq!(lab.expect(syn()).tcp.options.window_scale, Some(scale), "{bytes}");
    }
}

#[test]
fn what_is_held_unread_does_not_close_a_bounded_window_while_the_buffer_has_room() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| {
        clamp(3000)(options);
        options.recv_buffer = 10_000;
    });
    for _ in 0..5 {
        lab.send_all([some(1000), some(1000)]);
        lab.drain();
    }
    // Nothing is read: what is left of 10,000 bytes is less than a segment.
    assert_eq!((lab.info(id).unread, lab.info(id).rcv_wnd), (9000, 0));
    lab.read(id, 5000);
    assert_eq!(lab.expect(ack()).tcp.window, 3000);
    lab.read(id, 4000);
    lab.drain();
    assert_eq!(lab.info(id).rcv_wnd, 3000);
}

// RFC 9293 3.8.6
#[test]
fn what_was_promised_stays_promised_when_the_bound_comes() {
    let (mut lab, id) = established();
    lab.set(id, clamp(2000));
    assert_eq!(lab.info(id).rcv_wnd, 65_535);
    lab.send_all([some(1000), some(1000)]);
    assert_eq!(lab.expect(ack()).tcp.window, 63_535, "the edge stays");
    lab.read(id, 2000);
    for _ in 0..31 {
        lab.send_all([some(1000), some(1000)]);
        lab.drain();
        lab.read(id, 2000);
        lab.drain();
    }
    assert_eq!(lab.info(id).rcv_wnd, 1535);
    lab.send(some(1000));
    lab.read(id, 1000);
    lab.drain();
    assert_eq!(lab.info(id).rcv_wnd, 2000);
    // Without it, the window opens again, and the peer hears of it.
    lab.set(id, |options| options.window_clamp = None);
    assert_eq!(lab.expect(ack()).tcp.window, 65_535);
}

#[test]
fn a_transfer_through_the_narrowest_window_arrives() {
    let mut pair = Pair::with(|_, config| config.socket.window_clamp = Some(1));
    pair.converse(
        &[Op::Send(100_000), Op::Recv(10), Op::Close],
        &[Op::Recv(100_000), Op::Send(10), Op::RecvEof, Op::Close],
    );
    pair.live(secs(600));
}
