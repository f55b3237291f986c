//! What a shard says of its memory, compared with what its parts say.

use noctule_broker::Shard;

/// What is wrong with the count of a shard that is at rest, if anything is.
pub(crate) fn complaint(shard: &Shard) -> Option<String> {
    let of_all: usize = shard.owners().map(|(_, bytes)| bytes).sum();
    let total = shard.memory().total();
    (of_all != total).then(|| {
        format!("{total} bytes are counted, its owners take {of_all}: {:?}", shard.memory())
    })
}
