//! What is known of a future that runs on a host: who it is, what wakes it, how it ended.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// How a future came to run on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By `Host::run`: it belongs to the task that called it.
    Run,
    /// By `Host::spawn` and its like.
    Task,
    /// By `Host::on_boot`.
    Boot,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    /// Where in the test it was started.
    pub(crate) place: &'static Location<'static>,
    is_tolerated: Arc<AtomicBool>,
    wakers: Mutex<Wakers>,
    /// Its result has been handed out.
    is_claimed: AtomicBool,
}

#[derive(Debug, Default)]
struct Wakers {
    own: Option<Waker>,
    /// Of the task that waits for its end.
    joiner: Option<Waker>,
}

impl Job {
    pub(crate) fn new(kind: Kind, place: &'static Location<'static>) -> Arc<Self> {
        Self::tolerated_by(kind, place, Arc::default())
    }

    /// One whose failure is tolerated while the flag says so.
    pub(crate) fn tolerated_by(
        kind: Kind,
        place: &'static Location<'static>,
        is_tolerated: Arc<AtomicBool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            place,
            is_tolerated,
            wakers: Mutex::default(),
            is_claimed: AtomicBool::new(false),
        })
    }

    pub(crate) fn tolerate(&self) {
        self.is_tolerated.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_tolerated(&self) -> bool {
        self.is_tolerated.load(Ordering::Relaxed)
    }

    /// Somebody has got its result, and so knows of its failure.
    pub(crate) fn claim(&self) {
        self.is_claimed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Relaxed)
    }

    /// What wakes it; `None` before it has run.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.wakers().own.clone()
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        let old = self.wakers().own.replace(waker.clone());
        drop(old);
    }

    pub(crate) fn joiner(&self) -> Option<Waker> {
        self.wakers().joiner.clone()
    }

    /// Notes who waits for its end.
    pub(crate) fn set_joiner(&self, joiner: Option<&Waker>) {
        let old = std::mem::replace(&mut self.wakers().joiner, joiner.cloned());
        drop(old);
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.place.file(), self.place.line());
        match self.kind {
            Kind::Run => write!(f, "Host::run at {file}:{line}"),
            Kind::Task => write!(f, "the task spawned at {file}:{line}"),
            Kind::Boot => write!(f, "the on_boot service of {file}:{line}"),
        }
    }
}

/// What there is to say about an output that is an `Err`: the error and what caused it.
///
/// That it is one is seen by how it prints: a generic function cannot ask a type whether it is a `Result`.
pub(crate) fn error_of<T: fmt::Debug + 'static>(output: &T) -> Option<String> {
    const ERR: &str = "Err(";
    let mut start = Start::default();
    // It ends with an error once enough has been written.
    let _enough = fmt::Write::write_fmt(&mut start, format_args!("{output:?}"));
    if start.0 != ERR {
        return None;
    }
    let told = chain(output);
    Some(told.unwrap_or_else(|| {
        let text = format!("{output:?}");
        text.strip_prefix(ERR).and_then(|rest| rest.strip_suffix(')')).unwrap_or(&text).to_owned()
    }))
}

/// The first bytes of what is written.
#[derive(Default)]
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.chars().take(4 - self.0.chars().count().min(4)));
        if self.0.chars().count() < 4 { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The usual errors of services, with their sources.
fn chain(output: &dyn Any) -> Option<String> {
    use std::error::Error;
    fn of<E: 'static>(output: &dyn Any) -> Option<&E> {
        output.downcast_ref::<Result<(), E>>()?.as_ref().err()
    }
    if let Some(text) = of::<String>(output) {
        return Some(text.clone());
    }
    if let Some(text) = of::<&'static str>(output) {
        return Some((*text).to_owned());
    }
    let error: &dyn Error = if let Some(error) = of::<std::io::Error>(output) {
        error
    } else if let Some(error) = of::<Box<dyn Error + Send + Sync>>(output) {
        error.as_ref()
    } else if let Some(error) = of::<Box<dyn Error + Send>>(output) {
        error.as_ref()
    } else {
        of::<Box<dyn Error>>(output)?.as_ref()
    };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // `io::Error` shows as what it carries.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::io;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot start")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let missing = || io::Error::other("config missing");
        assert_eq!(error_of(&Err::<(), _>(missing())).as_deref(), Some("config missing"));
        let boxed: Result<(), Box<dyn Error + Send + Sync>> = Err(Outer(missing()).into());
        assert_eq!(error_of(&boxed).as_deref(), Some("cannot start: config missing"));
        let carried = Err::<(), _>(io::Error::other(Outer(missing())));
        assert_eq!(error_of(&carried).as_deref(), Some("cannot start: config missing"));
        assert_eq!(error_of(&Err::<(), _>("no")).as_deref(), Some("no"));
        // What is not known is told as it prints.
        let told = error_of(&Err::<u8, _>(Outer(missing()))).unwrap();
        assert!(told.starts_with("Outer(") && told.contains("config missing"), "{told}");
    }

    #[test]
    fn what_is_no_err_is_no_error() {
        assert_eq!(error_of(&()), None);
        assert_eq!(error_of(&Ok::<_, io::Error>("Err(")), None);
        assert_eq!(error_of(&"Err("), None);
        assert_eq!(error_of(&Some(Err::<(), _>(1))), None);
        assert_eq!(error_of(&vec![0_u8; 1 << 20]), None);
    }
}
