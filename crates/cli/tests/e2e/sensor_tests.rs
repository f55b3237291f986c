//! `noctule sensor` as a person sees it, with and without a broker.

use std::cell::RefCell;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, noctule};
use crate::mosquitto::Subscriber;
use crate::mosquitto_broker::free_port;
use crate::program::Program;

fn sensor(port: &str, flags: &[&str]) -> Command {
    let mut command = noctule();
    command.args(["sensor", "-h", "127.0.0.1", "-p", port]).args(flags);
    command
}

#[test]
fn each_value_has_its_topic_and_the_status_is_retained_json() {
    let broker = Broker::ours(&[]);
    let subscriber = Subscriber::start(&broker, "mqttv311", &["-t", "sensors/+", "-q", "1"]);
    let flags = ["--seed", "7", "-q", "1", "--rounds", "2", "--interval", "10ms"];
    let shown = Program::start(&mut sensor(&broker.port(), &flags)).finish().well().lines;
    let rounds: Vec<_> = shown.iter().filter(|line| line.starts_with("T:")).collect();
    assert_eq!(rounds.len(), 2, "{shown:?}");
    let first: Vec<_> = (0..4).map(|_| subscriber.next()).collect();
    let value = |index: usize, topic: &str| {
        assert_eq!(first[index].topic, format!("sensors/{topic}"));
        first[index].payload.clone()
    };
    let line = format!(
        "T:{}°C H:{}% P:{}hPa",
        value(0, "temperature"),
        value(1, "humidity"),
        value(2, "pressure")
    );
    assert_eq!(rounds[0], &line);
    let status = value(3, "status");
    assert!(status.starts_with("{\"timestamp\": \"2") && status.contains("\"temp\": "), "{status}");
    let again = Program::start(&mut sensor(&broker.port(), &flags)).finish().well().lines;
    assert!(again.contains(&line), "the same seed, the same weather: {again:?}");

    let late = Subscriber::start(&broker, "mqttv311", &["-t", "sensors/#"]);
    let kept = late.next();
    assert!(kept.retain && kept.topic == "sensors/status", "{kept:?}");
}

#[test]
fn devices_and_templates_are_as_many_and_as_told() {
    let broker = Broker::ours(&[]);
    let subscriber = Subscriber::start(&broker, "mqttv311", &["-t", "site/#", "-q", "1"]);
    let flags = ["--count", "2", "--prefix", "site", "-q", "1", "--rounds", "1"];
    let templates =
        ["--topic", "{prefix}/d{device}/{name}", "--payload", "{name}={value}{unit} #{number}"];
    let flags = [&flags[..], &templates].concat();
    Program::start(&mut sensor(&broker.port(), &flags)).finish().well();
    let messages: Vec<_> = (0..8).map(|_| subscriber.next()).collect();
    let topics: Vec<_> = messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics[0], "site/d1/temperature");
    assert_eq!(topics[7], "site/d2/status");
    assert!(messages[1].payload.starts_with("humidity="), "{messages:?}");
    assert!(messages[1].payload.ends_with("% #1"), "{messages:?}");
}

#[test]
fn it_waits_for_its_broker_comes_back_and_says_each_change_once() {
    let port = free_port();
    let flags = ["--interval", "20ms", "-q", "1"];
    let program = Program::start(&mut sensor(&port.to_string(), &flags));
    let said = RefCell::new(Vec::new());
    let says = |what: &str| {
        program.expect(what, |line| {
            said.borrow_mut().push(line.to_owned());
            line.contains(what).then_some(())
        });
    };
    says("Connecting to broker");
    says("Broker not available yet, will keep trying to connect");
    says("Sensor will publish every 0.02 seconds once connected; press Ctrl+C to stop");
    let broker = Broker::on_port(port, &[]);
    says("Connected to broker");
    says("T:");
    drop(broker);
    says("Connection lost: ");
    let _broker = Broker::on_port(port, &[]);
    says("Connected to broker again");
    says("T:");
    program.signal(Signal::INT);
    let finished = program.finish().well();
    let end: Vec<_> = finished.lines.iter().rev().take(2).collect();
    assert_eq!(end, ["Disconnected cleanly. Goodbye!", "Stopping sensor simulation…"]);
    assert_eq!(finished.complaints, "");
    // However many attempts failed meanwhile.
    let changes = said.into_inner().into_iter().filter(|line| !line.starts_with("T:")).count();
    assert_eq!(changes, 6, "each change once");
}
