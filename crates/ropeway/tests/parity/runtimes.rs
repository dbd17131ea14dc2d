//! Sockets and the runtimes that they are used in.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Runtime, is_rt_shutdown_err};

use super::common::pair;
use super::net::TcpListener;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The example in Tokio's documentation.
#[test]
fn a_listener_whose_runtime_is_gone() {
    let (one, two) = (runtime(), runtime());
    let listener = one.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    drop(one);
    let error = two.block_on(listener.accept()).unwrap_err();
    assert!(is_rt_shutdown_err(&error), "{error:?}");
}

#[test]
fn a_stream_whose_runtime_is_gone() {
    let (one, two) = (runtime(), runtime());
    let (mut client, server) = one.block_on(pair());
    drop(one);
    two.block_on(async {
        let gone = |error| assert!(is_rt_shutdown_err(&error), "{error:?}");
        gone(client.read(&mut [0]).await.unwrap_err());
        gone(client.write(&[0]).await.unwrap_err());
        gone(client.peek(&mut [0]).await.unwrap_err());
        gone(client.readable().await.unwrap_err());
        gone(client.writable().await.unwrap_err());
        let (mut read, mut write) = server.into_split();
        gone(read.read(&mut [0]).await.unwrap_err());
        gone(write.write(&[0]).await.unwrap_err());
    });
}
