//! Deadlines, coarsely: a ring of buckets, each a short span of time.
//!
//! A deadline is never met early and at most one grain late (and as late as the caller asks).
//! Nothing is taken out before its time: whoever put a deadline in looks, when it comes, whether it
//! still matters.

/// Length of a bucket in milliseconds.
const GRAIN_MS: u64 = 128;
/// Buckets in the ring; deadlines further away than all of them go round.
const BUCKETS: usize = 1_024;
/// A full bucket gets room for at least so many items more.
const ITEMS_MORE: usize = 4;

/// Deadlines of items of type `T`.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// With each item the lower half of the number of its grain, which tells rounds of the ring apart.
    buckets: Vec<Vec<(u32, T)>>,
    /// The first grain that has not been looked at.
    next_grain: u64,
    /// The first grain at or after that whose bucket is not empty.
    next_used: Option<u64>,
    len: usize,
}

impl<T> Wheel<T> {
    pub(crate) fn new(now_ms: u64) -> Self {
        let mut buckets = Vec::new();
        buckets.resize_with(BUCKETS, Vec::new);
        Self { buckets, next_grain: now_ms / GRAIN_MS, next_used: None, len: 0 }
    }

    /// `item` is due at `deadline_ms`.
    pub(crate) fn insert(&mut self, deadline_ms: u64, item: T) {
        let grain = Self::grain_of(deadline_ms).max(self.next_grain);
        let bucket = &mut self.buckets[grain as usize % BUCKETS];
        if bucket.len() == bucket.capacity() {
            // There may be a hundred thousand in it, most of them for long: twice the room is too much.
            bucket.reserve_exact((bucket.len() / 4).max(ITEMS_MORE));
        }
        bucket.push((grain as u32, item));
        self.len += 1;
        // A deadline on a later round lies in a bucket that comes up before.
        let used = self.next_grain + (grain - self.next_grain) % BUCKETS as u64;
        self.next_used = Some(self.next_used.map_or(used, |next| next.min(used)));
    }

    /// Moves everything that is due by `now_ms` to `due`.
    pub(crate) fn expire(&mut self, now_ms: u64, due: &mut Vec<T>) {
        // A grain is looked at when it is over, so that its deadlines have all passed.
        let over = now_ms / GRAIN_MS;
        let grains = over.saturating_sub(self.next_grain).min(BUCKETS as u64);
        for grain in over - grains..over {
            let bucket = &mut self.buckets[grain as usize % BUCKETS];
            let mut index = 0;
            while index < bucket.len() {
                // Those of a later round are at least a round away, and no round takes eight years.
                if (bucket[index].0.wrapping_sub(over as u32) as i32) < 0 {
                    due.push(bucket.swap_remove(index).1);
                    self.len -= 1;
                } else {
                    index += 1;
                }
            }
            if bucket.capacity() > 4 * bucket.len().max(ITEMS_MORE) || bucket.is_empty() {
                bucket.shrink_to_fit();
            }
        }
        self.next_grain = self.next_grain.max(over);
        if self.next_used.is_some_and(|used| used < self.next_grain) {
            self.next_used = self.find_next_used();
        }
    }

    /// How many deadlines wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// When to call [`expire`](Self::expire) next; `None` if nothing waits.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.next_used.map(|grain| (grain + 1) * GRAIN_MS)
    }

    fn find_next_used(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        (self.next_grain..self.next_grain + BUCKETS as u64)
            .find(|grain| !self.buckets[*grain as usize % BUCKETS].is_empty())
    }

    /// The grain whose end is at or after the deadline.
    fn grain_of(deadline_ms: u64) -> u64 {
        deadline_ms.div_ceil(GRAIN_MS).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_met_in_time_and_never_early() {
        let deadlines = [0, 1, 127, 128, 129, 1_000, 131_071, 131_072, 200_000, 1_000_000];
        let mut wheel = Wheel::new(0);
        for deadline in deadlines {
            wheel.insert(deadline, deadline);
        }
        let mut met = 0;
        let mut due = Vec::new();
        while let Some(now) = wheel.next_deadline_ms() {
            wheel.expire(now, &mut due);
            for deadline in due.drain(..) {
                assert!(deadline <= now && now - deadline <= GRAIN_MS, "{deadline} at {now}");
                met += 1;
            }
        }
        assert_eq!(met, deadlines.len());
    }

    #[test]
    fn a_long_sleep_misses_nothing() {
        let mut wheel = Wheel::new(5_000);
        for deadline in (5_000..400_000).step_by(777) {
            wheel.insert(deadline, deadline);
        }
        let mut due = Vec::new();
        wheel.expire(1_000_000, &mut due);
        assert_eq!(due.len(), (5_000..400_000).step_by(777).count());
        assert_eq!(wheel.next_deadline_ms(), None);
    }
}
