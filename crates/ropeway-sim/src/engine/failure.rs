//! How a test is made to fail by somebody else.
//!
//! A panic in a task ends the task alone, and the test may go on to wait for ever. So the panic is raised where no task
//! catches it: in a waker that the runtime itself wakes. It unwinds `Runtime::block_on`, and drops what the test holds, as
//! if the test had panicked.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

/// Panics with its text when it is woken first, once it has got it.
#[derive(Default)]
struct Thrower(Mutex<Option<String>>);

impl Wake for Thrower {
    fn wake(self: Arc<Self>) {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        #[expect(clippy::panic, reason = "the test fails")]
        if let Some(text) = text.filter(|_| !std::thread::panicking()) {
            panic!("{text}");
        }
    }
}

/// Fails the test with this text: at once if it is not a task that runs, otherwise as soon as the task waits, or as the
/// runtime ends.
pub(crate) fn fail(runtime: &Handle, text: String) {
    #[expect(clippy::panic, reason = "the test fails")]
    if tokio::task::try_id().is_none() {
        panic!("{text}");
    }
    let thrower = Arc::new(Thrower::default());
    let waker = Waker::from(Arc::clone(&thrower));
    let mut cx = Context::from_waker(&waker);
    // Who yields is woken the next time the scheduler looks at its timers; or, in a runtime that ends, at once.
    let _pending = pin!(tokio::task::yield_now()).poll(&mut cx);
    // Such a runtime wakes in the end all that sleep, so this one must still do so then.
    let _entered = runtime.enter();
    let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(1)));
    let _pending = sleep.as_mut().poll(&mut cx);
    std::mem::forget(sleep);
    *thrower.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
}
