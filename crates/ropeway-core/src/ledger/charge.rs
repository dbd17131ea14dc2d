//! What a connection is charged with.

/// What a connection holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) send: u32,
    pub(crate) receive: u32,
    pub(crate) reassembly: u32,
    pub(crate) records: u32,
}

impl Charge {
    /// What counts as taken: of the streams, no less than what is set aside for each connection.
    pub(super) fn taken(&self, reserve: usize) -> usize {
        self.records as usize + self.streams().max(reserve)
    }

    fn streams(&self) -> usize {
        self.send as usize + self.receive as usize + self.reassembly as usize
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
