//! axum, with state, extractors and a handler that calls another service.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use ropeway::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::{MS, SECS, body, clean, troubled};
use ropeway_sim::adapters::{AxumListener, HttpConnector};

type Store = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A key-value store.
async fn store() -> io::Result<()> {
    let app = Router::new().route("/{key}", put(put_value).get(get_value)).with_state(Store::default());
    axum::serve(AxumListener(TcpListener::bind("0.0.0.0:80").await?), app).await
}

async fn put_value(State(store): State<Store>, Path(key): Path<String>, value: Bytes) -> StatusCode {
    store.lock().unwrap().insert(key, value);
    StatusCode::CREATED
}

async fn get_value(State(store): State<Store>, Path(key): Path<String>) -> Result<Bytes, StatusCode> {
    store.lock().unwrap().get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// A front end, which asks the store for each request, and gives up after a second.
async fn front() -> io::Result<()> {
    let app = Router::new().route("/{key}", get(fetch));
    axum::serve(AxumListener(TcpListener::bind("0.0.0.0:80").await?), app).await
}

async fn fetch(Path(key): Path<String>) -> Result<Bytes, StatusCode> {
    match timeout(SECS(1), request("GET", &format!("http://store/{key}"), Bytes::new())).await {
        Ok((status, body)) if status.is_success() => Ok(body),
        Ok((status, _)) => Err(status),
        Err(_) => Err(StatusCode::GATEWAY_TIMEOUT),
    }
}

async fn request(method: &str, uri: &str, body: Bytes) -> (StatusCode, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector);
    let request = Request::builder().method(method).uri(uri).body(Full::new(body)).unwrap();
    let answer = client.request(request).await.unwrap();
    (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_store_behind_a_front_end() {
    for net in [clean, troubled] {
        let net = net();
        net.add_host("store").build().spawn(store());
        net.add_host("front").build().spawn(front());
        let value = Bytes::from(body(5_000));
        net.add_host("user")
            .build()
            .run(async {
                let put = request("PUT", "http://store/answer", value.clone()).await;
                assert_eq!(put.0, StatusCode::CREATED);
                assert_eq!(
                    request("GET", "http://store/question", Bytes::new()).await.0,
                    StatusCode::NOT_FOUND
                );
                // A tenth of all packets lost can cost more than the front end's second.
                while request("GET", "http://front/answer", Bytes::new()).await
                    != (StatusCode::OK, value.clone())
                {
                    sleep(MS(100)).await;
                }
            })
            .await;
        drop(net);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_front_end_cut_off_from_its_store_says_so_in_time() {
    let net = clean();
    let store_host = net.add_host("store").build();
    store_host.spawn(store());
    net.add_host("front").build().spawn(front());
    let user = net.add_host("user").build();
    user.run(request("PUT", "http://store/a", Bytes::from_static(b"1"))).await;
    store_host.link().update(|pipe| pipe.up = false);
    let start = tokio::time::Instant::now();
    let (status, _) = user.run(request("GET", "http://front/a", Bytes::new())).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    // Two round trips of 40 ms, and the front end's patience of a second, from the tick after the first SYN.
    assert_eq!(start.elapsed(), MS(1080));
    store_host.link().update(|pipe| pipe.up = true);
    assert_eq!(
        user.run(request("GET", "http://front/a", Bytes::new())).await,
        (StatusCode::OK, Bytes::from_static(b"1"))
    );
}
