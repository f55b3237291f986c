//! What users of mosquitto_pub and mosquitto_sub see, over MQTT 3.1, 3.1.1 and 5.

use std::process::Command;

use crate::broker::Broker;
use crate::mosquitto::{Subscriber, VERSIONS, message, publish, publish_lines};
use crate::program::Program;
use crate::room::Room;

#[test]
fn every_version_reaches_every_version_at_every_qos() {
    let broker = Broker::start();
    let topic = broker.topic("t");
    let subscribers = VERSIONS.map(|version| {
        Subscriber::start(&broker, version, &["-i", &broker.id(version), "-q", "2", "-t", &topic])
    });
    for version in VERSIONS {
        for qos in 0..=2_u8 {
            let payload = format!("{version} at {qos}");
            publish(&broker, version, &["-t", &topic, "-q", &qos.to_string(), "-m", &payload]);
            for subscriber in &subscribers {
                assert_eq!(subscriber.next(), message(&topic, qos, false, &payload));
            }
        }
    }
}

#[test] // [MQTT3-3.8.4-6], [MQTT5-3.8.4-8]
fn a_delivery_has_the_lower_qos_of_publication_and_subscription() {
    let broker = Broker::start();
    let topic = broker.topic("t");
    let subscribers = [0, 1, 2_u8].map(|qos| {
        let id = broker.id(&qos.to_string());
        let flags = ["-i", &id, "-q", &qos.to_string(), "-t", &topic];
        (qos, Subscriber::start(&broker, "mqttv311", &flags))
    });
    for published in 0..=2_u8 {
        publish(&broker, "mqttv5", &["-t", &topic, "-q", &published.to_string(), "-m", "x"]);
        for (subscribed, subscriber) in &subscribers {
            let qos = published.min(*subscribed);
            assert_eq!(subscriber.next(), message(&topic, qos, false, "x"));
        }
    }
}

#[test] // [MQTT3-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-8], [MQTT3-3.3.1-9], [MQTT3-3.3.1-10]
fn a_retained_message_is_kept_replaced_and_cleared() {
    for version in VERSIONS {
        let broker = Broker::start();
        let topic = broker.topic("t");
        let end = broker.topic("end");
        let subscribe = |id: &str| {
            let flags = ["-i", &broker.id(id), "-q", "1", "-t", &topic, "-t", &end];
            Subscriber::start(&broker, version, &flags)
        };
        let retain = |what: &[&str]| {
            publish(&broker, version, &[&["-t", &topic, "-q", "1", "-r"], what].concat());
        };
        let live = subscribe("live");
        retain(&["-m", "old"]);
        retain(&["-m", "new"]);
        let late = subscribe("late");
        assert_eq!(late.next(), message(&topic, 1, true, "new"), "{version}");
        retain(&["-n"]);
        let later = subscribe("later");
        publish(&broker, version, &["-t", &end, "-q", "1", "-m", "end"]);
        assert_eq!(later.until("end"), [], "{version}: cleared");
        let seen = live.until("end");
        let lives = ["old", "new", ""].map(|payload| message(&topic, 1, false, payload));
        assert_eq!(seen, lives, "{version}: live messages are not marked as retained");
    }
}

#[test] // [MQTT3-3.1.2-8], [MQTT3-3.1.2-10], [MQTT5-3.1.2-8], [MQTT5-3.1.2-10]
fn a_will_is_sent_for_a_killed_client_and_not_for_one_that_left_in_peace() {
    for version in VERSIONS {
        let broker = Broker::start();
        let will = broker.topic("will");
        let watch =
            Subscriber::start(&broker, version, &["-i", &broker.id("w"), "-q", "2", "-t", &will]);
        let mortal = |id: &str, payload: &str| {
            let (id, filter) = (broker.id(id), broker.topic("none"));
            let will = ["--will-topic", &will, "--will-qos", "1", "--will-payload", payload];
            let flags = [&["-i", &id, "-t", &filter][..], &will].concat();
            Subscriber::start(&broker, version, &flags)
        };
        mortal("a", "left").leave();
        if version == "mqttv5" {
            // mosquitto_sub leaves with reason 0x04, and only 0x00 discards the will [MQTT5-3.14.4-3].
            assert_eq!(watch.next(), message(&will, 1, false, "left"));
        }
        mortal("b", "killed").kill();
        assert_eq!(watch.next(), message(&will, 1, false, "killed"), "{version}");
    }
}

#[test] // [MQTT3-3.1.2-4], [MQTT3-3.1.2-5], [MQTT3-4.6.0-6]
fn a_persistent_session_gets_what_was_sent_while_away_once_and_in_order() {
    for version in VERSIONS {
        for qos in ["1", "2"] {
            away_and_back(version, qos);
        }
    }
}

fn away_and_back(version: &str, qos: &str) {
    let broker = Broker::start();
    let (id, topic) = (broker.id("p"), broker.topic("t"));
    let mut flags = vec!["-c", "-i", &id, "-q", qos, "-t", &topic];
    if version == "mqttv5" {
        flags.extend(["-x", "3600"]);
    }
    Subscriber::begin(&broker, version, &[&flags[..], &["-E"]].concat()).finish().well();
    let lines: Vec<_> = (0..50).map(|number| format!("message {number}")).collect();
    publish_lines(&broker, version, &["-t", &topic, "-q", qos], &lines);

    let back = Subscriber::begin(&broker, version, &flags);
    // The last while-away message is there, so the session is; then one more, live.
    let mut seen: Vec<_> = (0..50).map(|_| back.next().payload).collect();
    publish(&broker, version, &["-t", &topic, "-q", qos, "-m", "end"]);
    seen.extend(back.until("end").into_iter().map(|message| message.payload));
    assert_eq!(seen, lines, "{version} at QoS {qos}");
    back.leave();

    let again = Subscriber::start(&broker, version, &flags);
    publish(&broker, version, &["-t", &topic, "-q", qos, "-m", "end"]);
    assert_eq!(again.until("end"), [], "{version} at QoS {qos}: acknowledged messages came again");
}

#[test] // [MQTT3-3.1.2-6], [MQTT5-3.1.2-4]
fn a_clean_session_forgets() {
    for version in VERSIONS {
        let broker = Broker::start();
        let (id, topic) = (broker.id("c"), broker.topic("t"));
        let flags = ["-i", &id, "-q", "1", "-t", &topic];
        Subscriber::start(&broker, version, &flags).leave();
        publish(&broker, version, &["-t", &topic, "-q", "1", "-m", "while away"]);
        let back = Subscriber::start(&broker, version, &flags);
        publish(&broker, version, &["-t", &topic, "-q", "1", "-m", "end"]);
        assert_eq!(back.until("end"), [], "{version}");
    }
}

#[test]
fn wildcards_match_what_the_specification_says() {
    let broker = Broker::start();
    let cases: [(&str, &[&str]); 6] = [
        ("a/+/c", &["a/b/c", "a//c"]),
        ("a/#", &["a", "a/b", "a/b/c", "a//c", "a/b/c/d"]),
        ("+/b", &["a/b", "/b"]),
        ("+", &["a", "b"]),
        ("/+", &["/b"]),
        ("#", &["a", "a/b", "a/b/c", "a//c", "a/b/c/d", "/b", "b"]),
    ];
    let topics = ["a", "a/b", "a/b/c", "a//c", "a/b/c/d", "/b", "b"];
    let end = broker.topic("the/very/end/of/it");
    let subscribers: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, (filter, matching))| {
            let (id, filter) = (broker.id(&number.to_string()), broker.topic(filter));
            let flags = ["-i", &id, "-q", "1", "-t", &filter, "-t", &end];
            (filter.clone(), matching, Subscriber::start(&broker, "mqttv311", &flags))
        })
        .collect();
    for topic in topics {
        publish(&broker, "mqttv311", &["-t", &broker.topic(topic), "-q", "1", "-m", topic]);
    }
    publish(&broker, "mqttv311", &["-t", &end, "-q", "1", "-m", "end"]);
    for (filter, matching, subscriber) in &subscribers {
        let seen: Vec<_> = subscriber.until("end").into_iter().map(|seen| seen.payload).collect();
        assert_eq!(seen, **matching, "{filter}");
    }
}

#[test]
fn several_filters_of_one_client_deliver_each_message_once_at_the_highest_qos() {
    for version in VERSIONS {
        let broker = Broker::start();
        let (wide, exact, end) = (broker.topic("#"), broker.topic("a/b"), broker.topic("end"));
        let flags = ["-i", &broker.id("s"), "-q", "2", "-t", &exact, "-t", &wide];
        let subscriber = Subscriber::start(&broker, version, &flags);
        publish(&broker, version, &["-t", &exact, "-q", "2", "-m", "both"]);
        // A QoS 2 message shows only after its release, so a later QoS 1 message could pass it.
        assert_eq!(subscriber.next(), message(&exact, 2, false, "both"), "{version}");
        publish(&broker, version, &["-t", &broker.topic("c"), "-q", "2", "-m", "one"]);
        publish(&broker, version, &["-t", &end, "-q", "2", "-m", "end"]);
        let one = message(&broker.topic("c"), 2, false, "one");
        assert_eq!(subscriber.until("end"), [one], "{version}");
    }
}

#[test] // [MQTT3-4.7.2-1], [MQTT5-4.7.2-1]
fn topics_with_a_dollar_are_not_matched_by_a_leading_wildcard() {
    let broker = Broker::start();
    let dollar = format!("${}/a", broker.word());
    let end = broker.topic("a");
    let subscribe = |id: &str, filters: &[&str]| {
        let mut flags = vec!["-q".to_owned(), "1".into(), "-i".into(), broker.id(id)];
        flags.extend(filters.iter().flat_map(|filter| ["-t".to_owned(), (*filter).to_owned()]));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        Subscriber::start(&broker, "mqttv311", &flags)
    };
    let all = subscribe("all", &["#"]);
    let plus = subscribe("plus", &["+/a"]);
    let named = subscribe("named", &[&format!("${}/#", broker.word()), &end]);
    publish(&broker, "mqttv311", &["-t", &dollar, "-q", "1", "-m", "dollar"]);
    publish(&broker, "mqttv311", &["-t", &end, "-q", "1", "-m", "end"]);
    // On a shared broker the wildcards may see strangers' messages, but never this one.
    for subscriber in [all, plus] {
        let seen = subscriber.until("end");
        assert!(seen.iter().all(|seen| seen.topic != dollar), "{seen:?}");
    }
    assert_eq!(named.until("end"), [message(&dollar, 1, false, "dollar")]);
}

#[test]
fn a_payload_of_a_million_bytes_arrives_whole_at_every_qos() {
    let (broker, room) = (Broker::start(), Room::new());
    let topic = broker.topic("t");
    // No period that divides a buffer size, so that a lost or doubled piece shows.
    let payload: String =
        (0..1_000_000_u32).map(|n| char::from(b'a' + (n % 9973 % 26) as u8)).collect();
    let file = room.file("payload", payload.as_bytes());
    let subscribers = VERSIONS.map(|version| {
        Subscriber::start(&broker, version, &["-i", &broker.id(version), "-q", "2", "-t", &topic])
    });
    for (version, qos) in VERSIONS.iter().zip(["0", "1", "2"]) {
        publish(&broker, version, &["-t", &topic, "-q", qos, "-f", &file.to_string_lossy()]);
        for subscriber in &subscribers {
            let seen = subscriber.next();
            assert_eq!(seen.payload.len(), payload.len(), "{version} at QoS {qos}");
            assert!(seen.payload == payload, "{version} at QoS {qos}: the payload changed");
        }
    }
}

#[test]
fn an_empty_payload_is_a_message_like_any_other() {
    let broker = Broker::start();
    let topic = broker.topic("t");
    let subscriber = Subscriber::start(&broker, "mqttv311", &["-i", &broker.id("s"), "-t", &topic]);
    publish(&broker, "mqttv5", &["-t", &topic, "-q", "1", "-n"]);
    assert_eq!(subscriber.next(), message(&topic, 0, false, ""));
}

#[test]
fn a_password_file_of_mosquittos_is_used_as_it_is() {
    let room = Room::new();
    let tool = |arguments: &[&str]| {
        let mut command = Command::new("mosquitto_passwd");
        Program::start(command.args(arguments).current_dir(room.path())).finish().well();
    };
    tool(&["-b", "-c", "p", "anna", "secret"]);
    tool(&["-b", "-H", "sha512", "p", "bert", "zwölf $ wörter"]);
    let broker = Broker::in_room(room, &["--password-file", "p"]);
    let publish = |user: &str, password: &str| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", &broker.host(), "-p", &broker.port(), "-t", &broker.topic("t")]);
        Program::start(command.args(["-m", "x", "-u", user, "-P", password])).finish().status.code()
    };
    assert_eq!(publish("anna", "secret"), Some(0));
    assert_eq!(publish("bert", "zwölf $ wörter"), Some(0));
    assert_ne!(publish("anna", "zwölf $ wörter"), Some(0));
    assert_ne!(publish("bert", "secret"), Some(0));
}
