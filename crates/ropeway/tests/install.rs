//! The default stack of the process: one test, because there is one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::ErrorKind;

use ropeway::Stack;
use ropeway::net::TcpListener;

#[test]
fn one_for_the_process() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (one, two) = (runtime(), runtime());
    let stack = one.block_on(async { Stack::loopback().unwrap() });
    stack.install().unwrap();
    assert_eq!(Stack::current().unwrap(), stack);
    // In every thread and runtime.
    two.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(listener.stack(), &stack);
        let other = Stack::loopback().unwrap();
        assert_eq!(other.install().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(other.scope(async { Stack::current().unwrap() }).await, other);
        assert_eq!(Stack::current().unwrap(), stack);
    });
    // One that has ended makes room.
    drop(one);
    two.block_on(async {
        let other = Stack::loopback().unwrap();
        other.install().unwrap();
        assert_eq!(Stack::current().unwrap(), other);
    });
}
