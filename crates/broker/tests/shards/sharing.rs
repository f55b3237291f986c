//! Shared subscriptions whose members live on several shards: each message comes to one of them.

use noctule_broker::{Limits, Offer, Record, Sharing};
use noctule_mqtt::ReasonCode;
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Said, Shards};
use std::collections::BTreeMap;

const GROUP: &str = "$share/g/x/#";

fn number(number: usize, qos: u8) -> Publishing {
    publish("x/y", number.to_string()).qos(qos)
}

/// Shards with a sender on each, and members: so many on each shard.
fn with_members(
    mut w: Shards,
    members: &[usize],
    connect: impl Fn() -> Connecting,
) -> (Shards, Vec<String>, Vec<String>) {
    let senders: Vec<_> = (0..members.len()).map(|shard| w.name_at(shard, 0)).collect();
    for (shard, name) in senders.iter().enumerate() {
        w.connect(name, shard, v5());
    }
    let mut names = Vec::new();
    for (shard, count) in members.iter().enumerate() {
        for nth in 0..*count {
            let name = w.name_at(shard, 1 + nth);
            w.connect(&name, 0, connect());
            w.subscribe(&name, GROUP, 2);
            names.push(name);
        }
    }
    (w, senders, names)
}

/// Acknowledges everything that members have heard and adds it up, by member.
fn collect(w: &mut Shards, names: &[String], into: &mut BTreeMap<String, Vec<String>>) {
    loop {
        let mut any = false;
        for name in names {
            while let Some(said) = w.next_heard(name) {
                any = true;
                match said {
                    Said::Publish(heard) => {
                        let payload = String::from_utf8_lossy(&heard.payload).into_owned();
                        into.entry(name.clone()).or_default().push(payload);
                        match heard.qos.bits() {
                            0 => {}
                            1 => w.send(name, puback(heard.packet_id())),
                            _ => w.send(name, pubrec(heard.packet_id())),
                        }
                    }
                    Said::Ack { packet: noctule_mqtt::PacketType::Pubrel, id, .. } => {
                        w.send(name, pubcomp(id));
                    }
                    other => panic!("{name} hears {other}"),
                }
            }
        }
        if !any {
            return;
        }
    }
}

fn publish_acknowledged(w: &mut Shards, sender: &str, message: Publishing) {
    let qos = message.qos.bits();
    if qos == 0 {
        return w.send(sender, message);
    }
    w.send(sender, message.id(7));
    w.expect(sender, if qos == 1 { puback(7) } else { pubrec(7) });
    if qos == 2 {
        w.send(sender, pubrel(7));
        w.expect(sender, pubcomp(7));
    }
}

#[test]
fn each_message_comes_to_one_member_and_shards_get_as_many_as_they_have_members() {
    for qos in 0..3 {
        let (mut w, senders, names) = with_members(Shards::new(3), &[2, 0, 1], v5);
        let mut heard = BTreeMap::new();
        for count in 0..36 {
            publish_acknowledged(&mut w, &senders[count % 3], number(count, qos));
            collect(&mut w, &names, &mut heard);
        }
        let mut all: Vec<_> = heard.values().flatten().cloned().collect();
        all.sort();
        let mut expected: Vec<_> = (0..36).map(|count| count.to_string()).collect();
        expected.sort();
        assert_eq!(all, expected, "each once");
        let shares: Vec<_> = names.iter().map(|name| heard[name].len()).collect();
        assert_eq!(shares, [12, 12, 12]);
    }
}

#[test]
fn a_member_may_leave_more_messages_to_another_shard_than_two_bytes_can_count() {
    let (mut w, senders, names) = with_members(Shards::new(2), &[1, 0], v5);
    let other = w.name_at(1, 1);
    w.connect(&other, 0, v5());
    w.subscribe(&other, GROUP, 2);
    w.lose(&other);
    // One more than two bytes can count.
    let all = usize::from(u16::MAX) + 1;
    for count in 0..all {
        w.send(&senders[0], publish("x/y", count.to_string()).qos(1).id(7));
        if w.next_heard(&senders[0]).is_none() {
            // The sender waits for the member, until that is known to be slow.
            w.pass_ms(1_000);
            w.expect(&senders[0], puback(7));
        }
    }
    w.connect(&other, 0, v5());
    w.subscribe(&other, GROUP, 2);
    w.lose(&names[0]);
    let mut heard = BTreeMap::new();
    collect(&mut w, std::slice::from_ref(&other), &mut heard);
    assert_eq!(heard[&other].len(), all);
}

#[test]
fn a_shard_whose_members_are_away_hands_on() {
    for qos in 0..3 {
        let (mut w, senders, names) =
            with_members(Shards::new(3), &[1, 1, 1], || v5().persistent());
        w.lose(&names[0]);
        w.lose(&names[1]);
        let mut heard = BTreeMap::new();
        for count in 0..9 {
            publish_acknowledged(&mut w, &senders[count % 3], number(count, qos));
            collect(&mut w, &names[2..], &mut heard);
        }
        assert_eq!(heard[&names[2]].len(), 9);
        for name in &names[..2] {
            assert!(w.connect(name, 0, v5().persistent()));
            w.expect_nothing(name);
        }
    }
}

#[test]
fn when_all_are_away_one_persistent_member_anywhere_keeps_the_message() {
    for qos in 1..3 {
        let (mut w, senders, names) =
            with_members(Shards::new(3), &[1, 0, 1], || v5().persistent());
        let clean = w.name_at(1, 5);
        w.connect(&clean, 0, v5());
        w.subscribe(&clean, GROUP, 2);
        w.lose(&names[0]);
        w.lose(&names[1]);
        w.lose(&clean);
        for count in 0..8 {
            publish_acknowledged(&mut w, &senders[count % 3], number(count, qos));
        }
        let mut heard = BTreeMap::new();
        for name in &names {
            assert!(w.connect(name, 0, v5().persistent()));
            collect(&mut w, &names, &mut heard);
        }
        let mut all: Vec<_> = heard.values().flatten().cloned().collect();
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }
}

#[test]
fn puback_waits_for_the_store_of_the_shard_that_takes_the_message_in_the_end() {
    let (mut w, senders, names) = with_members(Shards::new(3), &[0, 1, 1], || v5().persistent());
    // Whichever is asked first, it is away; the message ends with the other.
    for away in [0, 1] {
        w.lose(&names[away]);
        let there = 1 - away;
        w.hold_store(there + 1);
        for id in 1..3 {
            w.send(&senders[0], number(usize::from(id), 1).id(id));
            w.expect_nothing(&senders[0]);
        }
        w.let_store_run(there + 1);
        w.expect(&senders[0], puback(1));
        w.expect(&senders[0], puback(2));
        let mut heard = BTreeMap::new();
        collect(&mut w, &names[there..=there], &mut heard);
        assert_eq!(heard[&names[there]], ["1", "2"]);
        assert!(w.connect(&names[away], 0, v5().persistent()));
        w.expect_nothing(&names[away]);
    }
}

#[test]
fn nobody_anywhere_is_no_matching_subscribers() {
    let (mut w, senders, names) = with_members(Shards::new(2), &[0, 1], v5);
    w.send(&senders[0], number(0, 1).id(1));
    w.expect(&senders[0], puback(1));
    w.receive(&names[0], number(0, 1));
    w.disconnect(&names[0]);
    w.send(&senders[0], number(0, 1).id(1));
    w.expect(&senders[0], puback(1).because(ReasonCode::NoMatchingSubscribers));
    for name in &senders {
        w.disconnect(name);
    }
    w.expect_nobody_left();
}

#[test]
fn what_a_member_leaves_goes_to_one_on_another_shard() {
    let (mut w, senders, names) = with_members(Shards::new(2), &[1, 0], v5);
    for count in 0..3 {
        publish_acknowledged(&mut w, &senders[1], number(count, 1));
        w.expect(&names[0], number(count, 1));
    }
    let other = w.name_at(1, 4);
    w.connect(&other, 1, v5());
    w.subscribe(&other, GROUP, 1);
    w.lose(&names[0]);
    for count in 0..3 {
        w.receive(&other, number(count, 1));
    }
}

/// What the batches that a shard's store is held from say of a queue that is given away: how many messages
/// each of them takes from it, and who is owed which now.
fn given_away(w: &Shards, shard: usize) -> (Vec<usize>, Vec<String>) {
    let (mut taken, mut owed) = (Vec::new(), Vec::new());
    for records in w.held_batches(shard) {
        let is_taken = |record: &&Record| matches!(record, Record::Delivered { .. });
        taken.push(records.iter().filter(is_taken).count());
        for record in records {
            if let Record::Owed { owed: one, .. } = record {
                owed.push(String::from_utf8_lossy(one.message.payload()).into_owned());
            }
        }
    }
    (taken, owed)
}

#[test]
fn a_long_queue_is_given_away_in_slices_each_stored_with_who_is_owed_it() {
    // The other member lives on the same shard, and on another.
    for home in [0, 1] {
        let limits = Limits { queue_resident_bytes_max: 100 << 20, ..Limits::default() };
        let (mut w, senders, names) =
            with_members(Shards::with(2, &limits), &[1, 0], || v5().persistent());
        w.lose(&names[0]);
        let all: Vec<_> = (0..1_700).map(|count| count.to_string()).collect();
        for payload in &all {
            publish_acknowledged(&mut w, &senders[0], publish("x/y", payload.as_str()).qos(1));
        }
        let other = w.name_at(home, 7);
        w.connect(&other, home, v5().persistent());
        w.subscribe(&other, GROUP, 1);
        w.lose(&other);
        (0..2).for_each(|shard| w.hold_store(shard));
        w.start(&names[0], 0, v5().clean(true));
        let (taken, _) = given_away(&w, 0);
        // One slice when it ends, and one in each turn; what the last one takes goes with the session.
        assert_eq!(taken, [1_000, 500, 0]);
        let batches = w.held_batches(0);
        let nobodys = |record: &Record| matches!(record, Record::Session { client_id, .. } if client_id.is_empty());
        let ended = |record: &Record| matches!(record, Record::SessionEnded(_));
        assert!(batches[0].iter().any(nobodys), "the store knows of it until all is done");
        assert!(!batches[0].iter().any(ended));
        assert_eq!(batches.iter().flat_map(|records| *records).filter(|one| ended(one)).count(), 1);
        let (_, owed) = given_away(&w, home);
        assert_eq!(owed, all, "in their order");
        let together = |records: &[Record]| {
            records.iter().filter(|one| matches!(one, Record::Together { .. })).count()
        };
        let named: usize = batches.iter().map(|records| together(records)).sum();
        assert_eq!(named, if home == 0 { 0 } else { 4 }, "each slice with that of the other shard");
        (0..2).for_each(|shard| w.let_store_run(shard));
        assert!(w.connect(&other, home, v5().persistent()), "session present");
        let mut heard = BTreeMap::new();
        collect(&mut w, std::slice::from_ref(&other), &mut heard);
        assert_eq!(heard[&other], all);
        w.expect(&names[0], connack());
        let left: Vec<_> = senders.iter().chain([&names[0], &other]).cloned().collect();
        for name in &left {
            w.disconnect(name);
        }
        w.connect(&other, home, v5());
        w.disconnect(&other);
        w.expect_nobody_left();
    }
}

#[test]
fn members_that_come_and_go_while_letters_are_under_way_lose_nothing_to_the_others() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let (mut w, senders, names) =
            with_members(Shards::new(3), &[1, 1, 1], || v5().persistent());
        w.hold_mail();
        let mut heard = BTreeMap::new();
        for count in 0..40 {
            let at = dice.below(3);
            if dice.below(3) == 0 {
                if w.is_open(&names[at]) {
                    w.lose(&names[at]);
                } else {
                    w.start(&names[at], at, v5().persistent());
                    w.expect_accepted(&names[at]);
                }
            }
            w.send(&senders[count % 3], number(count, 1).id(1 + count as u16));
            for _ in 0..dice.below(4) {
                w.deliver_any(&mut dice);
            }
            // What a client has not acknowledged when it is lost comes again: nothing is read before.
        }
        w.let_mail_run();
        for (shard, name) in names.iter().enumerate() {
            if !w.is_open(name) {
                w.connect(name, shard, v5().persistent());
            }
        }
        for name in &senders {
            assert!(w.all_heard(name).iter().all(|said| matches!(said, Said::Ack { .. })));
        }
        collect(&mut w, &names, &mut heard);
        let mut all: Vec<usize> =
            heard.values().flatten().map(|payload| payload.parse().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..40).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_topic_of_a_hashing_group_has_one_member_whoever_publishes_where() {
    let offer = Offer { shared_subscriptions: Sharing::Hash, ..Offer::default() };
    let shards = Shards::of(3, &Limits::default(), &offer);
    let (mut w, senders, names) = with_members(shards, &[2, 1, 2], v5);
    let mut used = BTreeMap::new();
    for topic in 0..20 {
        let mut heard = BTreeMap::new();
        for sender in &senders {
            publish_acknowledged(&mut w, sender, publish(&format!("x/{topic}"), "m").qos(1));
            collect(&mut w, &names, &mut heard);
        }
        assert_eq!(heard.len(), 1, "{heard:?}");
        used.extend(heard);
    }
    assert!(used.len() > 2, "{used:?}");
}

#[test]
fn what_is_deferred_of_a_member_that_ends_is_stored_before_its_publisher_hears() {
    let limits = Limits {
        inflight_out_max: 1,
        acks_waiting_max: 100_000,
        unsent_bytes_max: 64 << 20,
        queue_resident_bytes_max: 100 << 20,
        ..Limits::default()
    };
    let mut w = Shards::with(1, &limits);
    w.connect("pub", 0, v311());
    for name in ["member", "other"] {
        w.connect(name, 0, v311().persistent());
        w.subscribe(name, "$share/g/x", 1);
    }
    w.defer(true);
    w.send("pub", pingreq());
    w.expect("pub", pingresp());
    w.hold_store(0);
    // More than are given away in two turns.
    for id in 1..=2_600 {
        w.send("pub", publish("x", id.to_string()).qos(1).id(id));
    }
    w.expect_nothing("pub");
    assert!(w.held_batches(0).is_empty(), "all of it is deferred");
    // The session ends, as its client wants a new one.
    w.start("next", 0, v311().id("member"));
    let is_owed = |record: &&Record| matches!(record, Record::Owed { .. });
    let (mut acknowledged, mut stored) = (0, 0);
    while let Some(batch) = w.held_batches(0).first() {
        stored += batch.iter().filter(is_owed).count();
        w.let_store_work_once(0);
        while w.next_heard("pub").is_some() {
            acknowledged += 1;
        }
        assert!(acknowledged <= stored, "{acknowledged} acknowledged, {stored} stored");
    }
    assert_eq!(acknowledged, 2_600);
    for name in ["member", "other", "next"] {
        w.all_heard(name);
    }
    w.expect_closed("member");
}
