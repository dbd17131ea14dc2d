//! Fast Open (RFC 7413): data in a SYN. keys: a server's cookies · queue: how many of its connections may wait for their
//! third segment · cache: the cookies that servers gave us · black_hole: paths that swallow such SYNs.

pub(crate) mod black_hole;
pub(crate) mod cache;
pub(crate) mod keys;
pub(crate) mod queue;

use ropeway_packet::FastOpen as Cookie;

use self::black_hole::BlackHole;
use self::cache::CookieCache;
use self::keys::FastOpenKeys;
use crate::event::ListenerId;
use crate::time::Timestamp;

/// What a stack knows of Fast Open, for all connections.
#[derive(Clone, Debug)]
pub(crate) struct Knowledge {
    pub(crate) keys: FastOpenKeys,
    pub(crate) cookies: CookieCache,
    pub(crate) black_hole: BlackHole,
}

/// Why data did not go with the SYN, or not to its end (Linux's `tcpi_fastopen_client_fail`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FastOpenFailure {
    /// It did, or was not asked to.
    #[default]
    None,
    /// There was no cookie (`TFO_COOKIE_UNAVAILABLE`).
    CookieUnavailable,
    /// The server has acknowledged the SYN, but not all data in it (`TFO_DATA_NOT_ACKED`).
    DataNotAcked,
    /// The same, and a SYN without data was sent after it (`TFO_SYN_RETRANSMITTED`).
    SynRetransmitted,
}

/// What a connection has to do with Fast Open.
#[derive(Clone, Debug)]
pub(crate) enum FastOpen {
    Client(Client),
    Server(Server),
}

/// The client's side of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// The option of the first SYN.
    pub(crate) option: Option<Cookie>,
    /// How many bytes of data go with the first SYN.
    pub(crate) len: u32,
    pub(crate) failure: FastOpenFailure,
    /// The SYN-ACK has acknowledged all of them.
    pub(crate) acked: bool,
    /// It has acknowledged some of them: the server takes data with a SYN.
    pub(crate) taken: bool,
    /// The path seems to swallow what Fast Open sends.
    pub(crate) black_hole: bool,
}

/// The server's side of one that began with data before the third segment, or could have.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) listener: ListenerId,
    /// The option of the first SYN-ACK.
    pub(crate) option: Option<Cookie>,
    /// There was data in the SYN.
    pub(crate) syn_data: bool,
    /// When the SYN-ACK was sent, if it was sent once.
    pub(crate) answered_at: Option<Timestamp>,
    /// It counts among those of its listener whose handshake is not complete.
    pub(crate) pending: bool,
    /// The peer has reset it before its handshake was complete.
    pub(crate) reset: bool,
}

/// What a client goes by when it makes its SYN.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt {
    /// The option: a cookie, or the request for one.
    pub(crate) option: Option<Cookie>,
    /// The MSS that the server announced the last time.
    pub(crate) mss: Option<u16>,
    /// Data may go with it.
    pub(crate) data: bool,
    pub(crate) failure: FastOpenFailure,
}

/// What the stack learns when a handshake is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A server has answered our SYN.
    Answered(Answered),
    /// A connection of this listener waits for its third segment no more.
    Complete(ListenerId),
}

/// What a server's SYN-ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The cookie that is good from now on.
    pub(crate) cookie: Option<Cookie>,
    /// The MSS that it announced.
    pub(crate) mss: Option<u16>,
    /// No data in our SYN was acknowledged, or our option was not heard of, and there is no new cookie for the next time.
    pub(crate) refused: bool,
    /// A request for a cookie was not understood. Of that kind: experimental, or not.
    pub(crate) ignored: Option<bool>,
}
