//! A value that takes no memory as long as it has nothing to say.

use std::ops::{Deref, DerefMut};

/// What a value is that has nothing to say.
pub(crate) trait Blank: Default + 'static {
    /// It.
    const BLANK: &'static Self;
}

/// A value in a box, or a blank one. Whoever changes it gets the box; [`put_away`](Self::put_away) lets go of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spare<T>(Option<Box<T>>);

impl<T> Spare<T> {
    /// The value is blank again.
    pub(crate) fn put_away(&mut self) {
        self.0 = None;
    }

    /// The box, if it has one, and the value is blank again.
    pub(crate) fn take(&mut self) -> Option<Box<T>> {
        self.0.take()
    }

    /// It gets a box with a blank value.
    pub(crate) fn give(&mut self, blank: Box<T>) {
        self.0 = Some(blank);
    }

    /// Nothing has been said since it was put away.
    pub(crate) fn is_away(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Blank> Deref for Spare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::BLANK)
    }
}

impl<T: Blank> DerefMut for Spare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
