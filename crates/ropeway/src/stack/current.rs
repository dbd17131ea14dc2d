//! Which stack a socket uses that does not name one: the entered one, the installed one, the runtime's own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{self, Handle};

use super::Stack;

thread_local! {
    /// The stacks that this thread has entered, the innermost last, each with its guard's number.
    static ENTERED: RefCell<Vec<(u64, Stack)>> = const { RefCell::new(Vec::new()) };
}

/// The default of the process.
static INSTALLED: Mutex<Option<Stack>> = Mutex::new(None);

/// The loopback-only stacks that were made because a socket needed one.
static IMPLICIT: Mutex<Option<HashMap<runtime::Id, Stack>>> = Mutex::new(None);

/// Leaves the stack that [`Stack::enter`] has entered when it is dropped.
#[derive(Debug)]
pub struct EnterGuard {
    number: u64,
    /// What a guard undoes belongs to one thread.
    _not_send: PhantomData<*const ()>,
}

impl EnterGuard {
    pub(super) fn new(stack: Stack) -> Self {
        let number = ENTERED.with_borrow_mut(|entered| {
            let number = entered.last().map_or(0, |(last, _)| last + 1);
            entered.push((number, stack));
            number
        });
        Self {
            number,
            _not_send: PhantomData,
        }
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // The handle is dropped after the borrow: it may be the last one, and wake a task.
        let _left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let at = entered
                .iter()
                .rposition(|(number, _)| *number == self.number);
            at.map(|at| entered.remove(at))
        });
    }
}

pub(super) fn install(stack: &Stack) -> io::Result<()> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if installed.as_ref().is_some_and(|old| !old.has_ended()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "another stack is installed as the process's default",
        ));
    }
    let _ended = installed.replace(stack.clone());
    drop(installed);
    Ok(())
}

pub(super) fn get() -> Option<Stack> {
    named().or_else(|| implicit(Handle::try_current().ok()?.id()))
}

pub(super) fn get_or_loopback() -> io::Result<Stack> {
    if let Some(stack) = named() {
        return Ok(stack);
    }
    let Ok(runtime) = Handle::try_current() else {
        return Err(io::Error::other(
            "no ropeway::Stack is entered or installed, and there is no Tokio runtime to make one on",
        ));
    };
    match implicit(runtime.id()) {
        Some(stack) => Ok(stack),
        None => make_implicit(runtime.id()),
    }
}

/// The stack that the program has chosen.
fn named() -> Option<Stack> {
    let entered = ENTERED
        .try_with(|entered| entered.borrow().last().map(|(_, stack)| stack.clone()))
        .ok()
        .flatten();
    entered.or_else(|| {
        INSTALLED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    })
}

fn implicit(runtime: runtime::Id) -> Option<Stack> {
    let stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
    stacks.as_ref()?.get(&runtime).cloned()
}

/// Two threads may come here at once: the first one's stack stays, the other's is dropped unused.
fn make_implicit(runtime: runtime::Id) -> io::Result<Stack> {
    // Not under the lock: a runtime that is shutting down drops the driver at once, which takes it too.
    let made = Stack::builder().build_for(Some(Implicit { runtime }))?;
    let stack = {
        let mut stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
        stacks
            .get_or_insert_default()
            .entry(runtime)
            .or_insert_with(|| made.clone())
            .clone()
    };
    if stack.has_ended() {
        drop(Implicit { runtime });
    }
    Ok(stack)
}

/// Held by the driver of a runtime's own stack, which is forgotten with it.
#[derive(Debug)]
pub(crate) struct Implicit {
    runtime: runtime::Id,
}

impl Drop for Implicit {
    fn drop(&mut self) {
        // The handle is dropped after the lock.
        let _forgotten = {
            let mut stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
            stacks
                .as_mut()
                .and_then(|stacks| stacks.remove(&self.runtime))
        };
    }
}
