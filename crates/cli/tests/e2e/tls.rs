//! MQTT over TLS beside plain MQTT, as other people's clients and a raw one see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::broker::Broker;
use crate::foreign;
use crate::mosquitto::{Subscriber, VERSIONS, message, publish};
use crate::program::Program;
use crate::tls_client::TlsClient;

const CA: &str = "noctule-data/tls/ca.pem";

#[test]
fn plain_and_tls_clients_of_all_versions_talk_to_each_other() {
    let broker = Broker::ours(&[]);
    let (topic, ca) = (broker.topic("t"), ca(&broker));
    let tls_port = broker.tls_port();
    let tls = ["-h", "localhost", "-p", &tls_port, "--cafile", &ca];
    for version in VERSIONS {
        let over_tls =
            Subscriber::start(&broker, version, &[&tls[..], &["-q", "1", "-t", &topic]].concat());
        let plain = Subscriber::start(&broker, version, &["-q", "1", "-t", &topic]);
        publish(&broker, version, &["-q", "1", "-t", &topic, "-m", "from plain"]);
        publish(
            &broker,
            version,
            &[&tls[..], &["-q", "2", "-t", &topic, "-m", "from tls"]].concat(),
        );
        for subscriber in [over_tls, plain] {
            assert_eq!(subscriber.next(), message(&topic, 1, false, "from plain"));
            assert_eq!(subscriber.next(), message(&topic, 1, false, "from tls"));
            subscriber.leave();
        }
    }
}

#[test]
fn other_clients_speak_tls_with_it() {
    let broker = Broker::ours(&[]);
    for (mut command, script) in
        [(foreign::python(), "paho_tls.py"), (foreign::node(), "mqttjs_tls.js")]
    {
        command.arg(foreign::script(script)).args([&broker.tls_port(), &ca(&broker)]);
        let finished = Program::start(command.arg(broker.topic(script))).finish().well();
        assert_eq!(finished.lines, ["ok"], "{script}");
    }
}

#[test]
fn an_address_that_it_listens_on_is_in_the_certificate_that_it_makes() {
    let broker = Broker::ours(&["--bind", "127.0.0.1,127.0.0.2"]);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.2", "-p", &broker.tls_port(), "--cafile", &ca(&broker)]);
    Program::start(command.args(["-t", "t", "-m", "x"])).finish().well();
}

#[test]
fn what_comes_right_behind_connect_moves_with_the_connection() {
    let broker = Broker::ours(&[]);
    // Whatever the number of loops, some of these sessions live on another one.
    for number in 0..12 {
        let mut client = TlsClient::new(&broker, &broker.path(CA));
        let topic = broker.topic(&number.to_string());
        let payload = vec![b'x'; 20_000];
        let mut bytes = connect(&broker.id(&number.to_string()));
        bytes.extend(subscribe(&topic));
        bytes.extend(publish_at_least_once(&topic, &payload));
        // In one write and more than one record; the last bytes arrive before CONNACK leaves.
        client.send(&bytes);
        assert_eq!(client.receive(4), [0x20, 2, 0, 0]);
        assert_eq!(client.receive(5), [0x90, 3, 0, 1, 0]);
        let mut expected = publish_at_most_once(&topic, &payload);
        expected.extend([0x40, 2, 0, 2]);
        let mut received = client.receive(expected.len());
        // PUBACK may come before the message.
        if received.starts_with(&[0x40]) {
            received.rotate_left(4);
        }
        assert!(received == expected, "client {number}");
    }
}

#[test]
fn large_messages_pass_through_tls_both_ways() {
    let broker = Broker::ours(&[]);
    let topic = broker.topic("large");
    let mut subscriber = TlsClient::new(&broker, &broker.path(CA));
    subscriber.send(&[connect(&broker.id("s")), subscribe(&topic)].concat());
    subscriber.receive(4 + 5);
    let payload: Vec<u8> = (0..900_000_u32).map(|at| (at % 251) as u8).collect();
    let mut publisher = TlsClient::new(&broker, &broker.path(CA));
    publisher.send(&connect(&broker.id("p")));
    publisher.receive(4);
    publisher.send(&publish_at_least_once(&topic, &payload));
    assert_eq!(publisher.receive(4), [0x40, 2, 0, 2]);
    let expected = publish_at_most_once(&topic, &payload);
    assert!(subscriber.receive(expected.len()) == expected);
}

#[test]
fn a_reader_that_stalls_over_tls_gets_everything_in_order_when_it_reads_again() {
    let broker = Broker::ours(&[]);
    let topic = broker.topic("slow");
    let mut subscriber = TlsClient::new(&broker, &broker.path(CA));
    let mut subscribing = subscribe(&topic);
    // QoS 1: nothing may be dropped; three megabytes are more than socket and output hold.
    *subscribing.last_mut().unwrap() = 1;
    subscriber.send(&[connect(&broker.id("s")), subscribing].concat());
    subscriber.receive(4 + 5);
    let mut publisher = TlsClient::new(&broker, &broker.path(CA));
    publisher.send(&connect(&broker.id("p")));
    publisher.receive(4);
    let payload = |number: u32| [&number.to_be_bytes(), &[b'x'; 10_000][..]].concat();
    for number in 0..300 {
        publisher.send(&publish_at_least_once(&topic, &payload(number)));
        assert_eq!(publisher.receive(4), [0x40, 2, 0, 2]);
    }
    let whole = publish_at_least_once(&topic, &payload(0)).len();
    for number in 0..300 {
        let packet = subscriber.receive(whole);
        assert_eq!(packet[0] & 0xf6, 0x32, "message {number}");
        assert!(packet.ends_with(&payload(number)), "message {number}");
    }
}

#[test]
fn many_who_shake_hands_hold_up_nobody_who_is_read_on() {
    const RECEIVERS: usize = 40;
    let broker = Broker::ours(&["--shards", "1", "--in-memory"]);
    let config = TlsClient::config(&broker.path(CA), None);
    let (heard, unheard) = (broker.topic("heard"), broker.topic("unheard"));
    let mut receivers = Vec::new();
    for number in 0..RECEIVERS {
        let mut stream = broker.connect();
        let id = broker.id(&format!("r{number}"));
        stream.write_all(&[connect(&id), subscribe(&heard)].concat()).unwrap();
        stream.read_exact(&mut [0; 9]).unwrap();
        receivers.push(stream);
    }
    let mut publisher = broker.connect();
    publisher.write_all(&connect(&broker.id("p"))).unwrap();
    publisher.read_exact(&mut [0; 4]).unwrap();
    // A little for each of many, from somebody who says much.
    let message = publish_at_most_once(&heard, b"x");
    let much = [publish_at_most_once(&unheard, &[0; 30_000]), message.clone()].concat();
    for round in 0..200 {
        // More of them at once than have a turn.
        let mut crowd: Vec<_> = (0..8).map(|_| TlsClient::sharing(&broker, &config)).collect();
        crowd.iter_mut().for_each(TlsClient::say_hello);
        publisher.write_all(&much).unwrap();
        for receiver in &mut receivers {
            let mut received = vec![0; message.len()];
            receiver.read_exact(&mut received).unwrap();
            assert!(received == message, "round {round}");
        }
    }
}

#[test]
fn a_thousand_clients_on_each_port_talk_across() {
    const CLIENTS: usize = 1_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let broker = Broker::ours(&[]);
    let ca = broker.path(CA);
    let config = TlsClient::config(&ca, None);
    let topic = |kind: &str, number: usize| broker.topic(&format!("{kind}{number}"));
    let mut plain = Vec::new();
    let mut over_tls = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = broker.connect();
        let id = broker.id(&format!("p{number}"));
        stream.write_all(&[connect(&id), subscribe(&topic("p", number))].concat()).unwrap();
        stream.read_exact(&mut [0; 9]).unwrap();
        plain.push(stream);
        let mut client = TlsClient::sharing(&broker, &config);
        let id = broker.id(&format!("t{number}"));
        client.send(&[connect(&id), subscribe(&topic("t", number))].concat());
        client.receive(9);
        over_tls.push(client);
    }
    for number in 0..CLIENTS {
        let other = (number * 7 + 1) % CLIENTS;
        plain[number].write_all(&publish_at_most_once(&topic("t", other), b"from plain")).unwrap();
        over_tls[number].send(&publish_at_most_once(&topic("p", other), b"from tls"));
    }
    for number in 0..CLIENTS {
        let expected = publish_at_most_once(&topic("p", number), b"from tls");
        let mut received = vec![0; expected.len()];
        plain[number].read_exact(&mut received).unwrap();
        assert!(received == expected, "plain {number}");
        let expected = publish_at_most_once(&topic("t", number), b"from plain");
        assert!(over_tls[number].receive(expected.len()) == expected, "TLS {number}");
    }
}

#[test]
fn a_client_at_the_wrong_port_gets_a_line_that_says_so() {
    let broker = Broker::ours(&[]);
    let mut plain = TcpStream::connect(("127.0.0.1", broker.tls_port().parse().unwrap())).unwrap();
    plain.write_all(&connect("wrong")).unwrap();
    assert_eq!(plain.read(&mut [0; 10]).unwrap_or(0), 0, "it is closed");
    broker.program().expect_complaint(&["plain MQTT on the TLS port", "peer=127.0.0.1"]);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port(), "--cafile", &ca(&broker)]);
    let finished = Program::start(command.args(["-t", "t", "-m", "x"])).finish();
    assert!(!finished.status.success(), "{finished:?}");
    broker.program().expect_complaint(&["TLS on the plain port", "peer=127.0.0.1"]);
    let said = broker.end_by(Signal::TERM).well().complaints;
    assert!(!said.contains("breaks the rules"), "it is said once: {said}");
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let broker = Broker::ours(&["--connect-timeout", "100ms", "--verbose"]);
    let mut silent = TcpStream::connect(("127.0.0.1", broker.tls_port().parse().unwrap())).unwrap();
    silent.set_read_timeout(Some(crate::program::DEADLINE)).unwrap();
    silent.write_all(&[0x16, 3, 1]).unwrap();
    let mut rest = Vec::new();
    // It may be told by an alert, and is closed in any case.
    silent.read_to_end(&mut rest).unwrap();
    broker.program().expect_complaint(&["disconnected", "CONNECT"]);
}

#[test]
fn what_tls_keeps_of_input_counts_as_memory_as_long_as_it_does() {
    let broker = Broker::ours(&["--sys-interval", "1s"]);
    let told = Subscriber::start(&broker, "mqttv5", &["-t", "$SYS/broker/memory/connections"]);
    let wait_until = |is_so: &dyn Fn(usize) -> bool| {
        while !is_so(told.next().payload.parse().expect("a number")) {}
    };
    // Most of a ClientHello of 65,000 bytes.
    let mut stranger =
        TcpStream::connect(("127.0.0.1", broker.tls_port().parse().unwrap())).unwrap();
    for first in [&[1, 0, 0xfd, 0xe8][..], &[], &[]] {
        let mut record = vec![0x16, 3, 1, 0x40, 0];
        record.extend_from_slice(first);
        record.resize(5 + 0x4000, 7);
        stranger.write_all(&record).unwrap();
    }
    wait_until(&|bytes| bytes >= 3 * 0x4000);
    drop(stranger);
    wait_until(&|bytes| bytes < 10_000);
    let mut client = TlsClient::new(&broker, &broker.path(CA));
    client.send(&connect(&broker.id("c")));
    client.receive(4);
    let rest = client.send_all_but(&publish_at_most_once(&broker.topic("t"), &[7; 16_000]), 1);
    wait_until(&|bytes| bytes >= 16_000);
    // Nothing answers it.
    client.send_encrypted(&rest);
    wait_until(&|bytes| bytes < 10_000);
}

#[test]
fn old_versions_of_tls_are_refused_and_new_ones_are_not() {
    let broker = Broker::ours(&[]);
    let ca = ca(&broker);
    let connect = |version: &str| {
        let mut command = Command::new("openssl");
        let address = format!("localhost:{}", broker.tls_port());
        command.args(["s_client", "-connect", &address, "-CAfile", &ca, "-verify_return_error"]);
        command.args(["-cipher", "ALL:@SECLEVEL=0", version]);
        Program::start(&mut command).finish()
    };
    for version in ["-tls1", "-tls1_1"] {
        assert!(!connect(version).status.success(), "{version}");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let finished = connect(version);
        assert!(finished.status.success(), "{version}: {finished:?}");
        let said = finished.lines.join("\n");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
}

#[test]
fn the_log_says_how_a_connection_is_carried() {
    let broker = Broker::ours(&["--verbose"]);
    let mut client = TlsClient::new(&broker, &broker.path(CA));
    client.send(&connect(&broker.id("a")));
    client.receive(4);
    broker.program().expect_complaint(&["connected", "TLS 1.3 TLS13_", &broker.id("a")]);
}

#[test]
fn without_tls_there_is_no_certificate() {
    let broker = Broker::ours(&["--no-tls"]);
    publish(&broker, "mqttv311", &["-t", &broker.topic("t"), "-m", "x"]);
    assert!(!broker.path("noctule-data/tls").exists());
}

fn ca(broker: &Broker) -> String {
    broker.path(CA).to_str().expect("UTF-8").to_owned()
}

/// CONNECT of 3.1.1 with a clean session.
fn connect(id: &str) -> Vec<u8> {
    let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4];
    packet.extend(b"MQTT\x04\x02\x00\x00\x00");
    packet.push(id.len() as u8);
    packet.extend(id.as_bytes());
    packet
}

/// SUBSCRIBE with packet id 1, QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
    packet.extend(filter.as_bytes());
    packet.push(0);
    packet
}

fn publish_at_most_once(topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_packet(0x30, topic, &[], payload)
}

/// PUBLISH with packet id 2.
fn publish_at_least_once(topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_packet(0x32, topic, &[0, 2], payload)
}

fn publish_packet(first: u8, topic: &str, id: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = 2 + topic.len() + id.len() + payload.len();
    while left > 0 {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left % 128) as u8 | more);
        left /= 128;
    }
    packet.extend([0, topic.len() as u8]);
    packet.extend(topic.as_bytes());
    packet.extend(id);
    packet.extend(payload);
    packet
}
