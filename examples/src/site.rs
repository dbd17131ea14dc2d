//! The web site that the examples serve and fetch: a page, and as many bytes as one likes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};

const PAGE: &str = include_str!("page.html");

/// What a large body consists of, over and over.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u64;
    let mut next = || {
        // xorshift64 (Marsaglia)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..8 * 1024).flat_map(|_| next()).collect()
});

/// An HTTP server for one connection after the other, on whatever carries them.
#[derive(Clone, Debug, Default)]
pub struct Site {
    last_digest: Arc<Mutex<Option<String>>>,
}

impl Site {
    /// Serves one connection until it ends. `GET /` gives a page, `GET /bytes/N` gives N bytes, and HEAD tells of them.
    ///
    /// # Errors
    ///
    /// When the connection ends otherwise than HTTP/1.1 has it.
    pub async fn serve<S>(self, stream: S) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let response = self.answer(&request);
            async { Ok::<_, Infallible>(response) }
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    }

    /// The SHA-256 of the last body that was sent to its end.
    #[must_use]
    pub fn last_digest(&self) -> Option<String> {
        self.last_digest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Content> {
        let path = request.uri().path();
        let size = path.strip_prefix("/bytes/").map(str::parse::<u64>);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, kind, block, size) = match (path, size) {
            _ if !reads => page(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are all there is.\n"),
            ("/", _) => page(StatusCode::OK, PAGE),
            (_, Some(Ok(size))) => (StatusCode::OK, "application/octet-stream", BLOCK.clone(), size),
            _ => page(StatusCode::NOT_FOUND, "There is / and there is /bytes/N.\n"),
        };
        let content = Content { block, left: size, digest: Sha256::new(), site: self.clone() };
        let mut response = Response::new(content);
        *response.status_mut() = status;
        let kind = hyper::header::HeaderValue::from_static(kind);
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
        if !reads {
            // RFC 9110 15.5.6
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(hyper::header::ALLOW, allowed);
        }
        response
    }
}

fn page(status: StatusCode, text: &'static str) -> (StatusCode, &'static str, Bytes, u64) {
    let kind =
        if status == StatusCode::OK { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
    (status, kind, Bytes::from_static(text.as_bytes()), text.len() as u64)
}

/// A body: a block that is repeated, and of which no copy is made.
#[derive(Debug)]
struct Content {
    block: Bytes,
    left: u64,
    digest: Sha256,
    site: Site,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = usize::try_from(self.left).map_or(self.block.len(), |left| left.min(self.block.len()));
        let chunk = self.block.slice(..len);
        self.digest.update(&chunk);
        self.left -= len as u64;
        if self.left == 0 {
            let digest = hex(&self.digest.finalize_reset());
            *self.site.last_digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A digest as it is usually written.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
