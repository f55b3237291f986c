//! Wrong logins by the address they came from: after some, further ones from there have to wait before
//! they are looked at; after more, they are refused for a while.
//!
//! Who was known before is let in all the same, so that a device with a wrong password does not lock
//! out the others behind its address. An IPv6 address counts with its whole /64, which one machine can
//! have for itself. Invariant: there are never more records than [`ADDRESSES_MAX`].

use noctule_net::Source;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many addresses are remembered; then the one that has been quiet for longest is forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 4;

/// How long the first one that costs something waits; each further one twice as long.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(4);

/// Wrong logins of all addresses.
#[derive(Debug)]
pub(super) struct Failures {
    /// After so many an address is refused; none is never.
    max: Option<u32>,
    /// How long an address has to be quiet to be forgotten.
    memory: Duration,
    addresses: Mutex<HashMap<Source, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    count: u32,
    last: Instant,
}

/// How an address is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As everybody.
    Good,
    /// It has to wait so long before it is looked at.
    Slowed(Duration),
    /// It is not looked at.
    Refused,
}

impl Failures {
    /// Nobody has failed yet.
    pub(super) fn new(max: Option<u32>, memory: Duration) -> Self {
        Self { max, memory, addresses: Mutex::default() }
    }

    /// How an address stands.
    pub(super) fn standing(&self, address: Source, now: Instant) -> Standing {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = addresses.get(&network(address)).filter(|found| self.holds(found, now))
        else {
            return Standing::Good;
        };
        match record.count {
            count if self.max.is_some_and(|max| count >= max) => Standing::Refused,
            count if count <= FREE => Standing::Good,
            count => {
                let doublings = (count - FREE - 1).min(16);
                Standing::Slowed((DELAY_FIRST * (1 << doublings)).min(DELAY_MAX))
            }
        }
    }

    /// An address has failed. Returns whether it is refused from now on.
    pub(super) fn note(&self, address: Source, now: Instant) -> bool {
        let address = network(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            self.make_room(&mut addresses, now);
        }
        let record = addresses.entry(address).or_insert(Record { count: 0, last: now });
        if !self.holds(record, now) {
            record.count = 0;
        }
        record.count = record.count.saturating_add(1);
        record.last = now;
        self.max == Some(record.count)
    }

    fn make_room(&self, addresses: &mut HashMap<Source, Record>, now: Instant) {
        addresses.retain(|_, record| self.holds(record, now));
        if addresses.len() >= ADDRESSES_MAX {
            let quietest = addresses.iter().min_by_key(|(_, record)| record.last);
            if let Some(address) = quietest.map(|(address, _)| *address) {
                addresses.remove(&address);
            }
        }
    }

    fn holds(&self, record: &Record, now: Instant) -> bool {
        now.saturating_duration_since(record.last) < self.memory
    }
}

/// What counts as one address. Users of this machine, who come by a Unix socket, have one each.
fn network(source: Source) -> Source {
    let Source::Address(address) = source else {
        return source;
    };
    Source::Address(match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(300);

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    #[test]
    fn failures_are_free_then_slowed_then_refused_and_forgotten() {
        let failures = Failures::new(Some(12), MEMORY);
        let (a, now) = (address("192.0.2.1"), Instant::now());
        let mut standings = Vec::new();
        for count in 1..=12 {
            standings.push(failures.standing(a, now));
            assert_eq!(failures.note(a, now), count == 12);
        }
        let slowed = |ms| Standing::Slowed(Duration::from_millis(ms));
        assert_eq!(standings[..5], [Standing::Good; 5]);
        let rest = [100, 200, 400, 800, 1_600, 3_200, 4_000].map(slowed);
        assert_eq!(standings[5..], rest);
        assert_eq!(failures.standing(a, now), Standing::Refused);
        assert_eq!(failures.standing(address("192.0.2.2"), now), Standing::Good);
        let just = now + MEMORY - Duration::from_millis(1);
        assert_eq!(failures.standing(a, just), Standing::Refused);
        assert_eq!(failures.standing(a, now + MEMORY), Standing::Good);
        assert!(!failures.note(a, now + MEMORY), "it begins anew");
        assert_eq!(failures.standing(a, now + MEMORY), Standing::Good);
    }

    #[test]
    fn without_a_limit_nobody_is_refused_or_slowed_for_more_than_seconds() {
        let failures = Failures::new(None, MEMORY);
        let (a, now) = (address("192.0.2.1"), Instant::now());
        for _ in 0..1_000 {
            assert!(!failures.note(a, now));
        }
        assert_eq!(failures.standing(a, now), Standing::Slowed(DELAY_MAX));
    }

    #[test]
    fn a_machine_cannot_change_its_address_within_its_network() {
        let failures = Failures::new(Some(1), MEMORY);
        let now = Instant::now();
        failures.note(address("2001:db8::1"), now);
        failures.note(address("192.0.2.1"), now);
        for (other, standing) in [
            ("2001:db8::ffff:1", Standing::Refused),
            ("2001:db8:0:1::1", Standing::Good),
            ("::ffff:192.0.2.1", Standing::Refused),
            ("192.0.2.2", Standing::Good),
        ] {
            assert_eq!(failures.standing(address(other), now), standing, "{other}");
        }
        failures.note(Source::User(7), now);
        assert_eq!(failures.standing(Source::User(7), now), Standing::Refused);
        assert_eq!(failures.standing(Source::User(8), now), Standing::Good, "somebody else");
    }

    #[test]
    fn as_many_addresses_are_remembered_as_there_may_be() {
        let failures = Failures::new(Some(1), MEMORY);
        let now = Instant::now();
        let numbered = |number: u32| Source::Address(IpAddr::V4(number.into()));
        for number in 0..ADDRESSES_MAX as u32 + 10 {
            failures.note(numbered(number), now + Duration::from_millis(number.into()));
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(failures.addresses.lock().unwrap().len(), ADDRESSES_MAX);
        assert_eq!(failures.standing(numbered(0), later), Standing::Good, "forgotten");
        assert_eq!(failures.standing(numbered(ADDRESSES_MAX as u32), later), Standing::Refused);
    }
}
