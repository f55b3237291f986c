//! The client against peers that a test plays itself, over sockets of the loopback: brokers that
//! do not answer, talk rubbish or stall, and all the ways in which a certificate may be wrong.
//!
//! What a client says in conversations is tested in virtual time beside the machine; against whole
//! brokers, end to end, with the program.

mod awkward;
mod certificates;
mod facade;
mod peer;
mod web_socket;
