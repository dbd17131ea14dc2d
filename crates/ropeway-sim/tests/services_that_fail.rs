//! Tasks of hosts that end with an `Err` or a panic: the test fails, unless it knows of that, or does not care.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod common;

use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use common::{assert_has, failure_of, run};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Net, Segments, TaskError, TcpFlags};
use tokio::task::{LocalSet, yield_now};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn misconfigured() -> io::Result<()> {
    sleep(Duration::from_millis(7)).await;
    Err(io::Error::other("config missing"))
}

#[derive(Debug)]
enum ServiceError {
    Start(io::Error),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service cannot start")
    }
}

impl Error for ServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let Self::Start(error) = self;
        Some(error)
    }
}

#[test]
fn a_service_that_ends_with_an_error_fails_the_test() {
    let text = failure_of(async {
        let net = Net::new();
        net.add_host("server").build().spawn(misconfigured());
        sleep(SECOND).await;
        // All that the client sees.
        let refused = net.add_host("client").build().run(TcpStream::connect("server:80")).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_has(
            &net.log(),
            &["7.000  server: the task spawned at", "ended with an error: config missing"],
        );
    });
    assert_has(
        &text,
        &[
            "at 7.000 ms, server: the task spawned at crates/ropeway-sim/tests/services_that_fail.rs:",
            "config missing",
        ],
    );
}

#[test]
fn an_error_is_told_with_what_caused_it() {
    let boxed = async {
        Err::<(), Box<dyn Error + Send + Sync>>(
            ServiceError::Start(io::Error::other("config missing")).into(),
        )
    };
    let text = failure_of(async {
        let net = Net::new();
        net.add_host("server").build().spawn(boxed);
        sleep(SECOND).await;
    });
    assert_has(&text, &["an error: the service cannot start: config missing"]);
    let text = failure_of(async {
        let net = Net::new();
        net.add_host("server")
            .build()
            .on_boot(|| async { Err::<(), _>(ServiceError::Start(io::Error::other("config missing"))) });
        sleep(SECOND).await;
    });
    assert_has(&text, &["server: the on_boot service of", "Start", "config missing"]);
}

#[test]
fn a_service_that_panics_fails_the_test() {
    for boots in [false, true] {
        let text = failure_of(async {
            let net = Net::new();
            let host = net.add_host("server").build();
            let serve = || async {
                yield_now().await;
                assert_eq!(6 * 7, 41, "what is the question?");
            };
            if boots {
                host.on_boot(serve);
            } else {
                host.spawn(serve());
            }
            sleep(SECOND).await;
        });
        assert_has(&text, &["server: the ", "ended with a panic: ", "what is the question?"]);
    }
}

#[test]
fn a_service_fails_the_second_time_it_starts() {
    let text = failure_of(async {
        let net = Net::new();
        let host = net.add_host("server").build();
        let mut boots = 0;
        host.on_boot(move || {
            boots += 1;
            let boots = boots;
            async move { if boots < 2 { std::future::pending().await } else { Err::<(), _>("disk full") } }
        });
        sleep(SECOND).await;
        host.restart();
        sleep(SECOND).await;
    });
    assert_has(&text, &["at 1000.000 ms, server: the on_boot service", "disk full"]);
}

#[test]
fn an_error_that_the_test_has_seen_or_tolerates_is_none() {
    run(async {
        let net = Net::new();
        let host = net.add_host("server").build();
        assert!(host.spawn(misconfigured()).await.unwrap().is_err());
        let panicked = host.spawn(async { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(TaskError::Failed(error)) if error.is_panic()));
        host.spawn(misconfigured()).tolerate();
        host.spawn(async { panic!("on purpose") }).tolerate();
        host.on_boot(misconfigured).tolerate();
        // The host's end is nobody's failure, nor is what was aborted.
        host.spawn(async { TcpListener::bind("0.0.0.0:80").await?.accept().await });
        host.spawn(misconfigured()).abort();
        sleep(SECOND).await;
        host.restart();
        sleep(SECOND).await;
        let log = net.log();
        assert_eq!(log.matches("config missing").count(), 4, "{log}");
        assert_eq!(log.matches("on purpose").count(), 2, "{log}");
        // By the way: no error, but perhaps too early.
        net.add_host("other").build().on_boot(|| async {});
        yield_now().await;
        assert_has(&net.log(), &["other: the on_boot service of", "ended\n"]);
    })
    .unwrap();
}

#[test]
fn to_wait_for_a_while_is_not_to_have_seen_the_error() {
    let text = failure_of(async {
        let net = Net::new();
        let task = net.add_host("server").build().spawn(misconfigured());
        assert!(timeout(Duration::from_millis(1), task).await.is_err());
        sleep(SECOND).await;
    });
    assert_has(&text, &["config missing"]);
}

#[test]
fn tasks_of_a_thread_are_tasks_too() {
    let text = failure_of(async {
        let net = Net::new();
        let host = net.add_host("server").build();
        let set = LocalSet::new();
        set.run_until(async {
            let rc = Rc::new("config missing");
            host.spawn_local(async move { Err::<(), _>(*rc) });
            sleep(SECOND).await;
        })
        .await;
    });
    assert_has(&text, &["server: the task spawned at", "config missing"]);
}

#[test]
fn an_error_of_a_child_is_its_parents_business_and_a_panic_is_not() {
    for panics in [false, true] {
        let run = run(async move {
            let net = Net::new();
            net.add_host("server").build().spawn(async move {
                ropeway_sim::spawn(async move {
                    assert!(!panics, "on purpose");
                    Err::<(), _>("the connection was reset")
                });
                sleep(SECOND).await;
            });
            sleep(SECOND).await;
        });
        assert_eq!(run.is_err(), panics);
    }
}

#[test]
fn a_network_that_a_task_keeps_fails_the_test_as_well() {
    // The last handle is dropped as the runtime ends, in a task that is.
    let text = failure_of(async {
        let net = Net::new();
        let host = net.add_host("server").build();
        host.spawn(misconfigured());
        let kept = net.clone();
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        host.spawn({
            let host = host.clone();
            async move {
                std::future::pending::<()>().await;
                drop(host);
            }
        });
        sleep(SECOND).await;
    });
    assert_has(&text, &["config missing"]);
    // Likewise by a task that ends, and for what was expected.
    let text = failure_of(async {
        let net = Net::new();
        net.add_host("server").build();
        net.expect(Segments::new().flags(TcpFlags::SYN));
        tokio::spawn(async move { drop(net) }).await.unwrap();
        sleep(SECOND).await;
    });
    assert_has(&text, &["expected at least 1 times"]);
}

#[test]
fn a_test_that_fails_by_itself_panics_once() {
    let text = failure_of(async {
        let net = Net::new();
        net.add_host("server").build().spawn(misconfigured());
        sleep(SECOND).await;
        panic!("by itself");
    });
    assert_eq!(text, "by itself");
}
