//! What lets other crates' traits meet ropeway's sockets. None of it knows of a simulation but `HostExecutor`.
//!
//! | for | feature | |
//! |---|---|---|
//! | `hyper_util::client::legacy::Client`, `tonic`'s `Endpoint::connect_with_connector` | `hyper` | `HttpConnector` |
//! | `axum::serve` | `axum` | `AxumListener` |
//! | `tonic::transport::Server::serve_with_incoming` | `tonic` | `TonicIncoming` |
//! | HTTP/2 servers of hyper whose handlers open connections | `hyper` | `HostExecutor` |
//!
//! hyper's own connections take a stream in a `hyper_util::rt::TokioIo`, and tokio-rustls takes it as it is.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tonic")]
mod tonic;

#[cfg(feature = "axum")]
pub use self::axum::AxumListener;
#[cfg(feature = "hyper")]
pub use self::hyper::{HostExecutor, HttpConnector, HttpStream};
#[cfg(feature = "tonic")]
pub use self::tonic::{TonicIncoming, TonicStream};
