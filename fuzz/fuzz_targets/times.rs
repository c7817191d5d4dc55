#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gds_store::fuzz::times(bytes));
