//! A hundred tests at once, each on a runtime of its own and all on the loopback of the process.

#![allow(clippy::unwrap_used, clippy::panic)]

use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Eight clients of one server, each with a stream of its own bytes.
async fn clients_and_a_server() {
    const LEN: usize = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..8u8)
        .map(|number| {
            tokio::spawn(async move {
                let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
                let writer = tokio::spawn(async move { write.write_all(&[number; LEN]).await });
                let mut back = Vec::new();
                read.read_to_end(&mut back).await.unwrap();
                writer.await.unwrap().unwrap();
                assert!(back.len() == LEN && back.iter().all(|byte| *byte == number));
            })
        })
        .collect();
    for _ in 0..8 {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
    }
    for client in clients {
        client.await.unwrap();
    }
}

macro_rules! tests {
    ($($name:ident)+) => {
        mod current_thread {
            $(#[tokio::test] async fn $name() { super::clients_and_a_server().await; })+
        }
        mod multi_thread {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::clients_and_a_server().await; })+
        }
    };
}

tests! {
    t00 t01 t02 t03 t04 t05 t06 t07 t08 t09 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19 t20 t21 t22 t23 t24
    t25 t26 t27 t28 t29 t30 t31 t32 t33 t34 t35 t36 t37 t38 t39 t40 t41 t42 t43 t44 t45 t46 t47 t48 t49
}
