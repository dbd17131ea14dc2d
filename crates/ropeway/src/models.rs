//! What becomes of tasks and drivers that meet at the locks in any order: shuttle decides who goes on at each of them, and
//! calls it a deadlock when everyone waits. Time stands still here, so no timer makes up for a wakeup that is lost.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use shuttle::Runner;
use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Handle};

use crate::device::memory;
use crate::net::{TcpListener, TcpStream, UdpSocket};
use crate::stack::Stack;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// So many orders of each model are tried.
const ORDERS: usize = 800;
/// In half of them, turns change so many times beyond what waiting forces: most faults take no more.
const CHANGES: usize = 3;

/// What a task may use of a stack, in bytes.
const STACK: usize = 1 << 20;

/// Runs a model in many orders: by chance, and with few changes of turns (PCT), over a cable that mostly has no room and over one
/// that always has.
fn in_many_orders<F: Future<Output = ()>>(model: impl Fn(Cable) -> F + Copy + Send + Sync + 'static) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    for packets in [1, 64] {
        let run = move || block_on(Cable::run(packets, model));
        let mut config = shuttle::Config::new();
        config.stack_size = STACK;
        Runner::new(RandomScheduler::new(ORDERS / 4), config.clone()).run(run);
        Runner::new(PctScheduler::new(CHANGES, ORDERS / 4), config).run(run);
    }
}

/// Two stacks, and a cable between them.
#[derive(Clone)]
struct Cable {
    client: Stack,
    server: Stack,
}

impl Cable {
    /// Runs a model over a cable that holds so many packets. When it is done with its stacks, their drivers end.
    async fn run<F: Future<Output = ()>>(packets: usize, model: impl FnOnce(Self) -> F) {
        let (left, right) = memory::pair_with_capacity(1500, packets);
        let (client, client_driver) = stack(CLIENT, left);
        let (server, server_driver) = stack(SERVER, right);
        let drivers = [spawn(client_driver), spawn(server_driver)];
        model(Self { client, server }).await;
        for driver in drivers {
            driver.await.unwrap();
        }
    }

    async fn listener(&self) -> TcpListener {
        TcpListener::bind_on(&self.server, SocketAddr::new(SERVER, 80)).await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect_on(&self.client, SocketAddr::new(SERVER, 80)).await.unwrap()
    }
}

fn stack(address: IpAddr, device: memory::MemoryDevice) -> (Stack, crate::driver::Driver) {
    let builder =
        Stack::builder().address(ropeway_core::IpCidr::new(address, 24)).seed([7; 32]).device(device);
    let (stack, mut drivers) = builder.build_with_drivers(&Handle::current(), None).unwrap();
    (stack, drivers.pop().unwrap())
}

async fn all(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn a_request_is_answered_and_both_ends_close() {
    in_many_orders(async |cable: Cable| {
        let listener = cable.listener().await;
        let server = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&request).await.unwrap();
        });
        let client = spawn(async move {
            let mut stream = cable.connect().await;
            stream.write_all(b"ping").await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"ping");
        });
        all([server, client]).await;
    });
}

#[test]
fn the_halves_of_a_stream_belong_to_different_tasks() {
    const MUCH: usize = 40_000;
    in_many_orders(async |cable: Cable| {
        let listener = cable.listener().await;
        let end = |stream: TcpStream| {
            let (mut reader, mut writer) = stream.into_split();
            let writer = spawn(async move {
                writer.write_all(&[7; MUCH]).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let reader = spawn(async move {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, [7; MUCH]);
            });
            all([writer, reader])
        };
        let server = spawn(async move { end(listener.accept().await.unwrap().0).await });
        let client = spawn(async move { end(cable.connect().await).await });
        all([server, client]).await;
    });
}

#[test]
fn each_of_two_who_accept_gets_a_connection() {
    in_many_orders(async |cable: Cable| {
        let listener = Arc::new(cable.listener().await);
        let accept = |_| {
            let listener = Arc::clone(&listener);
            spawn(async move { drop(listener.accept().await.unwrap()) })
        };
        let servers: Vec<_> = (0..2).map(accept).collect();
        drop(listener);
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let cable = cable.clone();
                spawn(async move { drop(cable.connect().await) })
            })
            .collect();
        drop(cable);
        all(servers.into_iter().chain(clients)).await;
    });
}

#[test]
fn datagrams_find_whoever_waits_and_a_full_cable_forgets_no_sender() {
    const MANY: usize = 6;
    in_many_orders(async |cable: Cable| {
        let to = SocketAddr::new(SERVER, 53);
        let server = Arc::new(UdpSocket::bind_on(&cable.server, to).await.unwrap());
        let receive = |_| {
            let server = Arc::clone(&server);
            spawn(async move {
                let mut buf = [0; 1000];
                for _ in 0..MANY {
                    assert_eq!(server.recv(&mut buf).await.unwrap(), 800);
                }
            })
        };
        let receivers: Vec<_> = (0..2).map(receive).collect();
        drop(server);
        let client = UdpSocket::bind_on(&cable.client, SocketAddr::new(CLIENT, 0)).await.unwrap();
        client.set_send_buffer_size(2304).unwrap();
        let client = Arc::new(client);
        let send = |_| {
            let client = Arc::clone(&client);
            spawn(async move {
                for _ in 0..MANY {
                    client.send_to(&[7; 800], to).await.unwrap();
                }
            })
        };
        let senders: Vec<_> = (0..2).map(send).collect();
        drop((client, cable));
        all(receivers.into_iter().chain(senders)).await;
    });
}
