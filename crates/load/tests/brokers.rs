//! The generator against brokers whose faults are known, and its program against the relay.
//!
//! The broker here is a few threads that pass messages on, with one bad habit each. What the fleet
//! then reports is compared with what the habit did.

#![allow(
    clippy::unwrap_used,
    reason = "Clippy takes the broker below for no test, as it is a function beside them"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use noctule_load::bench::{self, Job, Scenario};
use noctule_load::checker::Faults;
use noctule_load::endpoint::Endpoint;
use noctule_load::fleet::{Fleet, Outcome};
use noctule_load::plan::{Goal, Pace, Plan, Shape};
use noctule_load::relay::Relay;
use noctule_load::schedule::Schedule;
use noctule_load::target::Target;
use noctule_load::watcher::Nobody;
use noctule_mqtt::packet::{Ack, Connack, Publish, Suback};
use noctule_mqtt::{Packet, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, Receiver};
use noctule_mqtt::{TopicName, codec};

const PAIRS: u16 = 3;
const MESSAGES: u64 = 100;

#[test]
fn an_honest_broker_is_clean_in_every_shape_pace_and_qos() {
    for shape in [Shape::Pairs(PAIRS), Shape::FanOut(4), Shape::FanIn(4)] {
        for pace in [Pace::Batch(1), Pace::Batch(8), Pace::Flood(50)] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let plan = Plan { shape, qos, payload_bytes: 64, pace, over_tls: false };
                let outcome = driven(Habit::None, plan);
                let sent = MESSAGES * shape.publishers() as u64;
                let heard = (0..shape.publishers()).map(|p| shape.listeners(p).len() as u64);
                assert_eq!(outcome.faults, Faults::default(), "{plan}");
                assert_eq!(outcome.sent, sent, "{plan}");
                assert_eq!(outcome.delivered, MESSAGES * heard.sum::<u64>(), "{plan}");
            }
        }
    }
}

#[test]
fn the_relay_is_clean_in_every_shape_qos_and_version() {
    let mut relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = relay.address().unwrap();
    thread::spawn(move || relay.serve());
    let mut run = 0;
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        for shape in [Shape::Pairs(PAIRS), Shape::FanOut(4), Shape::FanIn(4)] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let pace = Pace::Flood(50);
                let plan = Plan { shape, qos, payload_bytes: 64, pace, over_tls: false };
                run += 1;
                let endpoint = Endpoint { version, ..Endpoint::from(address) };
                let mut fleet = Fleet::connect(endpoint, plan, run).unwrap();
                let outcome = fleet.run(Goal::MessagesEach(MESSAGES)).unwrap();
                assert_eq!(outcome.faults, Faults::default(), "{plan}, {version:?}");
                let heard = (0..shape.publishers()).map(|p| shape.listeners(p).len() as u64);
                assert_eq!(outcome.delivered, MESSAGES * heard.sum::<u64>(), "{plan}, {version:?}");
            }
        }
    }
}

#[test]
fn a_schedule_is_kept_and_waiting_counts() {
    let mut relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = relay.address().unwrap();
    thread::spawn(move || relay.serve());
    let schedule = Schedule::new(2_000.0, Duration::ZERO);
    let plan = Plan { pace: Pace::Scheduled(schedule), ..flood(QoS::AtLeastOnce) };
    let mut fleet = Fleet::connect(address, plan, 1).unwrap();
    let goal = Goal::Time(Duration::from_millis(500));
    let (outcome, times) = fleet.run_timed(goal, &mut Nobody).unwrap();
    assert_eq!(outcome.faults, Faults::default());
    assert_eq!(outcome.sent, 1_000);
    assert_eq!(times.latency.count(), outcome.delivered);
    assert_eq!(times.lag.count(), outcome.sent);
    assert_eq!(outcome.left_out, 0);
}

#[test]
fn a_rate_so_low_that_nothing_comes_for_long_is_no_stall() {
    let mut relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = relay.address().unwrap();
    thread::spawn(move || relay.serve());
    let schedule = Schedule::new(1.0, Duration::ZERO);
    let plan = Plan { pace: Pace::Scheduled(schedule), ..flood(QoS::AtMostOnce) };
    let mut fleet = Fleet::connect(address, plan, 1).unwrap();
    // Shorter than the second between two messages, and long enough for one to come.
    fleet.give_up_after(Duration::from_millis(700));
    let outcome = fleet.run(Goal::Time(Duration::from_secs(2))).unwrap();
    assert_eq!((outcome.sent, outcome.delivered), (2, 2));
    assert!(outcome.elapsed >= Duration::from_secs(2), "{outcome:?}");
}

#[test]
fn a_broker_that_pauses_is_charged_for_all_who_waited() {
    let plan = Plan {
        pace: Pace::Scheduled(Schedule::new(1_000.0, Duration::ZERO)),
        ..flood(QoS::AtMostOnce)
    };
    let address = broker(Habit::Pauses, u32::from(PAIRS) * 2);
    let mut fleet = Fleet::connect(address, plan, 7).unwrap();
    let goal = Goal::Time(PAUSE * 2);
    let (outcome, times) = fleet.run_timed(goal, &mut Nobody).unwrap();
    assert_eq!(outcome.faults, Faults::default());
    // Half of the messages were due in the pause and have waited for half of it on average. Who counts
    // from the sending of one message at a time would see a single long wait of each publisher.
    let long = PAUSE.as_secs_f64() * 1_000.0 / 4.0;
    assert!(times.latency.quantile_ms(0.9).unwrap() > long, "{:?}", times.latency.json());
}

#[test]
fn a_broker_that_loses_is_found_out() {
    let outcome = driven(Habit::Loses, flood(QoS::AtMostOnce));
    let lost = ODD * u64::from(PAIRS);
    let expected = Faults { lost, ..Faults::default() };
    assert_eq!(outcome.faults, expected);
    assert_eq!(outcome.delivered, MESSAGES * u64::from(PAIRS) - lost);
}

#[test]
fn a_broker_that_doubles_is_found_out() {
    let expected = Faults { doubled: ODD * u64::from(PAIRS), ..Faults::default() };
    let outcome = driven(Habit::Doubles, flood(QoS::AtMostOnce));
    assert_eq!(outcome.faults, expected);
}

#[test]
fn a_broker_that_reorders_is_found_out() {
    let expected = Faults { reordered: ODD * u64::from(PAIRS), ..Faults::default() };
    let outcome = driven(Habit::Reorders, flood(QoS::AtMostOnce));
    assert_eq!(outcome.faults, expected);
}

#[test]
fn a_broker_that_changes_messages_is_found_out() {
    let outcome = driven(Habit::Shortens, flood(QoS::AtMostOnce));
    let odd = ODD * u64::from(PAIRS);
    let expected = Faults { foreign: odd, lost: odd, ..Faults::default() };
    assert_eq!(outcome.faults, expected);
}

#[test]
fn a_broker_that_does_not_acknowledge_is_found_out() {
    let outcome = driven(Habit::ForgetsToAcknowledge, flood(QoS::AtLeastOnce));
    assert_eq!(outcome.faults.lost, 0, "{}", outcome.faults);
    assert!(outcome.faults.unacknowledged > 0);
}

#[test]
fn a_broker_that_closes_is_an_error() {
    let address = broker(Habit::Closes, u32::from(PAIRS) * 2);
    let mut fleet = Fleet::connect(address, flood(QoS::AtMostOnce), 1).unwrap();
    let error = fleet.run(Goal::MessagesEach(MESSAGES)).unwrap_err();
    assert!(error.to_string().contains("load-00000001-p"), "{error}");
}

#[test]
fn a_stress_test_that_breaks_while_it_warms_up_tells_what_it_saw() {
    let job = Job {
        scenario: Scenario::Pair,
        clients: PAIRS,
        duration: Duration::from_secs(20),
        rate: None,
        qos: QoS::AtMostOnce,
        payload_bytes: 64,
        window: 50,
        ramp: Duration::ZERO,
    };
    let endpoint = Endpoint::from(broker(Habit::Closes, u32::from(PAIRS) * 2));
    let begin = std::time::Instant::now();
    let run = bench::run(&job, &endpoint, None, 0, &mut Nobody).unwrap();
    assert!(begin.elapsed() < job.duration / 2, "it broke while it warmed up");
    assert!(run.broke.is_some() && !run.is_clean() && !run.is_whole, "{run:?}");
    assert!(run.counts.sent > 0, "{run:?}");
}

#[test]
fn pairs_of_several_levels_have_each_their_own() {
    let mut relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = relay.address().unwrap();
    thread::spawn(move || relay.serve());
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let mut fleet = Fleet::connect_mixed(address, flood(levels[0]), &levels, 1).unwrap();
    fleet.keep_little(4_096, 10).unwrap();
    // Another QoS than its own, or an acknowledgement that is missing, would be a fault.
    let outcome = fleet.run(Goal::MessagesEach(MESSAGES)).unwrap();
    assert_eq!(outcome.faults, Faults::default());
    assert_eq!(outcome.delivered, MESSAGES * u64::from(PAIRS));
    let fan_out = Plan { shape: Shape::FanOut(2), ..flood(levels[0]) };
    assert!(Fleet::connect_mixed(address, fan_out, &levels, 2).is_err());
    assert!(Fleet::connect_mixed(address, flood(levels[0]), &[], 3).is_err());
}

#[test]
fn a_broker_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Fleet::connect(address, flood(QoS::AtMostOnce), 1).unwrap_err();
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[test]
fn the_program_compares_and_drives_the_relay() {
    let words = ["--brokers", "relay", "--seconds", "0.05", "--rounds", "2", "--count", "2"];
    let output = program(&[&["compare", "--json"][..], &words].concat());
    let found: serde_json::Value = serde_json::from_str(&output).unwrap();
    let cells = found["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8);
    for cell in cells {
        assert!(cell["us_per_message"].as_f64().unwrap() > 0.0, "{cell}");
        assert_eq!(cell["ratio_to_reference"], 1.0, "{cell}");
        assert_eq!(cell["faults"]["lost"], 0, "{cell}");
    }

    let relay = Target::relay(env!("CARGO_BIN_EXE_noctule-load").as_ref(), &["relay"]);
    for (mode, delivered) in [("q0-b1", 100), ("q0-b8", 160), ("q1-b8", 160)] {
        let broker = relay.start().unwrap();
        let address = broker.address.to_string();
        let output = program(&["drive", &address, "--mode", mode, "--messages", "100", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(found["delivered"], delivered, "{mode}");
    }
}

#[test]
fn the_program_measures_idle_connections() {
    let words =
        ["--brokers", "relay", "--connections", "100", "--settle", "0", "--keep-alive", "60"];
    let output = program(&[&["idle", "--json"][..], &words].concat());
    let found: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(found[0]["connections"], 100);
    assert!(found[0]["resident_after"].as_u64() >= found[0]["resident_before"].as_u64());
}

#[test]
fn the_later_half_of_the_sending_is_told_apart() {
    let plan = flood(QoS::AtMostOnce);
    let address = broker(Habit::None, 2 * u32::from(PAIRS));
    let mut fleet = Fleet::connect(address, plan, 7).unwrap();
    let duration = Duration::from_millis(300);
    let outcome = fleet.run(Goal::Time(duration)).unwrap();
    let steady = outcome.steady.unwrap();
    assert!(0 < steady.delivered && steady.delivered < outcome.delivered, "{outcome:?}");
    // From the first turn after half of the time to the first one after all of it.
    assert!(steady.elapsed < outcome.elapsed, "{outcome:?}");
    assert!(steady.rate() > 0.0);
    assert_eq!(fleet.run(Goal::MessagesEach(10)).unwrap().steady, None);
}

fn program(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_noctule-load")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn flood(qos: QoS) -> Plan {
    let (shape, pace) = (Shape::Pairs(PAIRS), Pace::Flood(20));
    Plan { shape, qos, payload_bytes: 64, pace, over_tls: false }
}

fn driven(habit: Habit, plan: Plan) -> Outcome {
    let connections = plan.shape.publishers() + plan.shape.subscribers();
    let address = broker(habit, connections as u32);
    let mut fleet = Fleet::connect(address, plan, 7).unwrap();
    if matches!(habit, Habit::Loses | Habit::Shortens | Habit::ForgetsToAcknowledge) {
        // The run ends by silence, as what is waited for never comes.
        fleet.give_up_after(Duration::from_secs(1));
    }
    fleet.run(Goal::MessagesEach(MESSAGES)).unwrap()
}

/// What a broker does wrong with every [`EVERY`]th message of a topic.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    None,
    Loses,
    Doubles,
    /// Sends it behind the next one.
    Reorders,
    Shortens,
    ForgetsToAcknowledge,
    /// Closes the publisher's connection.
    Closes,
    /// Reads nothing for a while after its first message.
    Pauses,
}

/// Small enough that a window holds some, and no divisor of [`MESSAGES`]: the last messages of a
/// run are good ones.
const EVERY: u64 = 9;
const ODD: u64 = MESSAGES / EVERY;
const PAUSE: Duration = Duration::from_millis(300);

type Subscribers = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

/// A broker for that many connections, after which it takes no more.
fn broker(habit: Habit, connections: u32) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let subscribers = Subscribers::default();
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut serving = Serving {
                habit,
                stream,
                subscribers: subscribers.clone(),
                published: 0,
                held: None,
            };
            thread::spawn(move || serving.serve());
        }
    });
    address
}

struct Serving {
    habit: Habit,
    stream: TcpStream,
    subscribers: Subscribers,
    published: u64,
    /// Kept back to go out behind the next one.
    held: Option<Vec<u8>>,
}

impl Serving {
    /// Until the connection ends, by whomever.
    fn serve(&mut self) {
        let mut input = Vec::new();
        let mut scratch = [0; 4096];
        while let Ok(count) = self.stream.read(&mut scratch)
            && count > 0
        {
            input.extend_from_slice(&scratch[..count]);
            while let Some(frame) = codec::next_frame(&input, 10_000).unwrap() {
                let length = frame.bytes.len();
                let packet = codec::decode(&frame, ProtocolVersion::V311, Receiver::Server);
                if !self.answer(&packet.unwrap()) {
                    return;
                }
                input.drain(..length);
            }
        }
    }

    /// Whether the connection goes on.
    fn answer(&mut self, packet: &Packet<'_>) -> bool {
        match packet {
            Packet::Connect(_) => self.say(&Packet::Connack(Connack {
                session_present: false,
                reason: ReasonCode::Success,
                properties: Properties::EMPTY,
            })),
            Packet::Subscribe(subscribe) => {
                let subscription = subscribe.subscriptions[0];
                let key = subscription.filter.as_str().to_owned();
                let stream = self.stream.try_clone().unwrap();
                let mut subscribers = self.subscribers.lock().unwrap();
                subscribers.entry(key).or_default().push(stream);
                drop(subscribers);
                self.say(&Packet::Suback(Suback {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: vec![ReasonCode::from_byte(subscription.options.qos.bits()).unwrap()],
                }));
            }
            Packet::Publish(publish) => return self.route(publish),
            Packet::Disconnect(_) => return false,
            _ => {}
        }
        true
    }

    fn route(&mut self, publish: &Publish<'_>) -> bool {
        self.published += 1;
        let odd = self.published.is_multiple_of(EVERY);
        let topic = publish.topic.unwrap();
        let whole = message(topic, publish.qos, publish.payload);
        match self.habit {
            Habit::Pauses if self.published == 1 => {
                thread::sleep(PAUSE);
                self.send(topic, &whole);
            }
            Habit::Closes if odd => {
                self.stream.shutdown(std::net::Shutdown::Both).unwrap();
                return false;
            }
            Habit::Loses if odd => {}
            Habit::Reorders if odd => self.held = Some(whole),
            Habit::Shortens if odd => {
                let payload = &publish.payload[1..];
                self.send(topic, &message(topic, publish.qos, payload));
            }
            _ => {
                self.send(topic, &whole);
                if odd && self.habit == Habit::Doubles {
                    self.send(topic, &whole);
                }
                if let Some(held) = self.held.take() {
                    self.send(topic, &held);
                }
            }
        }
        if let Some(id) = publish.packet_id
            && !(odd && self.habit == Habit::ForgetsToAcknowledge)
        {
            self.say(&Packet::Puback(Ack::new(id, ReasonCode::Success)));
        }
        true
    }

    /// To those who subscribed to the topic, or to all with a wildcard in its last level.
    fn send(&self, topic: TopicName<'_>, bytes: &[u8]) {
        let (parent, _) = topic.as_str().rsplit_once('/').unwrap();
        let filters = [topic.as_str().to_owned(), format!("{parent}/+")];
        let subscribers = self.subscribers.lock().unwrap();
        for mut stream in filters.iter().filter_map(|f| subscribers.get(f)).flatten() {
            stream.write_all(bytes).unwrap();
        }
    }

    fn say(&mut self, packet: &Packet<'_>) {
        // Under the lock, as others write to this stream as well.
        let _alone = self.subscribers.lock().unwrap();
        self.stream.write_all(&encoded(packet)).unwrap();
    }
}

fn message(topic: TopicName<'_>, qos: QoS, payload: &[u8]) -> Vec<u8> {
    encoded(&Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(topic),
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::FIRST),
        properties: Properties::EMPTY,
        payload,
    }))
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(packet, ProtocolVersion::V311, &mut bytes).unwrap();
    bytes
}
