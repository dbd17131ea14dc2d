//! What the program holds back: `TCP_CORK` for 200 ms, and `SendFlags::more`.

use crate::common::*;

#[test]
fn cork_holds_a_small_segment_for_200_ms() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.at(7);
    lab.write(id, b"small");
    lab.quiet();
    lab.at_us(ms(207) - 1);
    lab.at(207);
    lab.expect(data(b"small"));
}

#[test]
fn cork_taken_off_lets_it_go() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, &pattern(0, 2000));
    lab.expect(data(pattern(0, 1460)));
    lab.at(10);
    lab.set(id, |options| options.cork = false);
    lab.expect(data(pattern(1460, 540)));
    lab.send(ack());
    lab.at(10_000);
}

#[test]
fn cork_does_not_hold_a_full_segment_nor_the_fin() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, &pattern(0, 1000));
    lab.quiet();
    lab.write(id, &pattern(1000, 460));
    lab.expect(data(pattern(0, 1460)));
    lab.write(id, b"tail");
    lab.quiet();
    lab.shutdown_write(id);
    lab.expect(data(b"tail").fin());
}

#[test]
fn the_200_ms_of_cork_begin_anew_with_each_held_piece() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, b"one");
    lab.at(200);
    lab.expect(data(b"one"));
    lab.send(ack());
    lab.at(500);
    lab.write(id, b"two");
    lab.at_us(ms(700) - 1);
    lab.at(700);
    lab.expect(data(b"two"));
}

// RFC 9293 3.9.1.2 MUST-60, MAY-16
#[test]
fn more_to_come_holds_a_small_segment_until_more_comes() {
    let (mut lab, id) = established();
    let more = ropeway_core::SendFlags { more: true, ..Default::default() };
    assert_eq!(lab.stack.send(lab.ts(), id, b"head ", more), Ok(5));
    lab.collect();
    lab.quiet();
    lab.at(50);
    lab.write(id, b"body");
    lab.expect(data(b"head body").push());
    lab.send(ack());
    assert_eq!(lab.stack.send(lab.ts(), id, b"alone", more), Ok(5));
    lab.collect();
    lab.at_us(ms(250) - 1);
    lab.at(250);
    lab.expect(data(b"alone"));
}
