//! The fuzzer's door to [`body::mosquitto_conf`]; what is checked stands there.

#![no_main]

#[path = "../bodies/mosquitto_conf.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::mosquitto_conf(data));
