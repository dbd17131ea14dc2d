//! TCP in user space, with the types of `tokio::net`.
#![deny(unsafe_code)]

pub mod device;
