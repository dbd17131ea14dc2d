#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ropeway_fuzz_bodies::differential(bytes));
