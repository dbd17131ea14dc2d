//! Fast Open (RFC 7413): data in a SYN, as client and as server; what becomes of it on paths that lose or refuse it; and the limits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod cache;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod lost;
mod server;

use common::*;
use ropeway_core::packet::FastOpen;
use ropeway_core::{ConnectionId, ListenerId, SocketOptions};

/// What a server that is not ours gives.
fn cookie() -> FastOpen {
    FastOpen::new(&[0xab, 0xcd, 0x12, 0x34]).unwrap()
}

impl Lab {
    /// An active open from this port, with data; how much of it went with the SYN.
    #[track_caller]
    fn connect_fast(&mut self, port: u16, data: &[u8]) -> (ConnectionId, usize) {
        self.connect_fast_with(port, data, |_| {})
    }

    #[track_caller]
    fn connect_fast_with(
        &mut self,
        port: u16,
        data: &[u8],
        change: impl FnOnce(&mut SocketOptions),
    ) -> (ConnectionId, usize) {
        self.remote.set_port(80);
        self.local.set_port(port);
        self.switch(80);
        let mut options = self.stack.config().socket.clone();
        change(&mut options);
        let opened =
            self.stack.connect_with(self.ts(), Some(self.local), self.remote, options, data).unwrap();
        self.collect();
        opened
    }

    /// A connection that has brought us the server's cookie, and is over.
    #[track_caller]
    fn learn_cookie(&mut self) {
        let (id, sent) = self.connect_fast(4999, b"");
        assert_eq!(sent, 0);
        self.expect(syn().fast_open(FastOpen::REQUEST).len(0));
        self.send(syn_ack().mss(1460).fast_open(cookie()));
        self.expect(ack().seq(1).ack(1));
        self.abort(id);
        self.close(id);
        self.expect(rst_ack().seq(1));
    }

    /// A listener that takes data of so many SYNs, and the cookie that it gives to the lab.
    #[track_caller]
    fn listen_fast(&mut self, most: u32) -> (ListenerId, FastOpen) {
        self.listen_fast_with(most, |_| {})
    }

    #[track_caller]
    fn listen_fast_with(
        &mut self,
        most: u32,
        change: impl FnOnce(&mut SocketOptions),
    ) -> (ListenerId, FastOpen) {
        let listener = self.listen_with(64, |options| {
            options.fast_open = most;
            change(options);
        });
        let cookie = self.ask_for_cookie(3999);
        (listener, cookie)
    }

    /// A SYN from this port asks for a cookie, and the connection comes to nothing.
    #[track_caller]
    fn ask_for_cookie(&mut self, port: u16) -> FastOpen {
        self.switch(port);
        self.send(syn().mss(1460).fast_open(FastOpen::REQUEST));
        let answer = self.expect(syn_ack().seq(0).ack(1));
        self.send(rst().seq(1));
        answer.tcp.options.fast_open.expect("a cookie")
    }

    /// A SYN with data from this port opens a connection.
    #[track_caller]
    fn open_fast(&mut self, port: u16, listener: ListenerId, cookie: FastOpen, bytes: &[u8]) -> ConnectionId {
        self.switch(port);
        self.send(syn().mss(1460).fast_open(cookie).bytes(bytes));
        self.expect(syn_ack().seq(0).ack(1 + bytes.len() as u32).no_fast_open());
        self.accept(listener).expect("it is there before the third segment")
    }
}
