//! Records of flights that came to their end, kept for the next ones: a message costs no allocation for its record.

use super::flight::{Aloft, Flight};

/// So many are kept, of a few hundred bytes each: as many as are taken up and put down in turns.
const KEPT: usize = 16;

/// Empty records that belong to no connection.
#[derive(Clone, Debug, Default)]
#[allow(clippy::vec_box, reason = "boxes are what is lent")]
pub(crate) struct Spares(Vec<Box<Flight>>);

impl Spares {
    #[inline]
    pub(crate) fn lend(&mut self, flight: &mut Aloft) {
        if flight.is_away()
            && let Some(spare) = self.0.pop()
        {
            flight.give(spare);
        }
    }

    /// Takes a record of nothing.
    #[inline]
    pub(crate) fn take_back(&mut self, flight: &mut Aloft) {
        if let Some(empty) = flight.take()
            && empty.is_small()
            && self.0.len() < KEPT
        {
            self.0.push(empty);
        }
    }
}
