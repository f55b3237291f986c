//! Pipes of TLS and WebSocket over loopback sockets, with rustls's client or raw bytes at the other end.
//!
//! The server's end is driven as a loop does: told of readiness once per change, it must neither wait
//! for what is there already nor spin. A contract that does not hold shows as a deadline that passes.

mod certificates;
mod ends;
mod hostile;
mod peers;
mod records;
mod streams;
mod trust;
mod websocket;
