//! Names that stand for several addresses.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::Stack;

/// What a socket can be told to connect or to bind to: [`tokio::net::ToSocketAddrs`], whose types it is
/// implemented for.
///
/// Names are looked up by the stack's own resolver first
/// ([`Builder::resolver`](crate::Builder::resolver)), and then by the operating system's, on a thread that may
/// block.
///
/// # Examples
///
/// ```
/// use ropeway::net::{TcpListener, ToSocketAddrs};
///
/// async fn listen(addr: impl ToSocketAddrs) -> std::io::Result<u16> {
///     Ok(TcpListener::bind(addr).await?.local_addr()?.port())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// assert_eq!(listen("127.0.0.1:80").await?, 80);
/// assert_eq!(listen((std::net::Ipv6Addr::LOCALHOST, 81)).await?, 81);
/// # Ok(())
/// # }
/// ```
pub trait ToSocketAddrs: sealed::Targets {}

/// Looks addresses up, as [`tokio::net::lookup_host`] does, with the resolver of the current stack first.
///
/// # Errors
///
/// That of the resolver; [`InvalidInput`](io::ErrorKind::InvalidInput) for what has no port.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn lookup_host<T: ToSocketAddrs>(host: T) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let target = host.target(sealed::Internal);
    let stack = match target {
        Target::Addrs(_) => None,
        Target::Name(..) | Target::Text(_) => Stack::current(),
    };
    Ok(resolve(stack.as_ref(), target).await?.into_iter())
}

/// Tries one address after the other, until one succeeds. The last error wins.
pub(crate) async fn try_each<R, F>(
    stack: &Stack,
    addr: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> F,
) -> io::Result<R>
where
    F: Future<Output = io::Result<R>>,
{
    let target = addr.target(sealed::Internal);
    let mut last_error = None;
    for addr in resolve(Some(stack), target).await? {
        match attempt(addr).await {
            Ok(result) => return Ok(result),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address")))
}

/// The first address.
pub(crate) async fn resolved(stack: &Stack, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let found = resolve(Some(stack), addr.target(sealed::Internal)).await?;
    found
        .first()
        .copied()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"))
}

async fn resolve(stack: Option<&Stack>, target: Target) -> io::Result<Vec<SocketAddr>> {
    let own = |name: &str, port| match stack.and_then(|stack| stack.resolve(name)) {
        Some(Ok(addresses)) => {
            Ok(Some(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()))
        }
        Some(Err(error)) => Err(error),
        None => Ok(None),
    };
    match target {
        Target::Addrs(addrs) => Ok(addrs),
        Target::Name(name, port) => match own(&name, port)? {
            Some(addrs) => Ok(addrs),
            None => Ok(tokio::net::lookup_host((name, port)).await?.collect()),
        },
        Target::Text(text) => {
            let parts = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
            let found = parts.map_or(Ok(None), |(name, port)| own(name, port))?;
            match found {
                Some(addrs) => Ok(addrs),
                None => Ok(tokio::net::lookup_host(text).await?.collect()),
            }
        }
    }
}

/// What was asked for, as an owned value.
#[doc(hidden)]
#[derive(Debug)]
pub enum Target {
    /// Addresses as they are.
    Addrs(Vec<SocketAddr>),
    /// A name and a port.
    Name(String, u16),
    /// A text that is not an address; probably a name, a colon, and a port.
    Text(String),
}

/// What keeps others from implementing [`ToSocketAddrs`], as tokio does, so that it can change.
mod sealed {
    #[doc(hidden)]
    #[derive(Debug)]
    pub struct Internal;

    #[doc(hidden)]
    pub trait Targets {
        fn target(&self, _: Internal) -> super::Target;
    }
}

/// Implements the trait for a type whose values are turned into a [`Target`] by an expression.
macro_rules! impl_targets {
    ($($type:ty: |$value:ident| $target:expr;)*) => {$(
        impl ToSocketAddrs for $type {}
        impl sealed::Targets for $type {
            fn target(&self, _: sealed::Internal) -> Target {
                let $value = self;
                $target
            }
        }
    )*};
}

impl_targets! {
    SocketAddr: |addr| Target::Addrs(vec![*addr]);
    SocketAddrV4: |addr| Target::Addrs(vec![(*addr).into()]);
    SocketAddrV6: |addr| Target::Addrs(vec![(*addr).into()]);
    (IpAddr, u16): |addr| Target::Addrs(vec![(*addr).into()]);
    (Ipv4Addr, u16): |addr| Target::Addrs(vec![(*addr).into()]);
    (Ipv6Addr, u16): |addr| Target::Addrs(vec![(*addr).into()]);
    &[SocketAddr]: |addrs| Target::Addrs(addrs.to_vec());
    str: |text| text.parse().map_or_else(|_| Target::Text(text.to_owned()), |addr| Target::Addrs(vec![addr]));
    String: |text| text.as_str().target(sealed::Internal);
    (&str, u16): |pair| named(pair.0, pair.1);
    (String, u16): |pair| named(&pair.0, pair.1);
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: sealed::Targets + ?Sized> sealed::Targets for &T {
    fn target(&self, internal: sealed::Internal) -> Target {
        (**self).target(internal)
    }
}

fn named(name: &str, port: u16) -> Target {
    name.parse::<IpAddr>().map_or_else(
        |_| Target::Name(name.to_owned(), port),
        |address| Target::Addrs(vec![SocketAddr::new(address, port)]),
    )
}
