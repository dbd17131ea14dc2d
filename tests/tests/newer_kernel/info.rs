//! `struct tcp_info` of Linux, as far as we look at it; it is longer than what the `libc` crate knows.

use std::fmt;

/// What the kernel tells of a connection. An older kernel leaves the end at zero.
#[derive(Clone)]
pub(crate) struct Info([u8; Self::LEN]);

impl Info {
    pub(crate) const LEN: usize = 280;

    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn from_hex(text: &str) -> Self {
        let mut bytes = [0; Self::LEN];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
        }
        Self(bytes)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    /// `TCPI_OPT_ECN`
    pub(crate) fn uses_ecn(&self) -> bool {
        self.0[5] & 8 != 0
    }

    /// `tcpi_ecn_mode`: 0 none, 1 RFC 3168, 2 Accurate ECN.
    pub(crate) fn ecn_mode(&self) -> u32 {
        self.word(276) & 3
    }

    /// `tcpi_accecn_opt_seen`: not at all, empty, or with counters.
    pub(crate) fn option_seen(&self) -> u32 {
        self.word(276) >> 2 & 3
    }

    /// `tcpi_accecn_fail_mode`
    pub(crate) fn fail_mode(&self) -> u32 {
        self.word(276) >> 4 & 15
    }

    /// `tcpi_total_retrans`
    pub(crate) fn retransmitted(&self) -> u32 {
        self.word(100)
    }

    /// `tcpi_delivered_ce`
    pub(crate) fn delivered_ce(&self) -> u32 {
        self.word(196)
    }

    /// `tcpi_received_ce`
    pub(crate) fn received_ce(&self) -> u32 {
        self.word(248)
    }

    /// `tcpi_delivered_e1_bytes`, `_e0_`, `_ce_`
    pub(crate) fn delivered_bytes(&self) -> [u32; 3] {
        [252, 256, 260].map(|at| self.word(at))
    }

    /// `tcpi_dsack_dups`: of what was sent again, what had arrived before.
    pub(crate) fn dsack_dups(&self) -> u32 {
        self.word(216)
    }

    /// `tcpi_received_e1_bytes`, `_e0_`, `_ce_`
    pub(crate) fn received_bytes(&self) -> [u32; 3] {
        [264, 268, 272].map(|at| self.word(at))
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("ecn_mode", &self.ecn_mode())
            .field("option_seen", &self.option_seen())
            .field("fail_mode", &self.fail_mode())
            .field("retransmitted", &self.retransmitted())
            .field("delivered_ce", &self.delivered_ce())
            .field("delivered_bytes", &self.delivered_bytes())
            .field("received_ce", &self.received_ce())
            .field("received_bytes", &self.received_bytes())
            .finish_non_exhaustive()
    }
}
