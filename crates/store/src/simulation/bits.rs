//! Bits that flip: in the files of a store that stands still, and under one that works. What comes
//! back is what was written, or a complaint; never something else.

use super::life::{SEGMENT_BYTES, start};
use super::model::Model;
use super::story::Story;
use crate::error::StoreError;
use crate::faults::Faults;
use crate::testing::SimulatedDisk;
use noctule_testkit::Dice;

/// A disk with a log on it, and what it should say.
fn written(seed: u64) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new(seed);
    let mut story = Story::new(seed);
    let mut engine = start(&disk, Faults::default()).unwrap();
    for _ in 0..60 {
        engine.commit(&[story.turn(), story.turn()]).unwrap();
    }
    if seed.is_multiple_of(2) {
        engine.close().unwrap();
    }
    (disk, story.now.seen())
}

#[test]
fn a_bit_that_flips_in_a_store_at_rest_is_noticed() {
    let mut dice = Dice::new(1);
    let (mut refused, mut harmless, mut cut, mut exactly) = (0, 0, 0, 0u64);
    for seed in 0..40 {
        let (disk, whole) = written(seed);
        for _ in 0..12 {
            let copy = disk.copy();
            let files = copy.files();
            let (name, length) = files[dice.below(files.len())].clone();
            let bit = dice.below((length as usize * 8).max(1));
            if !copy.flip(&name, bit) {
                continue;
            }
            match start(&copy, Faults::default()).and_then(|engine| Model::of(&engine)) {
                Ok(found) if found == whole => harmless += 1,
                Ok(found) => {
                    // After a crash nothing can tell the last batch from one that was not finished.
                    let last = is_last_batch(&disk, &name, bit) && !seed.is_multiple_of(2);
                    assert!(last, "{}", found.differences(&whole));
                    cut += 1;
                }
                Err(StoreError::Damaged { file, .. }) => {
                    // Of a segment with nothing else in it, what is missing is seen from beside it.
                    let apart = number(&file).abs_diff(number(&name));
                    assert!(
                        apart <= 1,
                        "seed {seed}, bit {bit} of {name}, found in {file}: {files:?}"
                    );
                    refused += 1;
                    exactly += u64::from(apart == 0);
                }
                Err(error) => panic!("seed {seed}, bit {bit} of {name}: {error}"),
            }
        }
    }
    println!("{refused} refused, {harmless} harmless, {cut} in the last batch");
    assert!(refused > 50 && harmless > 50, "{refused} refused, {harmless} harmless");
    assert!(exactly * 10 > refused * 9, "{exactly} of {refused} in the right file");
}

fn number(name: &str) -> u32 {
    crate::format::segment::number_of(name).unwrap()
}

/// Whether a bit lies in the last batch of the last segment with any, by reading them.
fn is_last_batch(disk: &SimulatedDisk, name: &str, bit: usize) -> bool {
    use crate::disk::{Disk, DiskFile};
    use crate::format::batch::Batch;
    use crate::format::segment::DATA_START;
    let mut last = None;
    for (file, length) in disk.files().iter().filter(|(file, _)| file.starts_with("segment-")) {
        let mut bytes = vec![0; *length as usize];
        disk.open(file).unwrap().read_at(&mut bytes, 0).unwrap();
        let mut at = DATA_START as usize;
        while let Some((batch, _)) = bytes.get(at..).and_then(|rest| Batch::read(rest, true)) {
            if crate::format::segment::number_of(file) != Some(batch.segment) {
                break;
            }
            let end = at + batch.span() as usize;
            last = Some((file.clone(), at * 8..end * 8));
            at = end;
        }
    }
    last.is_some_and(|(file, bits)| file == name && bits.contains(&bit))
}

#[test]
fn a_bit_that_flips_under_a_store_at_work_is_never_delivered() {
    let mut dice = Dice::new(2);
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..40 {
        let (disk, whole) = written(seed);
        disk.kill();
        let engine = start(&disk, Faults::default()).unwrap();
        for _ in 0..10 {
            let files = disk.files();
            let (name, _) = files[dice.below(files.len())].clone();
            let bit = dice.below(SEGMENT_BYTES as usize * 8);
            if !disk.flip(&name, bit) {
                continue;
            }
            match Model::of(&engine) {
                Ok(found) => {
                    assert!(found == whole, "{}", found.differences(&whole));
                    harmless += 1;
                }
                Err(StoreError::Damaged { file, .. }) => {
                    assert_eq!(file, name);
                    refused += 1;
                }
                Err(error) => panic!("seed {seed}, bit {bit} of {name}: {error}"),
            }
            assert!(disk.flip(&name, bit), "back again");
        }
    }
    assert!(refused > 20 && harmless > 20, "{refused} refused, {harmless} harmless");
}
