//! Filters and topics as devices and their watchers make them, each a function of its number, so
//! that every design and every process sees the same.

/// How topics begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Top {
    /// All with the same level: one installation that has the broker to itself.
    Same,
    /// With one of a hundred: tenants, plants or regions.
    Hundred,
}

impl Top {
    fn level(self, site: usize) -> String {
        match self {
            Self::Same => "site".into(),
            Self::Hundred => format!("t{}", site % 100),
        }
    }
}

/// Topics that are published to again and again: so few that hardly two share a place in a cache.
pub(crate) const HOT_TOPICS: usize = 8;
/// Topics that fit into a cache of 1,024 places, where some push each other out.
pub(crate) const WARM_TOPICS: usize = 256;
/// Many more than a route cache holds.
pub(crate) const COLD_TOPICS: usize = 65_536;

const FILTERS_PER_DEVICE: usize = 5;
const DEVICES_PER_SITE: usize = 100;
const MEASURES: usize = 8;

/// Filter number `number`: 55 % readings of a device, 20 % its commands, 15 % all of a device, the
/// rest with `+` inside or in front. A topic matches about three.
pub(crate) fn filter(top: Top, number: usize) -> String {
    let device = number / FILTERS_PER_DEVICE;
    let site = device / DEVICES_PER_SITE;
    let first = top.level(site);
    let dice = scattered(number as u64);
    let measure = (dice >> 32) as usize % MEASURES;
    match dice % 100 {
        0..55 => format!("{first}/{site}/device/{device}/telemetry/{measure}"),
        55..75 => format!("{first}/{site}/device/{device}/command/{measure}"),
        75..90 => format!("{first}/{site}/device/{device}/#"),
        90..96 => format!("{first}/{site}/+/{device}/telemetry/{measure}"),
        96..99 => format!("{first}/{site}/device/+/telemetry/{measure}"),
        _ => format!("+/{site}/device/{device}/telemetry/{measure}"),
    }
}

/// `count` topics of the devices that `filters` filters are about, spread evenly over them.
pub(crate) fn topics(top: Top, filters: usize, count: usize) -> Vec<String> {
    let devices = (filters / FILTERS_PER_DEVICE).max(1);
    let topic = |number: usize| {
        let dice = scattered(!(number as u64));
        let (device, measure) = (dice as usize % devices, (dice >> 32) as usize % MEASURES);
        let site = device / DEVICES_PER_SITE;
        format!("{}/{site}/device/{device}/telemetry/{measure}", top.level(site))
    };
    (0..count).map(topic).collect()
}

/// A number that looks like chance (the finalizer of SplitMix64).
pub(crate) fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_mqtt::{TopicFilter, TopicName};

    #[test]
    fn a_topic_matches_about_three_filters() {
        for top in [Top::Same, Top::Hundred] {
            let filters: Vec<_> = (0..5_000).map(|number| filter(top, number)).collect();
            let topics = topics(top, 5_000, 200);
            let matches = topics.iter().flat_map(|topic| {
                let topic = TopicName::new(topic).unwrap();
                filters
                    .iter()
                    .filter(move |filter| TopicFilter::new(filter).unwrap().matches(topic))
            });
            let each = matches.count() as f64 / 200.0;
            assert!((2.0..4.5).contains(&each), "{top:?}: {each}");
        }
    }
}
