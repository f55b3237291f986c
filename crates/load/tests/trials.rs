//! The trials, in small sizes, against a broker whose faults are known: what they report is compared
//! with what it did. It keeps sessions, lets a later client of the same id throw out the earlier
//! one, and has one bad habit at most.

#![allow(
    clippy::unwrap_used,
    reason = "Clippy takes the broker below for no test, as it is a function beside them"
)]

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use noctule_load::target::{How, Target};
use noctule_load::trial::{self, Crowd, Duel, Floods, Found, Heap, Receiver, Slow, Stuck, Trial};
use noctule_mqtt::packet::{Ack, Connack, Connect, Publish, Suback};
use noctule_mqtt::{Packet, PacketId, Properties, ProtocolVersion, QoS, ReasonCode};
use noctule_mqtt::{Receiver as Side, TopicFilter, TopicName, codec};

const MESSAGES: u64 = 100;

#[test]
fn an_honest_broker_bears_a_slow_subscriber() {
    for (qos, payload_bytes) in [(QoS::AtMostOnce, 1_000), (QoS::AtLeastOnce, 64)] {
        is_clean(&Slow { qos, publishers: 2, payload_bytes, duration: SHORT });
    }
}

#[test]
fn an_honest_broker_keeps_what_is_not_taken() {
    is_clean(&stuck(Receiver::Deaf));
    is_clean(&stuck(Receiver::Absent));
}

#[test]
fn an_honest_broker_bears_floods_and_a_crowd() {
    is_clean(&Floods { count: 5, payload_bytes: 64, duration: SHORT });
    is_clean(&Crowd { connections: 60, at_once: 20 });
}

#[test]
fn an_honest_broker_bears_many_subscriptions() {
    is_clean(&Heap { subscriptions: 400, per_packet: 50 });
}

const SHORT: Duration = Duration::from_millis(100);

fn is_clean(trial: &dyn Trial) {
    let found = found(Habit::None, trial);
    for one in &found {
        assert!(one.faults.is_clean(), "{one:?}");
        assert!(one.good_faults.is_clean(), "{one:?}");
        // A short phase may lie between two round trips.
        assert!(one.good.max_ms >= one.good.p99_ms, "{one:?}");
        assert!(one.good.p99_ms >= one.good.p50_ms, "{one:?}");
    }
    let before = &found[0];
    assert_eq!(before.phase, "before");
    assert!(before.good.count > 0 && before.good.p50_ms > Some(0.0), "{before:?}");
    let text = trial::table(&found);
    assert!(text.contains(&trial.name()), "{text}");
    assert_eq!(trial::json(&found)[1]["phase"], found[1].phase.as_str());
}

#[test]
fn what_a_receiver_never_gets_is_lost() {
    for receiver in [Receiver::Deaf, Receiver::Absent] {
        let found = found(Habit::LosesStuck, &stuck(receiver));
        assert_eq!(fact(&found, "sent to", "sent"), MESSAGES as f64);
        let taken = phase(&found, "takes it");
        assert_eq!(taken.faults.lost, MESSAGES / EVERY);
        assert_eq!(fact(&found, "takes it", "delivered") as u64, MESSAGES - MESSAGES / EVERY);
    }
}

#[test]
fn a_duel_ends_with_one_and_repetitions_are_no_fault() {
    let duel = Duel { clients: 5, duration: Duration::from_millis(300) };
    let found = found(Habit::None, &duel);
    assert!(fact(&found, "fight", "let in") > 5.0, "they came back: {found:?}");
    assert_eq!(fact(&found, "peace", "still there"), 1.0);
    let peace = phase(&found, "peace");
    assert!(fact(&found, "peace", "sent") > 0.0);
    assert!(peace.faults.is_clean(), "{peace:?}");
}

#[test]
fn a_message_that_comes_twice_as_if_new_is_doubled() {
    let duel = Duel { clients: 2, duration: Duration::from_millis(200) };
    let found = found(Habit::DoublesInDuels, &duel);
    assert!(phase(&found, "peace").faults.doubled > 0, "{found:?}");
}

#[test]
fn a_crowd_that_is_turned_away_in_part_is_counted() {
    let found = found(Habit::AdmitsHalf, &Crowd { connections: 40, at_once: 10 });
    assert_eq!(fact(&found, "comes", "let in"), 20.0);
    assert_eq!(fact(&found, "comes", "refused"), 20.0);
    assert_eq!(fact(&found, "pings", "answered"), 20.0);
}

#[test]
fn a_pause_is_seen_by_the_good_clients() {
    let found = found(Habit::PausesAtSubscribe, &Heap { subscriptions: 20, per_packet: 10 });
    let longest = phase(&found, "subscribes").good.max_ms.unwrap();
    assert!(longest >= PAUSE.as_secs_f64() * 1_000.0 / 2.0, "{longest} ms");
}

fn stuck(receiver: Receiver) -> Stuck {
    Stuck { receiver, bytes: MESSAGES * 100, payload_bytes: 100 }
}

fn found(habit: Habit, trial: &dyn Trial) -> Vec<Found> {
    let how = How::Running(broker(habit), None);
    let mut broker = Target { name: "test".into(), how, by_websocket: false }.start().unwrap();
    trial::run(&mut broker, trial, 2).unwrap()
}

fn phase<'a>(found: &'a [Found], name: &str) -> &'a Found {
    found.iter().find(|one| one.phase == name).unwrap()
}

fn fact(found: &[Found], of: &str, name: &str) -> f64 {
    phase(found, of).facts.iter().find(|(fact, _)| *fact == name).unwrap().1
}

/// What the broker does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    None,
    /// Every [`EVERY`]th message to clients whose id begins with `stuck`.
    LosesStuck,
    /// Messages to clients whose id begins with `duel`, as two different ones.
    DoublesInDuels,
    /// Every second client whose id begins with `crowd`.
    AdmitsHalf,
    /// Does nothing else for [`PAUSE`] when several filters come at once.
    PausesAtSubscribe,
}

const EVERY: u64 = 9;
const PAUSE: Duration = Duration::from_millis(200);

struct Post {
    habit: Habit,
    sessions: HashMap<String, Session>,
    connections: u64,
    crowd: u64,
    stuck: u64,
}

#[derive(Default)]
struct Session {
    filters: Vec<String>,
    unacknowledged: BTreeMap<u16, Vec<u8>>,
    last_id: u16,
    /// The number of the connection, the connection, and what is written to it.
    connected: Option<(u64, TcpStream, Sender<Vec<u8>>)>,
}

/// A broker on a thread, until the test's process ends.
fn broker(habit: Habit) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let sessions = HashMap::new();
    let post = Post { habit, sessions, connections: 0, crowd: 0, stuck: 0 };
    let post = Arc::new(Mutex::new(post));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, post) = (stream.unwrap(), Arc::clone(&post));
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || serve(stream, &post));
        }
    });
    address
}

/// Reads until the connection ends. Another thread writes, so nobody waits for a deaf one.
fn serve(mut stream: TcpStream, post: &Mutex<Post>) {
    let (sender, written) = channel::<Vec<u8>>();
    let mut writing = stream.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok(bytes) = written.recv() {
            if writing.write_all(&bytes).is_err() {
                break;
            }
        }
        // Whoever closed it already is no worse for it.
        let _ = writing.shutdown(Shutdown::Both);
    });
    let mut me = None;
    let mut input = Vec::new();
    let mut scratch = [0; 16 * 1_024];
    while let Ok(count) = stream.read(&mut scratch)
        && count > 0
    {
        input.extend_from_slice(&scratch[..count]);
        let mut used = 0;
        while let Some(frame) = codec::next_frame(&input[used..], 1_000_000).unwrap() {
            let packet = codec::decode(&frame, ProtocolVersion::V311, Side::Server).unwrap();
            let mut post = post.lock().unwrap();
            if let Packet::Connect(connect) = &packet {
                me = post.connect(connect, &stream, &sender);
            } else if let Some((id, _, _)) = &me {
                post.answer(id, &packet, &sender);
            }
            used += frame.bytes.len();
        }
        input.drain(..used);
    }
    if let Some((id, number, clean)) = me {
        post.lock().unwrap().disconnect(&id, number, clean);
    }
}

impl Post {
    /// Who it is, the number of the connection, and whether nothing is kept.
    fn connect(
        &mut self,
        connect: &Connect<'_>,
        stream: &TcpStream,
        sender: &Sender<Vec<u8>>,
    ) -> Option<(String, u64, bool)> {
        let id = connect.client_id.to_string();
        self.connections += 1;
        self.crowd += u64::from(id.starts_with("crowd"));
        let admitted = self.habit != Habit::AdmitsHalf
            || !id.starts_with("crowd")
            || self.crowd.is_multiple_of(2);
        let reason = if admitted { ReasonCode::Success } else { ReasonCode::ServerUnavailable };
        let properties = Properties::EMPTY;
        let connack = Connack { session_present: false, reason, properties };
        sender.send(encoded(&Packet::Connack(connack))).unwrap();
        if !admitted {
            return None;
        }
        let mut session = self.sessions.remove(&id).unwrap_or_default();
        if let Some((_, stream, _)) = session.connected.take() {
            stream.shutdown(Shutdown::Both).ok();
        }
        if connect.clean_start {
            session = Session::default();
        }
        for bytes in session.unacknowledged.values_mut() {
            bytes[0] |= DUP;
            sender.send(bytes.clone()).unwrap();
        }
        session.connected = Some((self.connections, stream.try_clone().unwrap(), sender.clone()));
        self.sessions.insert(id.clone(), session);
        Some((id, self.connections, connect.clean_start))
    }

    fn disconnect(&mut self, id: &str, number: u64, clean: bool) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.connected.as_ref().is_some_and(|(current, _, _)| *current == number) {
            session.connected = None;
            if clean {
                self.sessions.remove(id);
            }
        }
    }

    fn answer(&mut self, id: &str, packet: &Packet<'_>, sender: &Sender<Vec<u8>>) {
        // A writer that is gone has nobody to write to.
        let say = |packet: &Packet<'_>| drop(sender.send(encoded(packet)));
        match packet {
            Packet::Subscribe(subscribe) => {
                let filters = subscribe.subscriptions.iter();
                let filters: Vec<_> = filters.map(|one| one.filter.as_str().into()).collect();
                if filters.len() > 1 && self.habit == Habit::PausesAtSubscribe {
                    thread::sleep(PAUSE);
                }
                let granted = subscribe.subscriptions.iter().map(|one| one.options.qos.bits());
                let reasons = granted.map(|qos| ReasonCode::from_byte(qos).unwrap()).collect();
                self.sessions.get_mut(id).unwrap().filters.extend::<Vec<String>>(filters);
                let (packet_id, properties) = (subscribe.packet_id, Properties::EMPTY);
                say(&Packet::Suback(Suback { packet_id, properties, reasons }));
            }
            Packet::Publish(publish) => {
                self.route(publish);
                if let Some(id) = publish.packet_id {
                    say(&Packet::Puback(Ack::new(id, ReasonCode::Success)));
                }
            }
            Packet::Puback(ack) => {
                let session = self.sessions.get_mut(id).unwrap();
                session.unacknowledged.remove(&ack.packet_id.get());
            }
            Packet::Pingreq => say(&Packet::Pingresp),
            _ => {}
        }
    }

    fn route(&mut self, publish: &Publish<'_>) {
        let topic = publish.topic.unwrap();
        for (id, session) in &mut self.sessions {
            let wants = |filter: &String| TopicFilter::new(filter).unwrap().matches(topic);
            if !session.filters.iter().any(wants) {
                continue;
            }
            self.stuck += u64::from(id.starts_with("stuck"));
            if self.habit == Habit::LosesStuck
                && id.starts_with("stuck")
                && self.stuck.is_multiple_of(EVERY)
            {
                continue;
            }
            session.deliver(topic, publish);
            if self.habit == Habit::DoublesInDuels && id.starts_with("duel") {
                session.deliver(topic, publish);
            }
        }
    }
}

impl Session {
    fn deliver(&mut self, topic: TopicName<'_>, publish: &Publish<'_>) {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let acknowledged = publish.qos != QoS::AtMostOnce;
        let bytes = encoded(&Packet::Publish(Publish {
            dup: false,
            qos: publish.qos,
            retain: false,
            topic: Some(topic),
            packet_id: acknowledged.then(|| PacketId::new(self.last_id).unwrap()),
            properties: Properties::EMPTY,
            payload: publish.payload,
        }));
        if let Some((_, _, sender)) = &self.connected {
            // A writer that is gone has nobody to write to; what is acknowledged comes again.
            let _ = sender.send(bytes.clone());
        }
        if acknowledged {
            self.unacknowledged.insert(self.last_id, bytes);
        }
    }
}

const DUP: u8 = 0b1000;

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(packet, ProtocolVersion::V311, &mut bytes).unwrap();
    bytes
}
