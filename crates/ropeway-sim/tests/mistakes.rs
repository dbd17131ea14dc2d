//! Settings that cannot be, and names that are not there, are told at once, in one line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{failure_of, run};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{CoDel, Host, Link, Loss, Net, Pipe, Queue, Rate, Segments};

const NAN: f64 = f64::NAN;

/// What `mistake` panics with, which has one line and these words.
#[track_caller]
fn refused(mistake: impl FnOnce(), words: &[&str]) {
    let payload = catch_unwind(AssertUnwindSafe(mistake)).expect_err("it is taken");
    let text = payload
        .downcast::<String>()
        .map_or_else(|other| (*other.downcast::<&str>().unwrap()).to_owned(), |text| *text);
    assert_eq!(text.lines().count(), 1, "{text}");
    common::assert_has(&text, words);
}

#[test]
fn what_is_no_probability_is_refused_by_all_settings() {
    for value in [20.0, 1.000_001, -0.1, NAN, f64::INFINITY] {
        let number = value.to_string();
        refused(|| drop(Loss::from(value)), &["loss", "from 0 to 1", &number]);
        refused(|| drop(Pipe::new().loss(value)), &["loss", &number]);
        refused(|| drop(Link::new().loss(Loss::Random(value))), &["loss", &number]);
        refused(|| drop(Link::new().reorder(value)), &["reorder", &number]);
        refused(|| drop(Pipe::new().duplicate(value)), &["duplicate", &number]);
        refused(|| drop(Link::new().corrupt(value)), &["corrupt", &number]);
        refused(|| drop(Loss::burst(value, 4.0)), &["loss", &number]);
        for field in 0..4 {
            let value = |wanted: usize| if field == wanted { value } else { 0.5 };
            let (to_bad, to_good) = (value(0), value(1));
            let burst = Loss::Burst { to_bad, to_good, loss_in_good: value(2), loss_in_bad: value(3) };
            refused(|| drop(Link::new().loss(burst.clone())), &["from 0 to 1", &number]);
        }
    }
    refused(|| drop(Loss::from(20.0)), &["20 % is 0.2"]);
    for value in [0.0, 0.5, 1.0] {
        drop(Link::new().loss(value).reorder(value).duplicate(value).corrupt(value));
    }
    assert_eq!(Loss::burst(1.0, 4.0), Loss::Random(1.0));
    refused(|| drop(Loss::burst(0.1, 0.5)), &["a burst is 1 packet or longer"]);
    refused(|| drop(Loss::burst(0.1, NAN)), &["a burst is 1 packet or longer"]);
    refused(|| drop(Loss::burst(0.9, 4.0)), &["cannot lose more than 0.800"]);
}

#[tokio::test(start_paused = true)]
async fn what_fields_are_set_to_is_looked_at_where_it_is_used() {
    let net = Net::new();
    let [a, b] = net.add_hosts(["a", "b"]);
    let before = a.link().settings();
    refused(|| a.link().update(|pipe| pipe.loss = 20.0.into()), &["20 % is 0.2"]);
    refused(|| a.link().update(|pipe| pipe.reorder = NAN), &["reorder", "NaN"]);
    refused(|| a.link().update_from(&a, |pipe| pipe.corrupt = 3.0), &["corrupt"]);
    assert_eq!(a.link().settings(), before, "nothing has changed");
    let mut link = Link::new();
    link.back.duplicate = -1.0;
    refused(|| drop(net.link(&a, &b, link.clone())), &["duplicate"]);
    refused(|| drop(net.add_host("c").link(&a, link.clone())), &["duplicate"]);
    refused(|| drop(Net::builder().default_link(link)), &["duplicate"]);
    // All goes on.
    b.run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
    assert!(a.run(TcpStream::connect("b:80")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn links_that_cannot_be_are_refused() {
    refused(
        || {
            let _zero = Rate::mbit(0);
        },
        &["a rate of 0"],
    );
    refused(
        || {
            let _zero = Rate::bits(0);
        },
        &["a rate of 0"],
    );
    refused(|| drop(Link::new().queue(Queue::packets(0))), &["room for nothing"]);
    refused(|| drop(Link::new().queue(Queue::bytes(0))), &["room for nothing"]);
    refused(|| drop(Link::new().mtu(67)), &["68"]);
    refused(|| drop(Link::new().black_hole(67)), &["68", "67"]);
    refused(|| drop(Link::new().loss(Loss::Packets(vec![3, 0]))), &["number 1"]);
    let codel = Queue::packets(10).codel(CoDel::default().interval(Duration::ZERO));
    refused(|| drop(Link::new().queue(codel)), &["CoDel's interval"]);
    let net = Net::new();
    let a = net.add_host("a").build();
    refused(|| drop(net.link(&a, &a, Link::new())), &["between two nodes"]);
    for speed in [0.0, -1.0, NAN, f64::INFINITY] {
        refused(|| a.set_clock_speed(speed), &["speed", &speed.to_string()]);
    }
    refused(|| drop(Segments::new().nth(0)), &["number 1"]);
    refused(|| drop(Segments::new().first(0)), &["are none"]);
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    refused(|| drop(net.expect(Segments::new()).times(3..=2)), &["3..=2"]);
    // What is left of that is met.
    let b = net.add_host("b").build();
    assert!(a.run(TcpStream::connect((b.ip(), 80))).await.is_err());
}

#[test]
fn the_longest_durations_are_for_ever() {
    for link in [
        Link::new().delay(Duration::MAX),
        Link::new().delay(Duration::MAX).jitter(Duration::MAX),
        Link::new().reorder(1.0).reorder_by(Duration::MAX),
    ] {
        let text = failure_of(async {
            let net = Net::builder().default_link(link).patience(Duration::from_millis(200)).build();
            let [a, _b] = net.add_hosts(["a", "b"]);
            a.run(TcpStream::connect("b:80")).await.unwrap_err();
            std::future::pending::<()>().await;
        });
        common::assert_has(&text, &["deadlock", "what is on its way takes centuries"]);
    }
    run(async {
        let net = Net::builder()
            .default_link(Link::new().queue(Queue::packets(usize::MAX)))
            .keep(usize::MAX)
            .build();
        let [a, b] = net.add_hosts(["a", "b"]);
        a.set_clock_offset(Duration::MAX, false);
        b.set_clock_offset(Duration::MAX, true);
        assert!(b.wall_clock() < a.wall_clock());
        a.set_clock_speed(1e6);
        b.set_clock_speed(1e-6);
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_there_is_told_with_those_that_are() {
    let net = Net::new();
    refused(|| drop(net.host("server")), &["no host named \"server\"", "nor any other", "add_host"]);
    let [server, _client] = net.add_hosts(["server", "client"]);
    let typo = || net.host("sever");
    refused(|| typo().crash(), &["no host named \"sever\", only server, client; Net::add_host makes one"]);
    refused(|| typo().restart(), &["sever"]);
    refused(|| net.partition([&server], [&typo()]), &["sever"]);
    refused(|| typo().link().update(|pipe| pipe.up = false), &["sever"]);
    refused(|| drop(net.host("hub")), &["\"hub\" is a router, not a host"]);
    assert!(!net.log().contains("crashes"));
    let unknown = server.run(TcpStream::connect("sever:80")).await.unwrap_err();
    common::assert_has(&unknown.to_string(), &["no host named \"sever\"", "only server, client"]);
    for number in 0..30 {
        net.add_host(&format!("host{number}")).build();
    }
    refused(|| drop(typo()), &["host17 and 12 more"]);
}

#[tokio::test(start_paused = true)]
async fn names_and_addresses_that_collide_are_refused() {
    let net = Net::new();
    let a = net.add_host("a").build();
    let add = |name: &str| -> Host { net.add_host(name).build() };
    refused(|| drop(add("a")), &["two nodes named \"a\""]);
    refused(|| drop(net.router("a")), &["two nodes named \"a\""]);
    refused(|| drop(add("hub")), &["two nodes named \"hub\""]);
    refused(|| drop(net.add_host("b").address(a.ip()).build()), &["\"b\" and \"a\" have the same address"]);
    let twice: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    refused(
        || drop(net.add_host("b").address(twice).address(twice).build()),
        &["the same address, 192.0.2.1"],
    );
    for name in ["", "a b", "a:80", "localhost", "LocalHost", "10.0.0.1", "::1", "http://a"] {
        refused(|| drop(net.add_host(name)), &["is no name of a host"]);
        refused(|| drop(net.router(name)), &["is no name of a host"]);
    }
    // What was refused is not there.
    refused(|| drop(net.host("b")), &["no host named \"b\", only a;"]);
    add("b");
    add("db-1.example");
}
