//! The topics below `$SYS/broker/`: the names that tools know from Mosquitto, and some of our own.
//!
//! To add a topic, add a line; docs/observing.md lists them. Values are text, and only what has
//! changed since the last round is published again.

use super::load::{Load, MINUTES};
use super::report::{dropped_messages, memory, now};
use crate::json_text::write_string;
use noctule_broker::{HOLDINGS, Holding, Snapshot, Traffic};
use noctule_mqtt::PacketType;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

const ROOT: &str = "$SYS/broker/";

/// What is published, and what was published last.
#[derive(Debug)]
pub(crate) struct SysTree {
    interval: Duration,
    durability: &'static str,
    said: BTreeMap<String, String>,
    loads: BTreeMap<&'static str, Load>,
    clients_max: usize,
    memory_max: usize,
    has_begun: bool,
}

/// The values of one round, by topic.
struct Round(Vec<(String, String)>);

impl Round {
    fn say(&mut self, topic: &str, value: impl Display) {
        self.0.push((format!("{ROOT}{topic}"), value.to_string()));
    }
}

impl SysTree {
    pub(crate) fn new(interval: Duration, durability: &'static str) -> Self {
        Self {
            interval,
            durability,
            said: BTreeMap::new(),
            loads: BTreeMap::new(),
            clients_max: 0,
            memory_max: 0,
            has_begun: false,
        }
    }

    /// The topics whose value has changed since the last round, with their values.
    pub(crate) fn changes(&mut self, sum: &Snapshot, uptime: Duration) -> Vec<(String, String)> {
        let mut round = Round(Vec::new());
        round.say("version", concat!("noctule version ", env!("CARGO_PKG_VERSION")));
        round.say("uptime", format_args!("{} seconds", uptime.as_secs()));
        round.say("durability", self.durability);
        self.clients(&mut round, sum);
        traffic(&mut round, sum);
        packets_by_type(&mut round, sum);
        self.kept(&mut round, sum);
        self.loads(&mut round, sum);
        our_own(&mut round, sum);
        round.0.retain(|(topic, value)| self.said.get(topic) != Some(value));
        for (topic, value) in &round.0 {
            self.said.insert(topic.clone(), value.clone());
        }
        round.0
    }

    fn clients(&mut self, round: &mut Round, sum: &Snapshot) {
        let away = sum.sessions - sum.connected.min(sum.sessions);
        self.clients_max = self.clients_max.max(sum.connected);
        round.say("clients/total", sum.sessions);
        round.say("clients/connected", sum.connected);
        round.say("clients/disconnected", away);
        round.say("clients/maximum", self.clients_max);
        round.say("clients/expired", sum.counters.sessions_expired);
        round.say("clients/active", sum.connected);
        round.say("clients/inactive", away);
        round.say("connections/socket/count", sum.connections);
    }

    /// What is kept: messages, subscriptions, memory.
    fn kept(&mut self, round: &mut Round, sum: &Snapshot) {
        let messages = sum.queued + sum.in_flight + sum.retained;
        let bytes = sum.memory.owed + sum.memory.spilled + sum.retained_bytes + sum.large_bytes;
        self.memory_max = self.memory_max.max(memory(sum));
        round.say("messages/stored", messages);
        round.say("store/messages/count", messages);
        round.say("store/messages/bytes", bytes);
        round.say("retained messages/count", sum.retained);
        round.say("subscriptions/count", sum.subscriptions);
        round.say("shared_subscriptions/count", sum.shared_subscriptions);
        round.say("packet/out/bytes", sum.unsent_bytes);
        round.say("heap/current", memory(sum));
        round.say("heap/maximum", self.memory_max);
    }

    fn loads(&mut self, round: &mut Round, sum: &Snapshot) {
        let Snapshot { counters, packets, .. } = sum;
        let counted = [
            ("messages/received", packets.all_received()),
            ("messages/sent", packets.all_sent()),
            ("publish/received", packets.messages_received()),
            ("publish/sent", packets.messages_sent()),
            ("publish/dropped", dropped_messages(sum)),
            ("bytes/received", counters.bytes_received),
            ("bytes/sent", counters.bytes_sent),
            ("connections", packets.received[PacketType::Connect as usize]),
            ("sockets", counters.connections_opened),
        ];
        // What had happened when nobody had looked yet belongs to no round.
        let interval = self.interval;
        for (name, count) in counted {
            let load = self.loads.entry(name).or_default();
            let averages = if self.has_begun { load.round(count, interval) } else { [0.0; 3] };
            for (minutes, average) in MINUTES.iter().zip(averages) {
                round.say(&format!("load/{name}/{minutes}min"), format_args!("{average:.2}"));
            }
        }
        self.has_begun = true;
    }
}

fn traffic(round: &mut Round, sum: &Snapshot) {
    let Snapshot { counters, packets, .. } = sum;
    round.say("bytes/received", counters.bytes_received);
    round.say("bytes/sent", counters.bytes_sent);
    round.say("messages/received", packets.all_received());
    round.say("messages/sent", packets.all_sent());
    round.say("publish/messages/received", packets.messages_received());
    round.say("publish/messages/sent", packets.messages_sent());
    round.say("publish/messages/dropped", dropped_messages(sum));
    round.say("publish/bytes/received", packets.payload_received);
    round.say("publish/bytes/sent", packets.payload_sent);
}

fn packets_by_type(round: &mut Round, sum: &Snapshot) {
    use PacketType as P;
    let packets = &sum.packets;
    let mut say = |name: &str, packet: PacketType, received: bool, sent: bool| {
        let type_number = packet as usize;
        if received {
            let received = match packet {
                P::Publish => packets.messages_received(),
                _ => packets.received[type_number],
            };
            round.say(&format!("mqtt/{name}/received"), received);
        }
        if sent {
            let sent = match packet {
                P::Publish => packets.messages_sent(),
                _ => packets.sent[type_number],
            };
            round.say(&format!("mqtt/{name}/sent"), sent);
        }
    };
    for (name, packet) in [
        ("connect", P::Connect),
        ("subscribe", P::Subscribe),
        ("unsubscribe", P::Unsubscribe),
        ("pingreq", P::Pingreq),
    ] {
        say(name, packet, true, false);
    }
    for (name, packet) in [
        ("connack", P::Connack),
        ("suback", P::Suback),
        ("unsuback", P::Unsuback),
        ("pingresp", P::Pingresp),
    ] {
        say(name, packet, false, true);
    }
    for (name, packet) in [
        ("publish", P::Publish),
        ("puback", P::Puback),
        ("pubrec", P::Pubrec),
        ("pubrel", P::Pubrel),
        ("pubcomp", P::Pubcomp),
        ("disconnect", P::Disconnect),
        ("auth", P::Auth),
    ] {
        say(name, packet, true, true);
    }
    round.say("mqtt/publish/dropped", dropped_messages(sum));
}

/// For whom so much memory is taken, as JSON.
fn holding_json(holding: &Holding) -> String {
    let mut text = String::from("{\"client_id\":");
    write_string(&mut text, &holding.client_id);
    text.push_str(&format!(",\"bytes\":{}}}", holding.bytes));
    text
}

/// What Mosquitto has no names for.
fn our_own(round: &mut Round, sum: &Snapshot) {
    for (reason, count) in sum.dropped.each() {
        round.say(&format!("dropped/{reason}"), count);
    }
    for (reason, count) in sum.refused.each() {
        round.say(&format!("refused/{reason}"), count);
    }
    for (right, count) in sum.denied.each() {
        round.say(&format!("denied/{right}"), count);
    }
    round.say("refused/connect_timeout", sum.counters.connect_timeouts);
    round.say("refused/gave_way", sum.counters.connects_given_way);
    round.say("violations", sum.counters.violations);
    let slowed = [
        ("rate", sum.counters.clients_slowed_by_rate),
        ("duel", sum.counters.duels_slowed),
        ("crowd", sum.counters.publishers_slowed),
        ("mail", sum.counters.publishers_slowed_by_mail),
        ("arrivals", sum.counters.arrivals_slowed),
    ];
    for (why, count) in slowed {
        round.say(&format!("slowed/{why}"), count);
    }
    let mut holdings = sum.holdings.as_slice().iter();
    for place in 1..=HOLDINGS {
        let holding = holdings.next().map_or_else(|| "none".to_owned(), holding_json);
        round.say(&format!("memory/most_for/{place}"), holding);
    }
    for (qos, count) in sum.packets.publish_received.iter().enumerate() {
        round.say(&format!("publish/messages/received/qos{qos}"), count);
    }
    for (qos, count) in sum.packets.publish_sent.iter().enumerate() {
        round.say(&format!("publish/messages/sent/qos{qos}"), count);
    }
    round.say("messages/queued", sum.queued);
    round.say("messages/inflight", sum.in_flight);
    let memory_by_kind = [
        ("connections", sum.memory.connections),
        ("sessions", sum.memory.sessions),
        ("owed", sum.memory.owed),
        ("spilled", sum.memory.spilled),
        ("mail", sum.memory.mail),
        ("retained", sum.retained_bytes),
        ("large", sum.large_bytes),
    ];
    for (kind, bytes) in memory_by_kind {
        round.say(&format!("memory/{kind}"), bytes);
    }
    by_transport(round, "plain", &plain(sum));
    by_transport(round, "tls", &sum.tls);
    let now = sum.websocket_opened.saturating_sub(sum.websocket_closed);
    round.say("transport/websocket/connections/now", now);
    round.say("transport/websocket/connections/ever", sum.websocket_opened);
}

fn by_transport(round: &mut Round, name: &str, traffic: &Traffic) {
    let mut say = |what: &str, value: u64| round.say(&format!("transport/{name}/{what}"), value);
    say("connections/now", now(traffic));
    say("connections/ever", traffic.connections_opened);
    say("connects/refused", traffic.connects_refused);
    say("bytes/received", traffic.bytes_received);
    say("bytes/sent", traffic.bytes_sent);
    say("publish/received", traffic.publish_received);
    say("publish/sent", traffic.publish_sent);
}

/// What is left for plain connections when those over TLS are taken off.
fn plain(sum: &Snapshot) -> Traffic {
    let Snapshot { counters, packets, tls, .. } = sum;
    let opened = counters.connections_opened.saturating_sub(tls.connections_opened);
    let open = (sum.connections as u64).saturating_sub(now(tls));
    Traffic {
        connections_opened: opened,
        connections_closed: opened.saturating_sub(open),
        connects_refused: counters.connects_refused.saturating_sub(tls.connects_refused),
        bytes_received: counters.bytes_received.saturating_sub(tls.bytes_received),
        bytes_sent: counters.bytes_sent.saturating_sub(tls.bytes_sent),
        publish_received: packets.messages_received().saturating_sub(tls.publish_received),
        publish_sent: packets.messages_sent().saturating_sub(tls.publish_sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn tree() -> SysTree {
        SysTree::new(Duration::from_secs(10), "never")
    }

    fn value<'a>(changes: &'a [(String, String)], topic: &str) -> Option<&'a str> {
        let topic = format!("{ROOT}{topic}");
        changes.iter().find(|(name, _)| *name == topic).map(|(_, value)| value.as_str())
    }

    #[test]
    fn only_what_has_changed_is_said_again() {
        let (mut tree, mut sum) = (tree(), Snapshot::default());
        let first = tree.changes(&sum, Duration::from_secs(1));
        assert!(first.len() > 90, "{}", first.len());
        assert_eq!(value(&first, "uptime"), Some("1 seconds"));
        assert_eq!(value(&first, "retained messages/count"), Some("0"));
        assert_eq!(tree.changes(&sum, Duration::from_secs(1)), []);
        sum.subscriptions = 3;
        let changes = tree.changes(&sum, Duration::from_secs(2));
        let expected = [("uptime", "2 seconds"), ("subscriptions/count", "3")];
        let expected = expected.map(|(name, value)| (format!("{ROOT}{name}"), value.to_owned()));
        assert_eq!(changes, expected);
    }

    #[test]
    fn every_topic_is_named_once_and_documented() {
        let page = include_str!("../../../../docs/observing.md");
        let all = tree().changes(&Snapshot::default(), Duration::ZERO);
        let mut names: Vec<_> = all.iter().map(|(topic, _)| topic.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        let listed: HashSet<String> = page.split('`').skip(1).step_by(2).flat_map(expand).collect();
        for name in names {
            assert!(listed.contains(name.trim_start_matches(ROOT)), "{name}");
        }
    }

    /// `a/{b,c}` as `a/b` and `a/c`.
    fn expand(pattern: &str) -> Vec<String> {
        let braces = pattern.split_once('{').and_then(|(before, rest)| {
            rest.split_once('}').map(|(inside, behind)| (before, inside, behind))
        });
        let Some((before, inside, behind)) = braces else {
            return vec![pattern.to_owned()];
        };
        inside.split(',').flat_map(|one| expand(&format!("{before}{one}{behind}"))).collect()
    }

    #[test]
    fn plain_is_what_is_not_tls() {
        let mut sum = Snapshot { connections: 5, ..Snapshot::default() };
        sum.counters.connections_opened = 9;
        sum.tls.connections_opened = 4;
        sum.tls.connections_closed = 1;
        sum.packets.publish_sent = [3, 2, 1];
        sum.tls.publish_sent = 4;
        let all = tree().changes(&sum, Duration::ZERO);
        assert_eq!(value(&all, "transport/tls/connections/now"), Some("3"));
        assert_eq!(value(&all, "transport/plain/connections/now"), Some("2"));
        assert_eq!(value(&all, "transport/plain/connections/ever"), Some("5"));
        assert_eq!(value(&all, "transport/plain/publish/sent"), Some("2"));
        assert_eq!(value(&all, "publish/messages/sent"), Some("6"));
    }

    #[test]
    fn those_for_whom_most_memory_is_taken_are_named_as_json() {
        let holding = Holding { client_id: "a\"b".into(), bytes: 7 };
        assert_eq!(holding_json(&holding), r#"{"client_id":"a\"b","bytes":7}"#);
        let all = tree().changes(&Snapshot::default(), Duration::ZERO);
        assert_eq!(value(&all, "memory/most_for/5"), Some("none"));
    }

    #[test]
    fn loads_begin_with_the_first_round() {
        let (mut tree, mut sum) = (tree(), Snapshot::default());
        sum.counters.connections_opened = 100;
        let first = tree.changes(&sum, Duration::ZERO);
        assert_eq!(value(&first, "load/sockets/1min"), Some("0.00"));
    }
}
