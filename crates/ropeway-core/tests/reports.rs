//! What a connection reports agrees with what its calls do.

use std::sync::Arc;
use std::time::Duration;

use ropeway_core::{Readiness, SendError, SocketOptions, Stack, StackConfig, Timestamp};

/// Bytes that a window probe carries, and that are acknowledged, are not counted in `bytes_sent`.
#[test]
fn bytes_of_a_window_probe_are_counted() {
    let mut now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.recv_buffer = 1000;
    options.nodelay = true;
    let listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    let _server = stack.accept(now, listener).unwrap().unwrap();
    // 700 of a window of 1000; then 1000 more, of which only 300 fit: less than half the window waits.
    for len in [700, 1000] {
        assert_eq!(stack.send(now, client, &vec![0; len], Default::default()).unwrap(), len);
        while stack.poll_transmit(now).is_some() {}
    }
    for _ in 0..100 {
        now += Duration::from_millis(100);
        stack.handle_timeout(now);
        while stack.poll_transmit(now).is_some() {}
    }
    let info = stack.info(now, client).unwrap();
    assert!(info.bytes_acked >= 1000, "{info:?}");
    assert!(info.bytes_sent >= info.bytes_acked, "sent {} < acked {}", info.bytes_sent, info.bytes_acked);
}
/// `Readiness::WRITABLE` is documented as "`send` would not say `WouldBlock`", but it also asks for a third of the buffer.
#[test]
fn writable_is_what_send_takes() {
    let now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.send_buffer = 900;
    let _listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    assert_eq!(stack.send(now, client, &[0; 700], Default::default()), Ok(700));
    // There is room, and `send` takes it.
    assert!(stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 100], Default::default()), Ok(100));
    assert_eq!(stack.send(now, client, &[0; 1000], Default::default()), Ok(100));
    assert!(!stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 1], Default::default()), Err(SendError::WouldBlock));
}
/// Linux: with TCP_NOTSENT_LOWAT, `send` takes nothing while that much is unsent (tcp_stream_memory_free).
#[test]
fn send_respects_notsent_lowat() {
    let now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.notsent_lowat = Some(1000);
    let _listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    assert_eq!(stack.send(now, client, &[0; 2000], Default::default()), Ok(2000));
    assert!(!stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 1], Default::default()), Err(SendError::WouldBlock));
}
