//! The fuzzer's door to [`body::rules`]; what is checked stands there.

#![no_main]

#[path = "../bodies/rules.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::rules(data));
