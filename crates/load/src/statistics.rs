//! The little arithmetic that figures need. Medians, because the machine's speed drifts and one bad
//! round must not count; ratios within a round, because neighbours in time saw the same machine.

/// The middle of `values`, or the mean of the two in the middle; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// The smallest of `values` that `share` of them (0 to 1) do not exceed; `None` of none.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The smallest and the largest of `values`; `None` of none.
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let lowest = values.iter().copied().min_by(f64::total_cmp)?;
    let highest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((lowest, highest))
}

/// The median of `values[i] / references[i]` over the rounds `i` in which both have a figure.
pub fn median_ratio(values: &[Option<f64>], references: &[Option<f64>]) -> Option<f64> {
    let ratios: Vec<_> = values
        .iter()
        .zip(references)
        .filter_map(|(value, reference)| Some((*value)? / (*reference).filter(|r| *r > 0.0)?))
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(100.0));
        assert_eq!(quantile(&values, 0.99), Some(198.0));
        assert_eq!(quantile(&values, 1.0), Some(200.0));
        assert_eq!(quantile(&[7.0], 0.0), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_range_is_the_ends() {
        assert_eq!(range(&[2.0, 1.0, 3.0]), Some((1.0, 3.0)));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round: the ratio is 10 all the same.
        let slow = [Some(10.0), Some(20.0), Some(10.0)];
        let fast = [Some(1.0), Some(2.0), Some(1.0)];
        assert_eq!(median_ratio(&slow, &fast), Some(10.0));
        // A round without a figure, or with none to divide by, is left out.
        let gaps = [Some(1.0), None, Some(0.0)];
        assert_eq!(median_ratio(&slow, &gaps), Some(10.0));
        assert_eq!(median_ratio(&slow, &[None, None, None]), None);
    }
}
