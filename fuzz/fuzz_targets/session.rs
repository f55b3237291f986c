//! The fuzzer's door to [`body::session`]; what is checked stands there.

#![no_main]

#[path = "../bodies/session.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::session(data));
