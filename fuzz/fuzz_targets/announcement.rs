//! The fuzzer's door to [`body::announcement`]; what is checked stands there.

#![no_main]

#[path = "../bodies/announcement.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::announcement(data));
