//! hyper, which knows nothing of ropeway, over it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::{Net, SERVER, pattern};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ropeway::net::TcpStream;

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::builder().header("path", path).body(Full::new(body)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses() {
    let net = Net::new();
    let listener = net.listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let builder = hyper::server::conn::http1::Builder::new();
        builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await
    });
    let stream = TcpStream::connect_on(&net.left, SERVER).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for len in [0, 1, 1448, 1_000_000] {
        let body = Bytes::from(pattern(len));
        let request = Request::post(format!("/{len}")).header("host", "peak").body(Full::new(body.clone()));
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.headers().get("path").unwrap(), &format!("/{len}"));
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
    }
    drop(sender);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
    net.expect_empty().await;
}
