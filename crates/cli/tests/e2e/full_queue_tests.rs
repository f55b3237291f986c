//! Full queues that refuse, as publishers of QoS 2 with sessions that are kept meet them: nobody gets what
//! one receiver has no room for, on whatever loop, and what was confirmed comes to all.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::broker::Broker;
use crate::mosquitto::{Subscriber, message, publish, refused};

const REFUSING: &[&str] = &["--no-tls", "--on-queue-full", "refuse", "--queue-messages-max", "2"];
const QUOTA_EXCEEDED: u8 = 0x97;
/// So many that they live on several loops, if there are several.
const RECEIVERS: usize = 6;

/// A client with a session that is kept.
struct Kept {
    stream: TcpStream,
    level: u8,
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    // All are short.
    [&[first, body.len() as u8], &body[..]].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0, text.len() as u8], text.as_bytes()].concat()
}

impl Kept {
    fn come(broker: &Broker, level: u8, id: &str) -> Self {
        let mut stream = broker.connect();
        // Of MQTT 5 with a session expiry interval of an hour.
        let properties: &[u8] = if level == 5 { &[5, 0x11, 0, 0, 0x0e, 0x10] } else { &[] };
        let head = [level, 0, 0, 0];
        let connect = packet(0x10, &[&text("MQTT"), &head, properties, &text(id)]);
        stream.write_all(&connect).expect("an open connection");
        let mut kept = Self { stream, level };
        assert_eq!(kept.hear().0, 0x20);
        kept
    }

    fn say(&mut self, first: u8, parts: &[&[u8]]) {
        self.stream.write_all(&packet(first, parts)).expect("an open connection");
    }

    /// The next packet.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a packet");
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).expect("a packet");
        (head[0], body)
    }

    /// Subscribes to everything there is, and is away.
    fn subscribe_and_leave(mut self) {
        let none: &[u8] = if self.level == 5 { &[0] } else { &[] };
        self.say(0x82, &[&[0, 1], none, &text("q"), &[2]]);
        assert_eq!(self.hear().0, 0x90);
        self.leave();
    }

    /// Leaves, and returns when the broker knows.
    fn leave(mut self) {
        self.say(0xe0, &[]);
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"");
    }

    fn publish(&mut self, first: u8, id: u8, payload: &str) {
        let none: &[u8] = if self.level == 5 { &[0] } else { &[] };
        self.say(first, &[&text("q"), &[0, id], none, payload.as_bytes()]);
    }

    /// Publishes, and finishes what is confirmed.
    fn publish_confirmed(&mut self, first: u8, id: u8, payload: &str) {
        self.publish(first, id, payload);
        let (first, body) = self.hear();
        assert_eq!((first, &body[..]), (0x50, &[0, id][..]), "{payload}");
        self.say(0x62, &[&[0, id]]);
        assert_eq!(self.hear(), (0x70, vec![0, id]));
    }

    /// Publishes what is refused; returns the client with the connection that it has then.
    fn publish_refused(mut self, broker: &Broker, name: &str, first: u8, id: u8) -> Self {
        self.publish(first, id, "refused");
        if self.level == 5 {
            let (first, body) = self.hear();
            assert_eq!((first, &body[..3]), (0x50, &[0, id, QUOTA_EXCEEDED][..]));
            return self;
        }
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"", "there is no word for it");
        Self::come(broker, self.level, name)
    }

    /// Receives these messages in their order, finishes them, and hears nothing else.
    fn receive(&mut self, payloads: &[&str]) {
        let (mut heard, mut released) = (Vec::new(), 0);
        while released < payloads.len() {
            let (first, body) = self.hear();
            if first == 0x62 {
                released += 1;
                self.say(0x70, &[&body]);
                continue;
            }
            assert_eq!(first & 0xf6, 0x34, "QoS 2");
            // Behind the topic "q", the packet identifier, and of MQTT 5 no properties.
            let (id, rest) = body[3..].split_at(2);
            let payload = if self.level == 5 { &rest[1..] } else { rest };
            heard.push(String::from_utf8_lossy(payload).into_owned());
            self.say(0x50, &[id]);
        }
        assert_eq!(heard, payloads);
        self.hears_nothing();
    }

    /// Nothing comes but the answer to a ping.
    fn hears_nothing(&mut self) {
        self.say(0xc0, &[]);
        assert_eq!(self.hear(), (0xd0, Vec::new()));
    }
}

#[test] // [MQTT3-4.8.0-2]
fn what_one_of_many_receivers_has_no_room_for_is_refused_and_nobody_gets_it() {
    for level in [4, 5] {
        let broker = Broker::ours(REFUSING);
        let names: Vec<_> = (0..RECEIVERS).map(|number| format!("r{number}")).collect();
        for name in &names {
            Kept::come(&broker, level, name).subscribe_and_leave();
        }
        let mut publisher = Kept::come(&broker, level, "p");
        for (id, payload) in [(1, "one"), (2, "two")] {
            publisher.publish_confirmed(0x34, id, payload);
        }
        for (number, name) in names.iter().enumerate() {
            publisher = publisher.publish_refused(&broker, "p", 0x34, 3);
            // As if PUBREC had been lost: its identifier is free, and it is a new message.
            publisher = publisher.publish_refused(&broker, "p", 0x3c, 3);
            let mut receiver = Kept::come(&broker, level, name);
            receiver.receive(&["one", "two"]);
            if number + 1 == RECEIVERS {
                publisher.publish_confirmed(0x3c, 3, "three");
                receiver.receive(&["three"]);
            }
            receiver.leave();
        }
        for name in &names[..RECEIVERS - 1] {
            let mut receiver = Kept::come(&broker, level, name);
            receiver.receive(&["three"]);
        }
    }
}

#[test]
fn mosquitto_pub_hears_that_a_queue_is_full_and_what_it_was_promised_survives_a_kill() {
    let broker = Broker::ours(REFUSING);
    Kept::come(&broker, 4, "away").subscribe_and_leave();
    let away = ["-c", "-i", "away", "-q", "2", "-t", "q"];
    let lasting = ["-x", "100"];
    let say = |payload| ["-c", "-i", "p", "-q", "2", "-t", "q", "-m", payload];
    for payload in ["one", "two"] {
        publish(&broker, "mqttv5", &[&say(payload)[..], &lasting].concat());
    }
    let told = refused(&broker, "mqttv5", &[&say("three")[..], &lasting].concat());
    assert!(told.complaints.contains("Quota exceeded"), "{told:?}");
    let closed = refused(&broker, "mqttv311", &say("three"));
    assert_ne!(closed.status.code(), Some(0), "{closed:?}");
    let room = broker.kill();
    let broker = Broker::in_room(room, REFUSING);
    let back = Subscriber::begin(&broker, "mqttv311", &away);
    assert_eq!(back.next(), message("q", 2, false, "one"));
    assert_eq!(back.next(), message("q", 2, false, "two"));
    publish(&broker, "mqttv5", &[&say("four")[..], &lasting].concat());
    assert_eq!(back.next(), message("q", 2, false, "four"));
}
