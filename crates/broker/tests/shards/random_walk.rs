//! Clients of all versions wander over two to four shards while connections break and letters lie
//! in their boxes. What was promised is checked against the books.
//!
//! `NOCTULE_SEED` replays one walk.

use noctule_broker::Limits;
use noctule_mqtt::ReasonCode;
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Ledger, Pieces, Shards, Walker, seed_from_environment};
use std::collections::BTreeSet;

const SEEDS: std::ops::Range<u64> = 0..150;
const STEPS: usize = 500;

const TOPICS: &[&str] = &["t/0", "t/1", "t/2", "u"];
const FILTERS: &[&str] = &["t/0", "t/1", "t/+", "t/#", "#", "u", "+"];

struct Walk {
    w: Shards,
    ledger: Ledger,
    walkers: Vec<Walker>,
    dice: Dice,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let limits = Limits {
            // Departures lie in their boxes for long, and no client gives up.
            connect_timeout_ms: 1_000_000_000,
            inflight_out_max: 1 + dice.below(4) as u16,
            queue_resident_bytes_max: 300 + dice.below(1_000),
            retained_slice: 1 + dice.below(3),
            ..Limits::default()
        };
        let mut w = Shards::with(2 + dice.below(3), &limits);
        w.in_pieces(if dice.chance(50) { Pieces::Random(seed) } else { Pieces::Whole });
        w.hold_mail();
        w.note(format!("seed {seed}, {} shards", w.count()));
        let last_words = || will("u", "will").qos(1);
        let walkers = vec![
            Walker::new("a", v311().persistent(), true),
            Walker::new("b", v5().persistent().receive_maximum(2), true),
            Walker::new("c", v311().will(last_words()), false),
            Walker::new("d", v5().will(last_words().delay(5)), false),
            Walker::new("e", v5().persistent().will(last_words().delay(2)), true),
            Walker::new("f", v31(), false),
        ];
        let mut walk = Self { w, ledger: Ledger::default(), walkers, dice };
        walk.connect_all();
        walk
    }

    /// Whoever is away connects over some shard.
    fn connect_all(&mut self) {
        let Self { w, ledger, walkers, dice } = self;
        for walker in walkers.iter_mut().filter(|walker| !walker.is_there()) {
            let shard = dice.below(w.count());
            walker.connect(w, ledger, shard);
        }
    }

    /// What anybody has sent twice.
    fn repeated(&self) -> BTreeSet<usize> {
        self.walkers.iter().flat_map(|one| one.repeated().iter().copied()).collect()
    }

    fn step(&mut self) {
        let repeated = self.repeated();
        let Self { w, ledger, walkers, dice } = self;
        let at = dice.below(walkers.len());
        let walker = &mut walkers[at];
        match dice.below(100) {
            0..8 if !walker.is_there() || dice.chance(15) => {
                let shard = dice.below(w.count());
                walker.connect(w, ledger, shard);
            }
            8..10 if walker.is_there() => walker.lose(w, ledger),
            10 if walker.is_there() => walker.leave(w, ledger),
            11..40 => {
                for _ in 0..1 + dice.below(3) {
                    let qos = dice.below(3) as u8;
                    // At QoS 2 a persistent client's message is set when it is stored, and not in the
                    // order of numbers by which the retained ones are checked.
                    let retain = dice.chance(20) && qos < 2;
                    walker.publish(w, ledger, dice.pick(TOPICS), (qos, retain));
                }
                w.settle();
            }
            // The books claim what was accepted before a subscription ended or sank to QoS 0, and
            // cannot know of what is still on its way to another shard: it is let through first.
            40..48 => {
                let qos = dice.below(3) as u8;
                while qos == 0 && w.deliver_any(dice) {}
                walker.subscribe(w, ledger, dice.pick(FILTERS), qos);
            }
            48..50 => {
                while w.deliver_any(dice) {}
                walker.unsubscribe(w, ledger, dice.pick(FILTERS));
            }
            50..75 => {
                for _ in 0..1 + dice.below(6) {
                    w.deliver_any(dice);
                }
            }
            75..77 => w.pass_ms(dice.below(3_000) as u64),
            _ => {
                walker.listen(w, ledger, &repeated);
                walker.answer(w, dice.below(6));
            }
        }
    }

    /// Lets everything come to its end, and looks at what is left.
    fn finish(mut self) -> (usize, usize, usize) {
        // A connection that was closed by a straggler is noticed when it is listened to.
        for round in 0.. {
            self.connect_all();
            let repeated = self.repeated();
            let Self { w, ledger, walkers, dice } = &mut self;
            let mut busy = w.deliver_any(dice);
            for walker in walkers {
                busy |= walker.listen(w, ledger, &repeated);
                walker.answer(w, usize::MAX);
            }
            if !busy {
                break;
            }
            assert!(round < 10_000, "the clients do not come to rest");
        }
        let Self { w, ledger, walkers, .. } = &mut self;
        if let Some(restless) = walkers.iter().find(|walker| !walker.is_at_rest()) {
            w.fail(&format!("{} still waits for something: {restless:?}", restless.label()));
        }
        if let Err(lost) = ledger.settle() {
            w.fail(&lost);
        }
        let promised = ledger.promised();
        w.let_mail_run();
        for walker in walkers.iter_mut() {
            walker.leave(w, ledger);
            // Ends the session, in whatever version.
            w.connect("end", 0, v311().id(walker.name()));
            w.disconnect("end");
        }
        nobody_is_wanted(w);
        w.expect_nobody_left();
        let (published, delivered) = ledger.totals();
        (published, delivered, promised)
    }
}

/// No shard believes that another wants anything.
fn nobody_is_wanted(w: &mut Shards) {
    for shard in 0..w.count() {
        let name = w.name_at(shard, 0);
        w.connect(&name, 0, v5());
        for topic in TOPICS {
            w.send(&name, publish(topic, "m").qos(1).id(1));
            w.expect(&name, puback(1).because(ReasonCode::NoMatchingSubscribers));
        }
        w.disconnect(&name);
    }
}

#[test] // [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.6.0-6] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT5-4.6.0-6]
fn what_was_promised_is_kept_whoever_reads_his_mail_first() {
    let seeds = match seed_from_environment("NOCTULE_SEED") {
        Some(seed) => seed..seed + 1,
        None => SEEDS,
    };
    let whole = seeds.clone().count() as u64 == SEEDS.end;
    let (mut published, mut delivered, mut promised) = (0, 0, 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            if !whole {
                walk.w.keep_whole_transcript();
            }
            (0..STEPS).for_each(|_| walk.step());
            walk.finish()
        });
        let Ok(totals) = outcome else {
            panic!("NOCTULE_SEED={seed} replays this walk");
        };
        published += totals.0;
        delivered += totals.1;
        promised += totals.2;
    }
    if whole {
        // So that a walk that does nothing is noticed.
        assert!(published > 10_000, "{published} published");
        assert!(delivered > 10_000, "{delivered} delivered");
        assert!(promised > 2_000, "{promised} promised");
    }
}
