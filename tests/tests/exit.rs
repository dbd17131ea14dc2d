//! A program that ends while its connections to the kernel are open: the kernel is told.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read};
use std::net::TcpListener as KernelListener;
use std::thread;
use std::time::Duration;

use ropeway::net::TcpStream;
use ropeway_tests::link::{Family, Link};
use ropeway_tests::over_both_families;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Builder;

over_both_families! {
    what_fits_the_windows_arrives_with_the_end_of_the_stream
    what_does_not_fit_ends_with_a_reset
    an_idle_connection_ends_with_a_fin
    all_arrives_after_a_shutdown
}

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It returns from `main`, and its stream is dropped before the runtime.
    Returns,
    /// The runtime goes first.
    KeepsTheStream,
    /// All has been acknowledged by then.
    WaitsForAcknowledgement,
    /// It shuts the stack down.
    ShutsDown,
}

/// What the kernel reads from a program that writes so much and ends; and the error behind it, if there is one.
fn read_from_a_program(
    family: Family,
    bytes: usize,
    end: End,
    multi_thread: bool,
) -> (usize, Option<ErrorKind>) {
    let mut builder = if multi_thread { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.enable_all().build().unwrap();
    let (kernel, kept) = runtime.block_on(async {
        let link = Link::new(family);
        let listener = KernelListener::bind(link.kernel(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let kernel = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received);
            (received.len(), end.err().map(|error| error.kind()))
        });
        let mut stream = TcpStream::connect_on(&link.stack, address).await.unwrap();
        stream.write_all(&vec![7; bytes]).await.unwrap();
        match end {
            End::Returns => return (kernel, None),
            End::KeepsTheStream => {}
            End::WaitsForAcknowledgement => {
                while stream.info().unwrap().bytes_acked < bytes as u64 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            End::ShutsDown => link.stack.shutdown(Duration::from_secs(60)).await.unwrap(),
        }
        (kernel, Some(stream))
    });
    drop(runtime);
    drop(kept);
    kernel.join().unwrap()
}

/// The same with both kinds of runtimes, on a thread of its own in the test's namespace.
async fn read_from_programs(family: Family, bytes: usize, end: End) -> [(usize, Option<ErrorKind>); 2] {
    let read = move |multi_thread| read_from_a_program(family, bytes, end, multi_thread);
    [false, true].map(|multi_thread| thread::spawn(move || read(multi_thread)).join().unwrap())
}

async fn what_fits_the_windows_arrives_with_the_end_of_the_stream(family: Family) {
    for read in read_from_programs(family, 10_000, End::Returns).await {
        assert_eq!(read, (10_000, None));
    }
}

async fn what_does_not_fit_ends_with_a_reset(family: Family) {
    for end in [End::Returns, End::KeepsTheStream] {
        for (len, error) in read_from_programs(family, 300_000, end).await {
            assert!(len >= 10_000, "{len}");
            // A driver with a thread of its own may have been faster than the end of the program.
            assert!(len == 300_000 || error == Some(ErrorKind::ConnectionReset), "{len} {error:?}");
        }
    }
}

async fn an_idle_connection_ends_with_a_fin(family: Family) {
    for read in read_from_programs(family, 300_000, End::WaitsForAcknowledgement).await {
        assert_eq!(read, (300_000, None));
    }
}

async fn all_arrives_after_a_shutdown(family: Family) {
    for read in read_from_programs(family, 3_000_000, End::ShutsDown).await {
        assert_eq!(read, (3_000_000, None));
    }
}
