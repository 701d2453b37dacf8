#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bellwire::fuzzed::run("payload_parse", bytes));
