//! `MSG_ZEROCOPY`: the stack keeps what it is given instead of a copy (`send_bytes`), and lets go of it once it is acknowledged.
//! Linux tells of that through the error queue of the socket.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::ast::{Call, Expr};
use super::run::{Runner, Stop};
use super::sockets::Done;

/// `SO_ZEROCOPY`: what was lent to the stack, by the numbers of the calls.
#[derive(Debug, Default)]
pub(super) struct ZeroCopy {
    /// The number of the next call.
    next: u32,
    /// What has come back, and was not asked for yet.
    back: Arc<Mutex<BTreeSet<u32>>>,
    /// How much of that has been told as an event.
    told: usize,
}

/// The bytes of one call. When the stack drops the last part of them, they are back.
struct Lent {
    bytes: Vec<u8>,
    number: u32,
    back: Arc<Mutex<BTreeSet<u32>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.back.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number);
    }
}

impl ZeroCopy {
    /// Lends the bytes of a call. Only one that [`took`](Self::took) any has a number of its own.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, number: self.next, back: Arc::clone(&self.back) })
    }

    /// The call that has lent its bytes last has taken some, or failed and asks for none to be told of.
    pub(super) fn took(&mut self, any: bool) {
        if any {
            self.next += 1;
        } else {
            self.back().remove(&self.next);
        }
    }

    fn back(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_news(&self) -> bool {
        !self.back().is_empty()
    }

    /// Whether more has come back since this was asked last.
    pub(super) fn take_event(&mut self) -> bool {
        let count = self.back().len();
        count > mem::replace(&mut self.told, count)
    }

    /// The first calls that came back and follow each other.
    fn take_range(&mut self) -> Option<(u32, u32)> {
        let mut back = self.back();
        let first = back.pop_first()?;
        let mut last = first;
        while back.remove(&(last + 1)) {
            last += 1;
        }
        drop(back);
        self.told = 0;
        Some((first, last))
    }
}

impl Runner<'_> {
    /// `recvmsg(4, {...}, MSG_ERRQUEUE)`
    pub(super) fn error_queue(&mut self, call: &Call) -> Result<Done, Stop> {
        let control = call.args.get(1).and_then(|header| header.field("msg_control"));
        let expected = match control {
            Some(Expr::List(messages)) => messages.iter().find_map(|message| {
                let data = message.field("cmsg_data")?;
                data.field("ee_origin").map(|origin| (data, origin))
            }),
            _ => None,
        };
        if let Some((_, origin)) = expected
            && *origin != Expr::Word("SO_EE_ORIGIN_ZEROCOPY".into())
        {
            return Err(Stop::Unsupported(format!("{origin:?}")));
        }
        let range = match self.socket_at(&call.args)? {
            Ok(socket) => socket.zero_copy.as_mut().and_then(ZeroCopy::take_range),
            Err(error) => return Ok(error),
        };
        let Some((first, last)) = range else { return Ok(Done::Error("EAGAIN")) };
        if let Some((data, _)) = expected {
            self.check_value("ee_info", data.field("ee_info"), first.into())?;
            self.check_value("ee_data", data.field("ee_data"), last.into())?;
        }
        Ok(Done::Returned(0))
    }
}
