//! What several tests need.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `test` as `#[tokio::test(start_paused = true)]` does. Gives the panic that it fails with.
pub fn failure_of(test: impl Future<Output = ()>) -> String {
    match run(test) {
        Ok(()) => panic!("the test has passed"),
        Err(text) => text,
    }
}

/// The same; `Ok` if it passes.
pub fn run(test: impl Future<Output = ()>) -> Result<(), String> {
    let passed = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(test);
    }));
    passed.map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().unwrap().to_string(),
    })
}

/// That `text` has all of these words.
#[track_caller]
pub fn assert_has(text: &str, words: &[&str]) {
    let missing = words.iter().find(|word| !text.contains(**word));
    assert!(missing.is_none(), "{missing:?} is missing in:\n{text}");
}
