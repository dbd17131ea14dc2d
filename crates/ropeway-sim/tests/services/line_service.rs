//! A store with a protocol of lines, and its client.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use ropeway::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};

use super::{MS, SECS, clean, troubled};

type Store = Arc<Mutex<HashMap<String, String>>>;

async fn serve() -> io::Result<()> {
    let store = Store::default();
    let listener = TcpListener::bind(("0.0.0.0", 6379)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next_line().await? {
                let answer = execute(&store, &line);
                writer.write_all(answer.as_bytes()).await?;
            }
            io::Result::Ok(())
        });
    }
}

fn execute(store: &Store, line: &str) -> String {
    let mut store = store.lock().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["SET", key, value] => {
            store.insert((*key).to_owned(), (*value).to_owned());
            "OK\n".to_owned()
        }
        ["INCR", key] => {
            let value = store.entry((*key).to_owned()).or_insert_with(|| "0".to_owned());
            *value = (value.parse::<u64>().unwrap_or(0) + 1).to_string();
            format!("{value}\n")
        }
        ["GET", key] => store.get(*key).map_or_else(|| "NIL\n".to_owned(), |value| format!("{value}\n")),
        _ => "ERR\n".to_owned(),
    }
}

struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Client {
    async fn connect(host: &str) -> io::Result<Self> {
        let (reader, writer) = TcpStream::connect((host, 6379)).await?.into_split();
        Ok(Self { lines: BufReader::new(reader).lines(), writer })
    }

    async fn call(&mut self, command: &str) -> io::Result<String> {
        self.writer.write_all(format!("{command}\n").as_bytes()).await?;
        self.lines.next_line().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[tokio::test(start_paused = true)]
async fn commands_take_a_round_trip_each() {
    let net = clean();
    net.add_host("store").build().spawn(serve());
    net.add_host("app")
        .build()
        .run(async {
            let mut client = Client::connect("store").await.unwrap();
            let start = tokio::time::Instant::now();
            assert_eq!(client.call("GET a").await.unwrap(), "NIL");
            assert_eq!(client.call("SET a b").await.unwrap(), "OK");
            assert_eq!(client.call("GET a").await.unwrap(), "b");
            assert_eq!(client.call("DROP").await.unwrap(), "ERR");
            assert_eq!(start.elapsed(), MS(160));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_restarts_has_forgotten_all() {
    let net = clean();
    let store = net.add_host("store").build();
    store.on_boot(serve);
    net.add_host("app")
        .build()
        .run(async {
            let mut client = Client::connect("store").await.unwrap();
            assert_eq!(client.call("SET a b").await.unwrap(), "OK");
            store.restart();
            let error = client.call("GET a").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let mut client = Client::connect("store").await.unwrap();
            assert_eq!(client.call("GET a").await.unwrap(), "NIL");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn no_command_is_lost_or_done_twice() {
    let net = troubled();
    let store = net.add_host("store").build();
    store.spawn(serve());
    let apps: Vec<_> = (0..5)
        .map(|number| {
            net.add_host(&format!("app{number}")).build().spawn(async {
                let mut client = Client::connect("store").await.unwrap();
                for _ in 0..50 {
                    client.call("INCR n").await.unwrap();
                }
            })
        })
        .collect();
    // The store is out of reach now and then.
    for _ in 0..5 {
        tokio::time::sleep(SECS(2)).await;
        store.link().update(|pipe| pipe.up = false);
        tokio::time::sleep(MS(300)).await;
        store.link().update(|pipe| pipe.up = true);
    }
    for app in apps {
        app.await.unwrap();
    }
    net.add_host("auditor")
        .build()
        .run(async {
            let mut client = Client::connect("store").await.unwrap();
            assert_eq!(client.call("GET n").await.unwrap(), "250");
        })
        .await;
}
