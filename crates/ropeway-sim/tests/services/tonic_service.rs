//! tonic: a service written by hand, with a codec of plain text, since nothing is generated here.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use ropeway::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::util::MapFutureLayer;

use super::{MS, SECS, clean, troubled};
use ropeway_sim::adapters::{HttpConnector, TonicIncoming};

/// Messages that are text.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::invalid_argument("not UTF-8"))
    }
}

/// What tonic-build would make of `service Greeter { rpc Greet (Text) returns (Text); }`.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "Greeter";
}

impl UnaryService<String> for Greeter {
    type Response = String;
    type Future = BoxFuture<Response<String>, Status>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(format!("hello, {}", request.into_inner()))) })
    }
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(tonic::server::Grpc::new(Text).unary(Greeter, request).await) })
    }
}

/// Asks the next greeter, by a connection of its own for each call.
#[derive(Clone)]
struct Relay;

impl NamedService for Relay {
    const NAME: &'static str = "Greeter";
}

impl UnaryService<String> for Relay {
    type Response = String;
    type Future = BoxFuture<Response<String>, Status>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move { greet(&channel(), &request.into_inner()).await.map(Response::new) })
    }
}

impl Service<http::Request<Body>> for Relay {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(tonic::server::Grpc::new(Text).unary(Relay, request).await) })
    }
}

async fn serve() -> io::Result<()> {
    let incoming = TonicIncoming(TcpListener::bind("0.0.0.0:80").await?);
    Server::builder().add_service(Greeter).serve_with_incoming(incoming).await.map_err(io::Error::other)
}

/// tonic runs each call in a task that a task of this host spawns: so the layer takes the host along.
async fn serve_relay() -> io::Result<()> {
    let host = ropeway_sim::Host::current()?;
    let incoming = TonicIncoming(TcpListener::bind("0.0.0.0:80").await?);
    Server::builder()
        .layer(MapFutureLayer::new(move |call| host.run(call)))
        .add_service(Relay)
        .serve_with_incoming(incoming)
        .await
        .map_err(io::Error::other)
}

fn channel() -> Channel {
    Endpoint::from_static("http://greeter")
        .timeout(SECS(5))
        .http2_keep_alive_interval(SECS(2))
        .keep_alive_timeout(SECS(4))
        .connect_with_connector_lazy(HttpConnector)
}

async fn greet(channel: &Channel, name: &str) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/Greeter/Greet");
    Ok(client.unary(Request::new(name.to_owned()), path, Text).await?.into_inner())
}

#[tokio::test(start_paused = true)]
async fn calls() {
    for net in [clean, troubled] {
        let net = net();
        net.add_host("greeter").build().spawn(serve());
        net.add_host("guest")
            .build()
            .run(async {
                let channel = channel();
                let calls: Vec<_> = (0..50)
                    .map(|number| {
                        let channel = channel.clone();
                        tokio::spawn(async move { greet(&channel, &format!("guest {number}")).await })
                    })
                    .collect();
                for (number, call) in calls.into_iter().enumerate() {
                    assert_eq!(call.await.unwrap().unwrap(), format!("hello, guest {number}"));
                }
            })
            .await;
        assert_eq!(net.host("guest").stack().counters().active_opens, 1);
        drop(net);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_make_calls() {
    let net = clean();
    net.add_host("greeter").build().spawn(serve());
    net.add_host("relay").build().spawn(serve_relay());
    net.add_host("guest")
        .build()
        .run(async {
            let channel = Endpoint::from_static("http://relay").connect_with_connector_lazy(HttpConnector);
            assert_eq!(greet(&channel, "Ann").await.unwrap(), "hello, Ann");
            assert_eq!(greet(&channel, "Bob").await.unwrap(), "hello, Bob");
        })
        .await;
    assert_eq!(net.host("relay").stack().counters().active_opens, 2);
}

#[tokio::test(start_paused = true)]
async fn a_channel_reconnects_after_a_crash() {
    let net = clean();
    let greeter = net.add_host("greeter").build();
    greeter.on_boot(serve);
    let guest = net.add_host("guest").build();
    let channel = guest.run(async { channel() }).await;
    assert_eq!(guest.run(greet(&channel, "Ann")).await.unwrap(), "hello, Ann");
    greeter.crash();
    assert!(guest.run(greet(&channel, "Bob")).await.is_err());
    greeter.restart();
    let mut tries = 0;
    while guest.run(greet(&channel, "Eve")).await.is_err() {
        tries += 1;
        assert!(tries < 10);
        tokio::time::sleep(MS(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_reconnects_after_a_cut() {
    let net = clean();
    let greeter = net.add_host("greeter").build();
    greeter.spawn(serve());
    let guest = net.add_host("guest").build();
    let channel = guest.run(async { channel() }).await;
    assert_eq!(guest.run(greet(&channel, "Ann")).await.unwrap(), "hello, Ann");
    greeter.link().update(|pipe| pipe.up = false);
    let lost = guest.run(greet(&channel, "Bob")).await.unwrap_err();
    assert!(matches!(lost.code(), tonic::Code::Cancelled | tonic::Code::DeadlineExceeded), "{lost:?}");
    // The keep-alive gives up the connection.
    tokio::time::sleep(SECS(10)).await;
    greeter.link().update(|pipe| pipe.up = true);
    let mut tries = 0;
    while guest.run(greet(&channel, "Eve")).await.is_err() {
        tries += 1;
        assert!(tries < 10);
        tokio::time::sleep(MS(500)).await;
    }
    assert!(guest.stack().counters().active_opens > 1);
}
