//! What a connection is charged with.

use super::MemoryUse;

/// What a connection holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) send: u32,
    pub(crate) receive: u32,
    pub(crate) reassembly: u32,
    pub(crate) records: u32,
}

impl Charge {
    pub(crate) fn total(&self) -> usize {
        [self.send, self.receive, self.reassembly, self.records].iter().map(|bytes| *bytes as usize).sum()
    }

    /// What counts as taken: of the streams, no less than what is set aside for each connection.
    pub(super) fn taken(&self, reserve: usize) -> usize {
        let streams = self.total() - self.records as usize;
        self.records as usize + streams.max(reserve)
    }

    /// Books each kind where it belongs.
    pub(super) fn each(&self, used: &mut MemoryUse, book: impl Fn(&mut usize, u32)) {
        book(&mut used.send, self.send);
        book(&mut used.receive, self.receive);
        book(&mut used.reassembly, self.reassembly);
        book(&mut used.records, self.records);
    }
}

/// What a connection remembers of that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Charged {
    /// What it was charged with last.
    pub(super) last: Charge,
    /// Whose account it is on.
    pub(super) account: u32,
}
