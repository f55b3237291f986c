//! `noctule-load durable` in a small size, against the broker it is for: every figure is there, every
//! message came, and nothing is left behind.

use std::fs;
use std::time::Duration;

use noctule_load::durable::{self, Load, Plan, Subscriber};
use noctule_load::latency::Latency;

use crate::room::Room;

#[test]
fn the_store_is_measured_beside_memory_and_the_disk() {
    let room = Room::new();
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_noctule").into(),
        options: ["--shards", "2"].map(String::from).into(),
        parent: room.path().to_owned(),
        loads: vec![Load { publishers: 3, window: 1 }, Load { publishers: 4, window: 8 }],
        subscribers: Subscriber::ALL.to_vec(),
        payload_bytes: 256,
        duration: Duration::from_millis(100),
        rounds: 2,
        queued: 1_000,
        sessions: 20,
    };
    let found = durable::measure(&plan, |_| {}).unwrap();
    let text = durable::table(&found);
    assert!(found.is_clean(), "{text}");
    assert_eq!(found.series.len(), 4);
    for series in &found.series {
        assert_eq!(series.rounds.len(), 2);
        for round in &series.rounds {
            let all = [round.durable.rate(), round.memory.rate(), round.floor.rate()];
            assert!(all.iter().all(|rate| *rate > Some(0.0)), "{round:?}");
            assert!(round.durable.broker_us() > Some(0.0), "{round:?}");
            let answers = [&round.durable.answer, &round.memory.answer].map(Latency::count);
            let is_single = series.load.window == 1;
            assert!(answers.iter().all(|count| (*count > 0) == is_single), "{round:?}");
        }
    }
    let backlog = found.backlog.unwrap();
    // Sixty-four publishers, rounded up.
    assert_eq!(backlog.messages, 1_024);
    assert!(backlog.bytes_full > 256 * 1_024 && backlog.bytes_after > 0, "{text}");
    assert!(backlog.resident_peak >= backlog.resident, "{text}");
    assert_eq!(found.crowded.unwrap().sessions, 20);
    assert!(text.contains("1024 messages queued") && text.contains("20 sessions"), "{text}");
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
}
