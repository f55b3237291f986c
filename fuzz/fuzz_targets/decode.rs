//! The fuzzer's door to [`body::decode`]; what is checked stands there.

#![no_main]

#[path = "../bodies/decode.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::decode(data));
