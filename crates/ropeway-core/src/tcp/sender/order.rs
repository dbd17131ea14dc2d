//! What was sent, in the order of time: RACK asks in that order what is lost.

use std::collections::VecDeque;

use ropeway_packet::SeqNum;

use super::sent::Sent;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transmission {
    pub(super) start: SeqNum,
    pub(super) end: SeqNum,
    pub(super) at: Timestamp,
}

impl Transmission {
    pub(super) fn of(sent: &Sent) -> Self {
        Self { start: sent.start, end: sent.end, at: sent.at }
    }
}

/// Whose turn it is next. As long as nothing was sent again, the order of time is that of the numbers, and costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// All before this has had its turn, by the order of numbers.
    turn: Option<SeqNum>,
    /// If the order is another one: transmissions, each until its turn has come. Those that are not true any more are
    /// skipped then.
    by_time: Option<VecDeque<Transmission>>,
}

impl Order {
    pub(super) const EMPTY: Self = Self { turn: None, by_time: None };

    pub(super) fn memory(&self) -> usize {
        self.by_time.as_ref().map_or(0, |sent| sent.capacity() * size_of::<Transmission>())
    }

    /// Where to go on, if the order is that of the numbers.
    pub(super) fn turn(&self) -> Option<Option<SeqNum>> {
        self.by_time.is_none().then_some(self.turn)
    }

    /// All before this has had its turn, by the order of numbers.
    pub(super) fn set_turn(&mut self, turn: SeqNum) {
        self.turn = Some(turn);
    }

    /// From now on, the order of time is another one than that of the numbers. `entries`: what is out.
    pub(super) fn go_by_time<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Sent>,
    ) -> &mut VecDeque<Transmission> {
        let turn = self.turn;
        self.by_time.get_or_insert_with(|| {
            let ahead = |sent: &&Sent| turn.is_none_or(|turn| sent.end.after(turn));
            entries.into_iter().filter(ahead).map(Transmission::of).collect()
        })
    }

    /// The latest transmission. It joins the one before if that went out with it.
    pub(super) fn push(&mut self, sent: Transmission) {
        let Some(order) = &mut self.by_time else { return };
        match order.back_mut().filter(|last| last.at == sent.at && last.end == sent.start) {
            Some(last) => last.end = sent.end,
            None => order.push_back(sent),
        }
    }

    pub(super) fn first(&self) -> Option<Transmission> {
        self.by_time.as_ref()?.front().copied()
    }

    pub(super) fn pop(&mut self) {
        if let Some(order) = &mut self.by_time {
            order.pop_front();
        }
    }

    /// Their turn was over, and comes again.
    pub(super) fn put_back<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Sent>,
        mut found: Vec<Transmission>,
    ) {
        if !found.is_empty() {
            let order = self.go_by_time(entries);
            found.extend(order.drain(..));
            found.sort_by_key(|transmission| transmission.at);
            *order = found.into();
        }
    }
}
