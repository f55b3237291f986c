//! A few clients of all versions do at random what clients do, while connections break, sockets
//! stall and the store takes its time. What was promised is checked against the books.
//!
//! `NOCTULE_SEED` replays one walk.

use noctule_broker::Limits;
use noctule_mqtt::ProtocolVersion;
use noctule_testkit::packets::*;
use noctule_testkit::{Dice, Ledger, Peer, Pieces, World, seed_from_environment};

const SEEDS: std::ops::Range<u64> = 0..300;
const STEPS: usize = 300;

const TOPICS: &[&str] = &["t/0", "t/1", "t/2", "u"];
const FILTERS: &[&str] = &["t/0", "t/1", "t/+", "t/#", "#", "u", "+"];

/// Everything is small, so that every edge is met.
fn limits(dice: &mut Dice) -> Limits {
    Limits {
        // The store is held for long, and no client gives up.
        connect_timeout_ms: 1_000_000_000,
        inflight_out_max: 1 + dice.below(4) as u16,
        inflight_in_max: 8,
        qos2_ids_max: 8,
        unsent_bytes_max: 200 + dice.below(2_000),
        queue_resident_bytes_max: 300 + dice.below(1_000),
        acks_waiting_max: 1 + dice.below(4),
        retained_slice: 1 + dice.below(3),
        ..Limits::default()
    }
}

struct Walk {
    w: World,
    ledger: Ledger,
    peers: Vec<Peer>,
    dice: Dice,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut w = World::with(limits(&mut dice));
        match dice.below(10) {
            0 => w.in_pieces(Pieces::Bytes),
            1..6 => w.in_pieces(Pieces::Random(seed)),
            _ => {}
        }
        let last_words = || will("u", "will").qos(1);
        let peers = vec![
            Peer::new("a", v311().persistent(), true),
            Peer::new("b", v5().persistent().receive_maximum(2), true),
            Peer::new("c", v311().clean(true).will(last_words()), false),
            Peer::new("d", v5().will(last_words().delay(5)), false),
            Peer::new("e", v5().persistent().will(last_words().delay(2)), true),
            Peer::new("f", v31(), false),
        ];
        w.note(format!("seed {seed}"));
        Self { w, ledger: Ledger::default(), peers, dice }
    }

    fn step(&mut self) {
        let Self { w, ledger, peers, dice } = self;
        let at = dice.below(peers.len());
        let peer = &mut peers[at];
        match dice.below(100) {
            0..8 if !peer.is_there() || dice.chance(20) => peer.connect(w, ledger),
            8..10 if peer.is_there() => peer.lose(w, ledger),
            10 if peer.is_there() => peer.leave(w, ledger),
            11..45 => {
                let topic = dice.pick(TOPICS);
                let flags = (dice.below(3) as u8, dice.chance(10));
                let bytes = if dice.chance(5) { 2_000 + dice.below(500) } else { dice.below(30) };
                peer.publish(w, ledger, topic, flags, bytes);
            }
            45..52 => peer.subscribe(w, ledger, dice.pick(FILTERS), dice.below(3) as u8),
            52..54 => peer.unsubscribe(w, ledger, dice.pick(FILTERS)),
            54..58 if peer.is_there() => w.stall_after(peer.label(), dice.below(600)),
            58..64 if peer.is_there() => w.unstall(peer.label()),
            64..67 => w.hold_store(),
            67..80 => w.release_store(1 + dice.below(3)),
            80..82 => w.let_store_run(),
            82..84 => w.pass_ms(dice.below(3_000) as u64),
            _ => {
                peer.listen(w, ledger);
                peer.answer(w, dice.below(6));
            }
        }
    }

    /// Lets everything come to its end, and looks at what is left.
    fn finish(mut self) -> (usize, usize, usize) {
        let Self { w, ledger, peers, .. } = &mut self;
        w.in_pieces(Pieces::Whole);
        w.let_store_run();
        for peer in peers.iter_mut() {
            if peer.is_there() {
                w.unstall(peer.label());
            } else {
                peer.connect(w, ledger);
            }
        }
        for round in 0.. {
            let mut busy = false;
            for peer in peers.iter_mut() {
                busy |= peer.listen(w, ledger);
                peer.answer(w, usize::MAX);
            }
            if !busy {
                break;
            }
            assert!(round < 10_000, "the clients do not come to rest");
        }
        for peer in peers.iter() {
            if !peer.is_at_rest() {
                w.fail(&format!("{} still waits for something: {peer:?}", peer.label()));
            }
        }
        if let Err(lost) = ledger.settle() {
            w.fail(&lost);
        }
        let promised = ledger.promised();
        for (peer, version) in peers.iter_mut().zip(VERSIONS) {
            peer.leave(w, ledger);
            w.forget(peer.name(), *version);
        }
        w.expect_nobody_left();
        let (published, delivered) = ledger.totals();
        (published, delivered, promised)
    }
}

/// Of the walk's clients, in their order.
const VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V311,
    ProtocolVersion::V5,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
    ProtocolVersion::V5,
    ProtocolVersion::V31,
];

#[test] // [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.6.0-6] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT5-4.6.0-6]
fn what_was_promised_is_kept_whatever_happens() {
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
        assert!(promised > 3_000, "{promised} promised");
    }
}
