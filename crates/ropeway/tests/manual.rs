//! Stacks run by hand, resolvers, and finders: what a simulation of many hosts builds on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use common::kind;
use ropeway::Stack;
use ropeway::manual::{Manual, Received, TimeSource, Timestamp, find_with};
use ropeway::net::{TcpListener, TcpStream, lookup_host};

/// A clock that the test sets, in microseconds.
#[derive(Default)]
struct Hand(AtomicU64);

impl TimeSource for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn manual(host: u8, clock: &Arc<Hand>) -> Manual {
    let clock: Arc<dyn TimeSource> = Arc::clone(clock) as _;
    Manual::build(common::builder(host).mtu(1500), clock).unwrap()
}

#[test]
fn two_stacks_without_a_runtime() {
    let clock = Arc::new(Hand::default());
    let (mut left, mut right) = (manual(1, &clock), manual(2, &clock));
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let (left_stack, right_stack) = (left.stack().clone(), right.stack().clone());
    let Poll::Ready(Ok(listener)) = pin!(TcpListener::bind_on(&right_stack, "10.0.0.2:80")).poll(&mut cx)
    else {
        panic!("bind does not wait")
    };

    assert!(!left.turn(&waker, [], &mut |_| panic!("nothing to send")).woke);
    let mut connecting = pin!(TcpStream::connect_on(&left_stack, "10.0.0.2:80"));
    assert!(connecting.as_mut().poll(&mut cx).is_pending());
    // The call gave the stack something to do, and its owner learns of it.
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);

    let mut crossing = Vec::new();
    let mut news = 0;
    for round in 0..6 {
        clock.0.fetch_add(250, Ordering::Relaxed);
        let side = if round % 2 == 0 { &mut left } else { &mut right };
        let input: Vec<Received> = std::mem::take(&mut crossing);
        let turn = side.turn(&waker, input, &mut |packet| crossing.push(Received::new(packet.to_bytes())));
        news += usize::from(turn.woke);
    }
    assert_eq!(news, 1, "the one who connects is woken");
    let Poll::Ready(Ok(client)) = connecting.poll(&mut cx) else { panic!("not connected") };
    let Poll::Ready(Ok((server, peer))) = pin!(listener.accept()).poll(&mut cx) else {
        panic!("nothing to accept")
    };
    assert_eq!(client.local_addr().unwrap(), peer);
    // The round trip is known to the microsecond.
    assert_eq!(client.info().unwrap().srtt.as_micros(), 500);

    left.fail(Error::other("unplugged"));
    assert_eq!(kind(client.try_write(b"x")), ErrorKind::NetworkDown);
    drop(right);
    assert_eq!(kind(server.try_write(b"x")), ErrorKind::Other);
}

#[test]
fn a_deadline_is_kept_to_the_microsecond() {
    let clock = Arc::new(Hand::default());
    let mut left = manual(1, &clock);
    let stack = left.stack().clone();
    let mut connecting = pin!(TcpStream::connect_on(&stack, "10.0.0.2:80"));
    assert!(connecting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut sent = 0;
    let deadline = left.turn(Waker::noop(), [], &mut |_| sent += 1).deadline.unwrap();
    clock.0.store(deadline.as_micros() - 1, Ordering::Relaxed);
    assert_eq!(left.turn(Waker::noop(), [], &mut |_| sent += 1).deadline, Some(deadline));
    assert_eq!(sent, 1);
    clock.0.store(deadline.as_micros(), Ordering::Relaxed);
    assert!(left.turn(Waker::noop(), [], &mut |_| sent += 1).deadline.unwrap() > deadline);
    assert_eq!(sent, 2);
}

fn hosts(name: &str) -> Option<std::io::Result<Vec<IpAddr>>> {
    match name {
        "db" => Some(Ok(vec![Ipv4Addr::LOCALHOST.into()])),
        "both" => Some(Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])),
        "gone" => Some(Err(Error::new(ErrorKind::NotFound, "no such host"))),
        _ => None,
    }
}

#[tokio::test]
async fn a_stack_with_names_of_its_own() {
    let stack = Stack::builder().resolver(hosts).build().unwrap();
    let listener = TcpListener::bind_on(&stack, "db:5432").await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), "127.0.0.1:5432".parse().unwrap());
    // Each address in turn: nobody listens on the first one.
    for client in [
        TcpStream::connect_on(&stack, "both:5432").await,
        TcpStream::connect_on(&stack, ("both", 5432)).await,
        TcpStream::connect_on(&stack, &("both".to_owned(), 5432)).await,
        TcpStream::connect_on(&stack, String::from("127.0.0.1:5432")).await,
    ] {
        assert_eq!(client.unwrap().peer_addr().unwrap(), listener.local_addr().unwrap());
    }
    assert_eq!(kind(TcpStream::connect_on(&stack, "gone:1").await), ErrorKind::NotFound);
    // Names that it does not know are the operating system's.
    assert!(TcpListener::bind_on(&stack, "localhost:0").await.is_ok());
    let found = stack.scope(lookup_host("both:7")).await.unwrap();
    assert_eq!(found.map(|addr| addr.to_string()).collect::<Vec<_>>(), ["[::1]:7", "127.0.0.1:7"]);
    assert_eq!(kind(lookup_host("no port").await.map(drop)), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_runtime_with_a_finder() {
    let stack = Stack::loopback().unwrap();
    let found = stack.clone();
    let is_inside = || tokio::task::try_id().is_some();
    let finder = find_with(move || {
        if is_inside() { Ok(found.clone()) } else { Err(Error::new(ErrorKind::NotFound, "nobody's")) }
    })
    .unwrap();
    assert_eq!(kind(find_with(|| unreachable!())), ErrorKind::AlreadyExists);
    // Not the loopback-only stack that others would get.
    assert_eq!(kind(TcpListener::bind("127.0.0.1:0").await), ErrorKind::NotFound);
    assert!(Stack::current().is_none());
    assert_eq!(kind(ropeway::net::TcpSocket::new_v4()), ErrorKind::NotFound);
    let listener = tokio::spawn(TcpListener::bind("127.0.0.1:80")).await.unwrap().unwrap();
    assert_eq!(listener.stack(), &stack);
    // What was entered comes first.
    let other = Stack::loopback().unwrap();
    let listener = other.scope(TcpListener::bind("127.0.0.1:80")).await.unwrap();
    assert_eq!(listener.stack(), &other);
    // Another runtime is not concerned.
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(TcpListener::bind("127.0.0.1:0")).is_ok());
    })
    .join()
    .unwrap();
    drop(finder);
    assert!(TcpListener::bind("127.0.0.1:0").await.is_ok());
}
