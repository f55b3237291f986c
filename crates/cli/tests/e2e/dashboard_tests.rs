//! `noctule dashboard` without a terminal: a line for each message. How it looks on one is tested
//! beside its view.

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto;
use crate::mosquitto_broker::free_port;
use crate::program::Program;

#[test]
fn each_message_is_a_line_and_an_interrupt_ends_it_in_good_order() {
    let port = free_port();
    let mut command = noctule();
    command.args(["dashboard", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let program = Program::start(&mut command);
    let broker = Broker::on_port(port, &[]);
    for (topic, text) in [("sensors/temperature", "23.5"), ("sensors/status", "{\"temp\": 23.5}")] {
        mosquitto::publish(&broker, "mqttv311", &["-t", topic, "-m", text, "-r", "-q", "1"]);
        let wanted = format!("{topic} {text}");
        program.expect("the message", |line| (line == wanted).then_some(()));
    }
    program.signal(Signal::INT);
    let complaints = program.finish().well().complaints;
    assert!(complaints.contains(&format!("connected to 127.0.0.1:{port}")), "{complaints}");
}

#[test]
fn what_cannot_be_watched_is_wrong_usage() {
    let finished = Program::start(noctule().args(["dashboard", "-t", "a#"])).finish();
    assert_eq!(finished.status.code(), Some(2), "{}", finished.complaints);
}
