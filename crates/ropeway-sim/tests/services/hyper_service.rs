//! hyper, with HTTP/1.1 and HTTP/2, and hyper-util's pooling client.

use std::convert::Infallible;
use std::io;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::Net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::{SECS, body, clean, troubled};
use ropeway_sim::adapters::{HostExecutor, HttpConnector};

/// Answers with the length of what it was sent, and then with all of it.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::builder().header("x-length", body.len()).body(Full::new(body)).unwrap())
}

async fn serve_http1() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
    }
}

async fn serve_http2() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let server = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(echo)));
    }
}

/// Posts `requests` bodies at once with the pooling client, and checks the answers.
async fn post(requests: usize, len: usize, http2: bool) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .build(HttpConnector);
    let posts: Vec<_> = (0..requests)
        .map(|number| {
            let sent = Bytes::from(body(len + number));
            let request = Request::post("http://web/echo").body(Full::new(sent.clone())).unwrap();
            let client = client.clone();
            tokio::spawn(async move {
                let answer = client.request(request).await.unwrap();
                assert_eq!(answer.headers()["x-length"], sent.len().to_string().as_str());
                assert!(answer.into_body().collect().await.unwrap().to_bytes() == sent);
            })
        })
        .collect();
    for post in posts {
        post.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn http1_on_a_clean_network() {
    let net = clean();
    net.add_host("web").build().spawn(serve_http1());
    let start = Instant::now();
    net.add_host("browser").build().run(post(1, 10, false)).await;
    assert_eq!(start.elapsed().as_millis(), 80, "a round trip for the handshake, one for the request");
    net.host("browser").run(post(8, 30_000, false)).await;
}

#[tokio::test(start_paused = true)]
async fn http2_on_a_clean_network() {
    let net = clean();
    net.add_host("web").build().spawn(serve_http2());
    net.add_host("browser").build().run(post(20, 30_000, true)).await;
    let connections = net.host("browser").stack().counters().active_opens;
    assert_eq!(connections, 1, "all requests share a connection");
}

#[tokio::test(start_paused = true)]
async fn both_on_a_troubled_network() {
    let net = troubled();
    net.add_host("web").build().spawn(serve_http1());
    net.add_host("browser").build().run(post(8, 50_000, false)).await;
    assert!(net.host("browser").stack().counters().tcp_retransmitted > 0);
    drop(net);
    let net = troubled();
    net.add_host("web").build().spawn(serve_http2());
    net.add_host("browser").build().run(post(20, 20_000, true)).await;
    assert!(net.host("browser").stack().counters().tcp_retransmitted > 0);
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_crash_cut_short_fail_and_later_ones_do_not() {
    let net = clean();
    let web = net.add_host("web").build();
    web.on_boot(serve_http1);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .build(HttpConnector);
    let get = || Request::post("http://web/").body(Full::new(Bytes::from(body(400_000)))).unwrap();
    let browser = net.add_host("browser").build();
    assert!(browser.run(client.request(get())).await.is_ok());
    let cut_short = browser.spawn(client.request(get()));
    tokio::time::sleep(SECS(1) / 20).await;
    web.crash();
    tokio::time::sleep(SECS(1)).await;
    assert!(!cut_short.is_finished(), "nobody tells the client");
    web.restart();
    // The next retransmission meets a host that knows nothing of the connection.
    assert!(cut_short.await.unwrap().is_err());
    assert!(browser.run(client.request(get())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_survives_a_cut() {
    let net = clean();
    net.add_host("web").build().spawn(serve_http2());
    let browser = net.add_host("browser").build();
    let request = browser.spawn(post(4, 2_000_000, true));
    tokio::time::sleep(SECS(1) / 5).await;
    browser.link().update(|pipe| pipe.up = false);
    tokio::time::sleep(SECS(20)).await;
    assert!(!request.is_finished());
    browser.link().update(|pipe| pipe.up = true);
    timeout(SECS(60), request).await.expect("goes on within the backed-off timeout").unwrap();
}

/// A gateway that asks another host for each request.
async fn relay(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = async {
        let mut stream = TcpStream::connect("time:13").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = answer.await.unwrap_or_else(|error| error.to_string());
    Ok(Response::new(Full::new(text.into())))
}

async fn serve_gateway<E>(executor: E) -> io::Result<()>
where
    E: hyper::rt::bounds::Http2ServerConnExec<
            std::pin::Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>,
            Full<Bytes>,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let server = http2::Builder::new(executor.clone());
        let service = service_fn(|request| {
            Box::pin(relay(request))
                as std::pin::Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>
        });
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

/// What the gateway on `net` answers.
async fn ask_gateway(net: &Net) -> String {
    net.add_host("time").build().spawn(async {
        let listener = TcpListener::bind("0.0.0.0:13").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(b"noon").await?;
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });
    net.add_host("browser")
        .build()
        .run(async {
            let stream = TcpStream::connect("web:80").await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            TokioExecutor::new().execute(connection);
            let request = Request::get("http://web/").body(Full::<Bytes>::default()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(text.to_vec()).unwrap()
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_http2_that_connects() {
    let net = clean();
    net.add_host("web").build().spawn(serve_gateway(HostExecutor));
    assert_eq!(ask_gateway(&net).await, "noon");
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_http2_that_connects_in_a_task_of_no_host_is_told() {
    let net = clean();
    net.add_host("web").build().spawn(serve_gateway(TokioExecutor::new()));
    let answer = ask_gateway(&net).await;
    assert!(answer.contains("belongs to no host") && answer.contains("ropeway_sim::spawn"), "{answer}");
}
