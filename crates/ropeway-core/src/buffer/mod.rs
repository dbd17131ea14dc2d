//! What waits to be sent or read.

pub(crate) mod chunk;
pub(crate) mod pieces;
pub(crate) mod reassembly;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod slabs;
