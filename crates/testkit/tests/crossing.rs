//! How often shards have to do with each other for a message, by how many there are.
//!
//! Pairs whose ends live wherever their identifiers hash to; each publisher sends a batch, which is read
//! at once, and nothing else happens meanwhile: of what can be shared by batches nothing is, so these
//! are the most. `docs/performance.md` has the table, which `--nocapture` prints.

use noctule_testkit::packets::*;
use noctule_testkit::{Crossings, Shards};

const PAIRS: usize = 64;
const ROUNDS: u16 = 4;

/// What crossed, how many messages there were, and how many of them had to cross.
fn crossings(shards: usize, batch: u16, qos: u8) -> (Crossings, u64, u64) {
    let mut w = Shards::new(shards);
    let mut crossing = 0;
    for pair in 0..PAIRS {
        let (publisher, subscriber) = (format!("publisher {pair}"), format!("subscriber {pair}"));
        w.connect(&subscriber, 0, v311());
        w.subscribe(&subscriber, &format!("pair/{pair}"), qos);
        w.connect(&publisher, 0, v311());
        let each = u64::from(batch) * u64::from(ROUNDS);
        crossing += if w.place_of(&publisher) == w.place_of(&subscriber) { 0 } else { each };
    }
    let mut heard = 0;
    w.take_crossings();
    for round in 0..ROUNDS {
        for pair in 0..PAIRS {
            for number in 0..batch {
                let words = publish(&format!("pair/{pair}"), "64 bytes").qos(qos);
                let id = round * batch + number + 1;
                w.say(&format!("publisher {pair}"), if qos == 0 { words } else { words.id(id) });
            }
            w.settle();
            heard += w.all_heard(&format!("subscriber {pair}")).len() as u64;
            let answers = w.all_heard(&format!("publisher {pair}")).len();
            assert_eq!(answers, if qos == 0 { 0 } else { usize::from(batch) });
        }
    }
    let messages = u64::from(ROUNDS) * u64::from(batch) * PAIRS as u64;
    assert_eq!(heard, messages);
    (w.take_crossings(), messages, crossing)
}

#[test]
fn a_batch_that_crosses_is_one_letter_one_post_and_one_wake() {
    println!("| loops | batch | QoS | cross | letters | locks | wakes |");
    for shards in [1, 2, 4, 8, 64] {
        for (batch, qos) in [(1, 0), (8, 0), (64, 0), (8, 1)] {
            let (found, messages, crossing) = crossings(shards, batch, qos);
            let each = |count: u64| count as f64 / messages as f64;
            println!(
                "| {shards} | {batch} | {qos} | {:.3} | {:.4} | {:.4} | {:.4} |",
                each(crossing),
                each(found.letters),
                // The writer's and the reader's.
                each(2 * found.posts),
                each(found.wakes),
            );
            let batches = crossing / u64::from(batch);
            // And a receipt now and then.
            let most = batches + batches / 16;
            for count in [found.posts, found.letters, found.wakes] {
                assert!((batches..=most).contains(&count), "{shards} {batch} {qos}: {found:?}");
            }
        }
    }
}
