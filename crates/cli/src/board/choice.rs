//! Which rows are shown, and in which order. Only the rows that fit are put in order, so that a
//! hundred thousand topics cost little more than a hundred.

use std::cmp::Ordering;

use super::rows::{Row, Rows};

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Topic,
    /// The newest first.
    Age,
    /// The most frequent first.
    Rate,
}

impl Sort {
    /// The one after this.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Topic => Self::Age,
            Self::Age => Self::Rate,
            Self::Rate => Self::Topic,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Age => "age",
            Self::Rate => "rate",
        }
    }

    fn compare(self, now_ms: u64, a: &Row, b: &Row) -> Ordering {
        match self {
            Self::Topic => Ordering::Equal,
            Self::Age => b.last_ms.cmp(&a.last_ms),
            Self::Rate => b.rate(now_ms).total_cmp(&a.rate(now_ms)),
        }
    }
}

/// What is to be seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) sort: Sort,
    /// Only rows whose name contains this.
    pub(crate) filter: String,
    /// How many rows are scrolled over.
    pub(crate) offset: usize,
}

impl Choice {
    /// The rows to be seen, at most `height`, and how many the filter leaves.
    pub(crate) fn select<'a>(
        &mut self,
        rows: &'a Rows,
        height: usize,
        now_ms: u64,
    ) -> (Vec<(&'a str, &'a Row)>, usize) {
        let wanted = |(name, _): &(&str, &Row)| name.contains(self.filter.as_str());
        let mut all: Vec<_> = rows.iter().filter(wanted).collect();
        let count = all.len();
        self.offset = self.offset.min(count.saturating_sub(height.max(1)));
        let end = (self.offset + height).min(count);
        let sort = self.sort;
        let compare = |a: &(&str, &Row), b: &(&str, &Row)| {
            sort.compare(now_ms, a.1, b.1).then_with(|| a.0.cmp(b.0))
        };
        // They come by name.
        if sort != Sort::Topic && end > 0 {
            all.select_nth_unstable_by(end - 1, compare);
            all[..end].sort_unstable_by(compare);
        }
        (all[self.offset..end].to_vec(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(choice: &mut Choice, rows: &Rows, height: usize) -> Vec<String> {
        choice.select(rows, height, 10).0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn rows() -> Rows {
        let mut rows = Rows::default();
        for (topic, at_ms, count) in [("a", 3, 1), ("b", 1, 9), ("c", 2, 4)] {
            for _ in 0..count {
                rows.take(topic, b"1", at_ms);
            }
        }
        rows
    }

    #[test]
    fn rows_come_in_the_order_that_is_wanted() {
        let (rows, mut choice) = (rows(), Choice::default());
        assert_eq!(names(&mut choice, &rows, 9), ["a", "b", "c"]);
        choice.sort = Sort::Age;
        assert_eq!(names(&mut choice, &rows, 2), ["a", "c"]);
        choice.sort = Sort::Rate;
        assert_eq!(names(&mut choice, &rows, 9), ["b", "c", "a"]);
        assert_eq!(Sort::Rate.next(), Sort::Topic);
    }

    #[test]
    fn filter_and_offset_keep_within_what_is_there() {
        let (rows, mut choice) = (rows(), Choice::default());
        choice.offset = 99;
        assert_eq!(names(&mut choice, &rows, 2), ["b", "c"]);
        choice.filter = "b".into();
        assert_eq!(names(&mut choice, &rows, 2), ["b"]);
        choice.filter = "x".into();
        assert!(names(&mut choice, &rows, 2).is_empty());
        assert!(names(&mut choice, &Rows::default(), 0).is_empty());
    }
}
