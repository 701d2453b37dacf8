#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bellwire_fuzz::fuzzed::configuration(bytes));
