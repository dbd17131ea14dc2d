#![no_main]

// ROPEWAY_STORY=1 tells what happens in each execution: for reproducing a crash.
libfuzzer_sys::fuzz_target!(
    init: if std::env::var_os("ROPEWAY_STORY").is_some() {
        ropeway_fuzz_bodies::tell_stories();
    },
    |bytes: &[u8]| ropeway_fuzz_bodies::ethernet(bytes)
);
