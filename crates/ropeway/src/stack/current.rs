//! Which stack a socket uses that does not name one: the entered one, the installed one, a loopback.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{self, Handle};

use super::Stack;
use crate::shard::Shard;
use crate::{clock, loopback};

thread_local! {
    /// The stacks that this thread has entered, the innermost last, each with its guard's number.
    static ENTERED: RefCell<Vec<(u64, Stack)>> = const { RefCell::new(Vec::new()) };
}

/// The default of the process.
static INSTALLED: Mutex<Option<Stack>> = Mutex::new(None);

/// What each runtime's sockets use that name no stack: the loopback of the process, or one of the runtime's own.
static IMPLICIT: Mutex<Option<HashMap<runtime::Id, Stack>>> = Mutex::new(None);

/// What finds the stack of a task, on the runtimes that have such a thing.
static FINDERS: Mutex<Option<HashMap<runtime::Id, Arc<Finder>>>> = Mutex::new(None);

/// How many there are: programs that have none pay for no more than a look at it.
static FINDER_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Says which stack the running task uses, or why there is none.
type Finder = dyn Fn() -> io::Result<Stack> + Send + Sync;

/// What [`find_with`] has begun ends when it is dropped.
#[derive(Debug)]
pub struct FinderGuard {
    runtime: runtime::Id,
}

/// From now on, a socket made by any task of the current runtime that has not entered a stack uses the one that
/// `finder` names; its error is the socket's. Neither an installed stack nor a loopback-only one is used there.
///
/// For a simulation of several hosts on one runtime, in which a default would be somebody's mistake.
///
/// # Errors
///
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the runtime has a finder;
/// [`Other`](io::ErrorKind::Other) outside of a runtime.
pub fn find_with(finder: impl Fn() -> io::Result<Stack> + Send + Sync + 'static) -> io::Result<FinderGuard> {
    let runtime = Handle::try_current().map_err(io::Error::other)?.id();
    let mut finders = FINDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let finders = finders.get_or_insert_default();
    if finders.contains_key(&runtime) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this runtime has a finder of stacks"));
    }
    finders.insert(runtime, Arc::new(finder));
    FINDER_COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(FinderGuard { runtime })
}

impl Drop for FinderGuard {
    fn drop(&mut self) {
        FINDER_COUNT.fetch_sub(1, Ordering::Relaxed);
        // The closure is dropped after the lock.
        let _finder = {
            let mut finders = FINDERS.lock().unwrap_or_else(PoisonError::into_inner);
            finders.as_mut().and_then(|finders| finders.remove(&self.runtime))
        };
    }
}

/// What the current runtime's finder says, if it has one.
fn found() -> Option<io::Result<Stack>> {
    if FINDER_COUNT.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let runtime = Handle::try_current().ok()?.id();
    let finder = {
        let finders = FINDERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(finders.as_ref()?.get(&runtime)?)
    };
    Some(finder())
}

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
        Self { number, _not_send: PhantomData }
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // The handle is dropped after the borrow: it may be the last one, and wake a task.
        let _left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let at = entered.iter().rposition(|(number, _)| *number == self.number);
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
    if let Some(stack) = entered() {
        return Some(stack);
    }
    if let Some(found) = found() {
        return found.ok();
    }
    installed().or_else(|| implicit(Handle::try_current().ok()?.id()))
}

pub(super) fn get_or_loopback() -> io::Result<Stack> {
    if let Some(stack) = entered() {
        return Ok(stack);
    }
    if let Some(found) = found() {
        return found;
    }
    if let Some(stack) = installed() {
        return Ok(stack);
    }
    match Handle::try_current() {
        Ok(runtime) => implicit_of(&runtime),
        // It needs no runtime. Nor does it learn when one ends.
        Err(_) => Ok(Stack::new(Box::new([loopback::shared()?]), None, None)),
    }
}

/// The same core for a socket that is made here and now: on the loopback of the process it belongs to the current
/// runtime, whoever's listener or address it comes from.
pub(crate) fn at_home(shard: &Arc<Shard>) -> Arc<Shard> {
    if !shard.is_shared() {
        return Arc::clone(shard);
    }
    let runtime = Handle::try_current().ok();
    if runtime.as_ref().is_some_and(|runtime| shard.is_at_home_in(runtime.id())) {
        return Arc::clone(shard);
    }
    let own = runtime.and_then(|runtime| implicit_of(&runtime).ok()).map(|stack| Arc::clone(stack.shard()));
    own.filter(|own| own.is_same(shard)).unwrap_or_else(|| Arc::new(shard.with_home(None)))
}

/// The stack that this thread has entered.
fn entered() -> Option<Stack> {
    ENTERED.try_with(|entered| entered.borrow().last().map(|(_, stack)| stack.clone())).ok().flatten()
}

/// The stack that the program has installed.
fn installed() -> Option<Stack> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn implicit(runtime: runtime::Id) -> Option<Stack> {
    let stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
    stacks.as_ref()?.get(&runtime).cloned()
}

fn implicit_of(runtime: &Handle) -> io::Result<Stack> {
    match implicit(runtime.id()).filter(|stack| !stack.has_ended()) {
        Some(stack) => {
            if stack.shard().is_shared() {
                clock::warn_if_paused();
            }
            Ok(stack)
        }
        None => make_implicit(runtime),
    }
}

/// The loopback of the process; where the clock is paused, which other runtimes must not notice, one of the runtime's
/// own. What the first socket gets, all get.
///
/// Two threads may come here at once: the first one's stack stays, the other's is dropped unused.
fn make_implicit(runtime: &Handle) -> io::Result<Stack> {
    let id = runtime.id();
    // Not under the lock: a runtime that is shutting down drops the driver at once, which takes it too.
    let made = if clock::is_paused() {
        Stack::builder().build_for(Some(Implicit { runtime: id }))?
    } else {
        Stack::new(Box::new([loopback::settle(runtime, Implicit { runtime: id })?]), None, None)
    };
    let (stack, _replaced) = {
        let mut stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
        let stacks = stacks.get_or_insert_default();
        match stacks.get(&id).filter(|other| !other.has_ended()) {
            Some(other) => (other.clone(), None),
            None => (made.clone(), stacks.insert(id, made)),
        }
    };
    if stack.has_ended() {
        drop(Implicit { runtime: id });
    }
    Ok(stack)
}

/// Held by a task of a runtime, with which the runtime's own choice is forgotten.
#[derive(Debug)]
pub(crate) struct Implicit {
    runtime: runtime::Id,
}

impl Drop for Implicit {
    fn drop(&mut self) {
        // The handle is dropped after the lock.
        let _forgotten = {
            let mut stacks = IMPLICIT.lock().unwrap_or_else(PoisonError::into_inner);
            stacks.as_mut().and_then(|stacks| stacks.remove(&self.runtime))
        };
    }
}
