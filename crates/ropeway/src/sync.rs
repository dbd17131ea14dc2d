//! The locks that tasks meet at. In [models](crate::models), a scheduler that tries orders has the say over them.

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
