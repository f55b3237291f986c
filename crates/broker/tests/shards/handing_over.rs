//! From the shard that accepts a connection to the one where its session lives.

use crate::{connecting, in_each_version};
use noctule_broker::Limits;
use noctule_mqtt::{ProtocolVersion, ReasonCode};
use noctule_testkit::packets::*;
use noctule_testkit::{Pieces, Shards};

/// Everything a client may send right behind CONNECT comes to the session's shard with it.
fn conversation_right_behind_connect(w: &mut Shards, connect: Connecting, hold: bool) {
    let name = w.name_at(1, 0);
    if hold {
        w.hold_mail();
    }
    w.open(&name, 0, connect.version());
    w.say(&name, connect);
    w.say(&name, subscribe(1, "t/#", 1));
    w.say(&name, publish("t/1", "first").qos(1).id(2));
    w.say(&name, publish("t/2", "second").qos(2).id(3));
    w.settle();
    if hold {
        // The departure waits in the box, and more comes.
        w.expect_nothing(&name);
        assert_eq!((w.place_of(&name), w.letters(0, 1)), (None, 1));
        w.send(&name, pingreq());
        w.expect_nothing(&name);
        w.deliver(0, 1);
    }
    assert!(!w.expect_accepted(&name));
    assert_eq!(w.place_of(&name), Some(1));
    w.expect(&name, suback(1, &[1]));
    let mut heard = w.all_heard(&name);
    let answers = [puback(2), pubrec(3)];
    heard.retain(|said| !answers.contains(said));
    let payloads: Vec<_> = heard
        .iter()
        .filter_map(|said| match said {
            Said::Publish(publish) => Some(publish.payload.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(payloads, [b"first".as_slice(), b"second"], "{heard:?}");
    assert_eq!(heard.len(), if hold { 3 } else { 2 }, "{heard:?}");
    w.send(&name, pubrel(3));
    w.expect(&name, pubcomp(3));
    w.disconnect(&name);
    w.expect_nobody_left();
}

#[test] // [MQTT3-3.1.4-5] [MQTT3-3.2.0-1] [MQTT5-3.1.4-6] [MQTT5-3.2.0-1]
fn data_right_behind_connect_arrives_with_the_connection_and_after_connack() {
    for hold in [false, true] {
        for pieces in [Pieces::Whole, Pieces::Bytes, Pieces::Random(3), Pieces::Random(4)] {
            in_each_version(|version| {
                let mut w = Shards::new(2);
                w.in_pieces(pieces);
                conversation_right_behind_connect(&mut w, connecting(version), hold);
            });
        }
    }
}

/// Two connections of one id, over two shards; those that travel arrive in this order. The one
/// that comes to the session's shard last is the one that stays.
fn two_connects(connect: &Connecting, accepted: [usize; 2], arrivals: &[usize]) {
    const NAMES: [&str; 2] = ["x/0", "x/1"];
    let mut w = Shards::new(3);
    let id = w.name_at(1, 0);
    w.hold_mail();
    for (name, shard) in NAMES.into_iter().zip(accepted) {
        w.start(name, shard, connect.clone().id(&id));
        // Right behind CONNECT, and answered if the connection has a session when it is read.
        w.send(name, pingreq());
    }
    for which in arrivals {
        w.deliver(accepted[*which], 1);
    }
    let last = arrivals[arrivals.len() - 1];
    let (winner, loser) = (NAMES[last], NAMES[1 - last]);
    for name in [winner, loser] {
        w.expect_accepted(name);
        w.expect(name, pingresp());
    }
    if connect.version().has_reason_codes() {
        w.expect(loser, disconnect(ReasonCode::SessionTakenOver));
    }
    w.expect_closed(loser);
    w.send(winner, pingreq());
    w.expect(winner, pingresp());
    assert_eq!(w.connections(), 1);
    w.disconnect(winner);
    w.let_mail_run();
    w.connect("end", 0, v311().id(&id));
    w.disconnect("end");
    w.expect_nobody_left();
}

#[test] // [MQTT3-3.1.4-2] [MQTT5-3.1.4-3]
fn of_two_connects_of_one_id_on_two_shards_one_wins_and_the_other_is_closed() {
    in_each_version(|version| {
        for connect in [connecting(version), connecting(version).persistent()] {
            // Both travel, and the mail decides.
            two_connects(&connect, [0, 2], &[0, 1]);
            two_connects(&connect, [0, 2], &[1, 0]);
            two_connects(&connect, [0, 0], &[0, 1]);
            // One is accepted at home, while the other is on its way.
            two_connects(&connect, [0, 1], &[0]);
            two_connects(&connect, [1, 2], &[1]);
        }
    });
}

#[test]
fn a_persistent_session_is_found_from_every_shard_with_all_it_is_owed() {
    in_each_version(|version| {
        let mut w = Shards::new(3);
        let (name, sender) = (w.name_at(2, 0), w.name_at(0, 0));
        w.connect(&name, 0, connecting(version).persistent());
        w.subscribe(&name, "t", 1);
        w.connect(&sender, 0, v5());
        for shard in [1, 2, 0] {
            w.lose(&name);
            w.send(&sender, publish("t", shard.to_string()).qos(1).id(9));
            w.expect(&sender, puback(9));
            let present = w.connect(&name, shard, connecting(version).persistent());
            // 3.1 has no way to say so.
            assert_eq!(present, version != ProtocolVersion::V31, "session present");
            w.receive(&name, publish("t", shard.to_string()).qos(1));
        }
        w.disconnect(&sender);
        w.disconnect(&name);
        w.connect(&name, 0, connecting(version));
        w.disconnect(&name);
        w.expect_nobody_left();
    });
}

#[test]
fn a_connection_that_breaks_on_its_way_leaves_nothing_behind() {
    in_each_version(|version| {
        let mut w = Shards::new(2);
        let (name, watcher) = (w.name_at(1, 0), w.name_at(0, 0));
        w.connect(&watcher, 0, v311());
        w.subscribe(&watcher, "last", 0);
        w.hold_mail();
        w.start(&name, 0, connecting(version).will(will("last", "words")));
        w.lose(&name);
        assert_eq!(w.connections(), 2, "it is counted until it arrives");
        w.let_mail_run();
        // It was accepted, so its will counts [MQTT3-3.1.2-8] [MQTT5-3.1.2-8].
        w.receive(&watcher, publish("last", "words"));
        w.disconnect(&watcher);
        w.expect_nobody_left();
    });
}

#[test]
fn who_sent_much_behind_connect_is_read_again_on_the_shard_of_its_session() {
    let limits = Limits { memory_max: 1_000_000, ..Limits::default() };
    let mut w = Shards::with(2, &limits);
    let (away, sender, name) = (w.name_at(1, 0), w.name_at(1, 1), w.name_at(1, 2));
    w.connect(&away, 1, v311().persistent());
    w.subscribe(&away, "fill", 1);
    w.lose(&away);
    w.connect(&sender, 1, v311());
    // Enough to have floods read slowly.
    for _ in 0..750 {
        w.send(&sender, publish("fill", [0; 1_000]).qos(1).id(1));
        w.expect(&sender, puback(1));
    }
    w.open(&name, 0, ProtocolVersion::V311);
    w.say(&name, v311().id(&name));
    w.say(&name, publish("nobody", [0; 5_000]));
    w.say(&name, pingreq());
    w.settle();
    assert!(!w.expect_accepted(&name));
    assert_eq!(w.place_of(&name), Some(1));
    // A brake of 100 ms, and the grain of a timer.
    w.pass_ms(100 + 2 * 128);
    w.expect(&name, pingresp());
    w.send(&name, pingreq());
    w.expect(&name, pingresp());
}

#[test]
fn nobody_gives_way_for_somebody_whose_place_was_made_on_another_shard() {
    let limits = Limits { connections_max: 4, ..Limits::default() };
    let mut w = Shards::with(2, &limits);
    for (name, shard) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
        w.open(name, shard, ProtocolVersion::V5);
        w.pass_ms(1);
    }
    w.pass_ms(3_000);
    // Both come before anybody has gone.
    w.open("e", 0, ProtocolVersion::V5);
    w.open("f", 1, ProtocolVersion::V5);
    w.settle();
    w.expect_closed("a");
    w.expect_closed("c");
    assert!(w.is_open("b") && w.is_open("d"));
    assert_eq!(w.connections(), 4);
    for name in ["b", "d", "e", "f"] {
        w.send(name, v5());
        w.expect(name, connack());
    }
}
