//! The fuzzer's door to [`body::ws`]; what is checked stands there.

#![no_main]

#[path = "../bodies/ws.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::ws(data));
