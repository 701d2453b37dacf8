#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bellwire::fuzzed::run("mi_text", bytes));
