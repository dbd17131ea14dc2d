//! What stands for network namespaces and TUN devices on systems that are not Linux: nothing. The examples run in memory
//! there.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use ropeway::device::{Capabilities, Device, Received, Transmit};

/// There are no network namespaces here.
#[derive(Clone, Copy, Debug)]
pub enum Namespace {}

/// Says that there are none.
///
/// # Errors
///
/// Always.
pub fn enter() -> Result<Namespace, String> {
    Err("TUN devices and network namespaces are Linux's".to_owned())
}

impl Namespace {
    /// What to type, from outside, to run `command` in this namespace.
    #[must_use]
    pub fn command_line(&self, _command: &str) -> String {
        match *self {}
    }
}

/// There are no TUN devices here.
#[derive(Debug)]
pub enum TunDevice {}

impl TunDevice {
    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// What the device lost.
    #[must_use]
    pub fn counters(&self) -> TunCounters {
        match *self {}
    }
}

/// What a device lost: there is none.
#[derive(Clone, Debug)]
pub enum TunCounters {}

impl TunCounters {
    /// Packets that the kernel dropped because the device's queue was full.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        match *self {}
    }
}

impl Device for TunDevice {
    fn capabilities(&self) -> Capabilities {
        match *self {}
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut Vec<Received>, _: usize) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
