//! What messages are kept in that came to their end, for the next ones: a message costs no allocation for its bookkeeping.

use super::flight::{Aloft, Flight};
use crate::buffer::receive::{self, ReceiveBuffer};
use crate::buffer::send::{self, SendBuffer};
use crate::buffer::slabs::Slabs;

/// So many of each are kept, of a few hundred bytes: as many as are taken up and put down in turns.
const KEPT: usize = 16;

/// Empty records of flights, empty queues of what is to be sent and of what is to be read, and slabs to write to, which belong to
/// no connection.
#[derive(Clone, Debug)]
#[allow(clippy::vec_box, reason = "boxes are what is lent")]
pub(crate) struct Spares {
    flights: Vec<Box<Flight>>,
    queues: Vec<Box<send::Held>>,
    unread: Vec<Box<receive::Held>>,
    pub(crate) slabs: Slabs,
}

impl Spares {
    /// `budget`: what the stack's memory may come to.
    pub(crate) fn new(budget: usize) -> Self {
        Self { flights: Vec::new(), queues: Vec::new(), unread: Vec::new(), slabs: Slabs::new(budget) }
    }

    /// Something may be sent: it needs a record.
    #[inline]
    pub(super) fn lend_flight(&mut self, flight: &mut Aloft) {
        if flight.is_away()
            && let Some(spare) = self.flights.pop()
        {
            flight.give(spare);
        }
    }

    /// Something is about to be written: it needs a queue.
    #[inline]
    pub(super) fn lend_queue(&mut self, buffer: &mut SendBuffer) {
        if buffer.is_bare()
            && let Some(spare) = self.queues.pop()
        {
            buffer.give(spare);
        }
    }

    /// Something has arrived: it needs a queue.
    #[inline]
    pub(crate) fn lend_unread(&mut self, buffer: &mut ReceiveBuffer) {
        if buffer.is_bare()
            && let Some(spare) = self.unread.pop()
        {
            buffer.give(spare);
        }
    }

    /// Nothing idle keeps memory.
    #[inline]
    pub(crate) fn take_back_unread(&mut self, buffer: &mut ReceiveBuffer) {
        if let Some(empty) = buffer.take_empty()
            && self.unread.len() < KEPT
        {
            self.unread.push(empty);
        }
    }

    /// Nothing idle keeps memory.
    #[inline]
    pub(super) fn take_back(&mut self, flight: &mut Aloft, buffer: &mut SendBuffer) {
        self.slabs.note_event();
        if flight.is_empty()
            && let Some(empty) = flight.take()
            && empty.is_small()
            && self.flights.len() < KEPT
        {
            self.flights.push(empty);
        }
        if let Some(empty) = buffer.take_empty()
            && self.queues.len() < KEPT
        {
            self.queues.push(empty);
        }
    }
}
