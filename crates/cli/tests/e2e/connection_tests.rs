//! What a user is told of the connection of a client command: that it is not there, no broker's, lost,
//! back, or ended by Ctrl-C.

use std::io::{Read, Write};
use std::net::TcpListener;

use rustix::process::Signal;

use crate::broker::Broker;
use crate::command_tests::{code, command, run};
use crate::mosquitto::Subscriber;
use crate::program::Program;

#[test]
fn a_peer_that_is_no_broker_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
            // What it says is read to its end, so that the answer is not lost in a reset.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for line in [&["pub", "-t", "a", "-m", "x"][..], &["sub", "-t", "a"]] {
        let finished = run(line[0], &port, &line[1..]);
        assert_eq!(code(&finished), 1);
        assert_eq!(finished.complaints.lines().count(), 1, "{}", finished.complaints);
        assert!(finished.complaints.contains("web server"), "{}", finished.complaints);
    }
    answering.join().expect("both came");
}

#[test]
fn with_wait_a_broker_that_is_not_there_yet_is_said_once_and_waited_for() {
    let port = crate::mosquitto_broker::free_port();
    let flags = ["-t", "a", "-m", "x", "-q", "1", "-r", "--wait"];
    let waiting = Program::start(&mut command("pub", &port.to_string(), &flags));
    waiting.expect_complaint(&["will keep trying to connect"]);
    let broker = Broker::on_port(port, &[]);
    let said = waiting.finish().well().complaints;
    assert_eq!(said.lines().count(), 1, "{said}");
    let late = run("sub", &broker.port(), &["-t", "a", "-C", "1", "-W", "20"]).well();
    assert_eq!(late.lines, ["x"]);
}

#[test]
fn an_interrupt_ends_a_command_in_good_order() {
    let broker = Broker::ours(&[]);
    for signal in [Signal::INT, Signal::TERM] {
        let will = ["-t", "a", "-v", "--will-topic", "w", "--will-payload", "lost"];
        let program = Program::start(&mut command("sub", &broker.port(), &will));
        run("pub", &broker.port(), &["-t", "a", "-m", "x", "-r", "-q", "1"]).well();
        program.expect("a message", |line| (line == "a x").then_some(()));
        program.signal(signal);
        let finished = program.finish().well();
        assert_eq!(finished.complaints, GOODBYE);
    }
    let will = run("sub", &broker.port(), &["-t", "w", "-W", "300ms"]);
    assert!(will.lines.is_empty(), "DISCONNECT was said, so no will was sent");
}

#[test]
fn whatever_a_command_waits_for_an_interrupt_ends_it_with_one_friendly_line() {
    let broker = Broker::ours(&[]);
    // Connections are taken by the system, and nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute_port = mute.local_addr().expect("bound").port().to_string();
    let port = broker.port();
    let flags: [(&str, &[&str], &str); 6] = [
        ("pub", &["-t", "a", "-m", "x"], &mute_port),
        ("sub", &["-t", "a"], &mute_port),
        ("check", &["--no-tls"], &mute_port),
        ("bench", &[], &mute_port),
        ("dashboard", &[], &mute_port),
        ("request", &["-t", "ask", "-e", "answer", "-n"], &mute_port),
    ];
    for (name, flags, port) in flags {
        let program = Program::start(&mut command(name, port, flags));
        // It waits for CONNACK now.
        let _connection = mute.accept().expect("it connects");
        program.signal(Signal::INT);
        let finished = program.finish().well();
        assert_eq!(finished.complaints, GOODBYE, "{name}");
    }
    let asked = Subscriber::start(&broker, "mqttv311", &["-t", "ask"]);
    let request = ["-t", "ask", "-e", "answer", "-m", "?"];
    let waiting = Program::start(&mut command("request", &port, &request));
    asked.next();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.finish().well().complaints, GOODBYE);
    let (reading, mut lines) =
        Program::start_open(&mut command("pub", &port, &["-t", "ask", "-l"]));
    lines.write_all(b"first\n").expect("it reads");
    assert_eq!(asked.next().payload, "first");
    reading.signal(Signal::INT);
    assert_eq!(reading.finish().well().complaints, GOODBYE);
}

/// What a client command says when it was interrupted.
const GOODBYE: &str = "noctule: disconnected cleanly. Goodbye!\n";

#[test]
fn a_loss_is_told_once_and_the_return_once() {
    let broker = Broker::ours(&[]);
    let port: u16 = broker.port().parse().expect("a port");
    let program = Program::start(&mut command("sub", &port.to_string(), &["-t", "a", "-v"]));
    run("pub", &port.to_string(), &["-t", "a", "-m", "before", "-r", "-q", "1"]).well();
    program.expect("a message", |line| (line == "a before").then_some(()));
    drop(broker);
    let broker = Broker::on_port(port, &[]);
    run("pub", &broker.port(), &["-t", "a", "-m", "after", "-r", "-q", "1"]).well();
    program.expect("a message", |line| (line == "a after").then_some(()));
    program.signal(Signal::INT);
    let complaints = program.finish().well().complaints;
    let lines: Vec<_> = complaints.lines().collect();
    assert!(
        matches!(lines[..], [lost, back, _] if lost.starts_with("noctule: connection lost: ")
            && back == "noctule: connected again"),
        "{complaints}"
    );
    assert!(complaints.ends_with(GOODBYE), "{complaints}");
}
