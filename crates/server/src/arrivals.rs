//! Those who come to the doors: how many of them an address may have inside, and how fast they may
//! come.
//!
//! An address is counted as what one machine can have for itself: an IPv6 address with its /64. Users
//! of this machine count one by one, and who comes by a proxy as whom the proxy says. Who
//! comes when too many come altogether waits outside, in the operating system's queue; who has too
//! many connections, or comes too often, is turned away. One table for all loops behind one lock,
//! which is taken when a connection comes and when it goes and at no other time. Invariant: there is
//! no record but of an address that has a connection, or had one within about a second.

use noctule_broker::{Bucket, EntranceId};
use noctule_mqtt::ReasonCode;
use noctule_net::Source;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long an address is remembered for how fast it comes: by then it may have a second's worth again.
const MEMORY_MS: u64 = 1_000;
/// So many addresses that may be forgotten are looked at when somebody comes.
const LOOKED_AT: usize = 2;

/// What the configuration says of it; none is without limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ArrivalRules {
    /// Connections of an address at once.
    pub(crate) per_address_max: Option<u32>,
    /// New connections of an address per second.
    pub(crate) rate_per_address: Option<NonZeroU32>,
    /// New connections of all addresses per second.
    pub(crate) rate: Option<NonZeroU32>,
    /// Connections at once by each listener, by its number.
    pub(crate) per_listener_max: Vec<Option<u32>>,
}

/// Why somebody may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// Its address has as many connections as it may.
    AddressFull,
    /// Its address comes too often.
    TooOften,
    /// The listener has as many connections as it may.
    ListenerFull,
}

impl TurnedAway {
    /// What CONNACK says about it.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::AddressFull | Self::ListenerFull => ReasonCode::QuotaExceeded,
            Self::TooOften => ReasonCode::ConnectionRateExceeded,
        }
    }
}

/// Who is there, and who has come of late.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    rules: ArrivalRules,
    all: Option<Bucket>,
    places: HashMap<Source, Place>,
    /// Connections by each listener, by its number.
    by_listener: Vec<u32>,
    /// Addresses without a connection, to be forgotten.
    empty: VecDeque<Source>,
}

/// An address.
#[derive(Debug)]
struct Place {
    present: u32,
    bucket: Option<Bucket>,
    came_ms: u64,
}

/// A connection that is counted with its address, as long as somebody has this, and with its listener if
/// it was let in: who is turned away and does not go takes no place there from others.
#[derive(Debug)]
pub(crate) struct Visit {
    arrivals: Arc<Arrivals>,
    place: Network,
    /// None if it was turned away.
    entrance: Option<EntranceId>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.arrivals.book().leave(self.place.source(), self.entrance);
    }
}

/// A [`network`], small: of an IPv6 address only the first half says anything.
#[derive(Debug, Clone, Copy)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
    User([u8; 4]),
}

impl Network {
    fn of(place: Source) -> Self {
        match place {
            Source::Address(IpAddr::V4(address)) => Self::V4(address.octets()),
            Source::Address(IpAddr::V6(address)) => {
                Self::V6(((address.to_bits() >> 64) as u64).to_be_bytes())
            }
            Source::User(user) => Self::User(user.to_be_bytes()),
        }
    }

    fn source(self) -> Source {
        match self {
            Self::V4(octets) => Source::Address(IpAddr::from(octets)),
            Self::V6(half) => {
                let bits = u128::from(u64::from_be_bytes(half)) << 64;
                Source::Address(IpAddr::V6(Ipv6Addr::from_bits(bits)))
            }
            Self::User(user) => Source::User(u32::from_be_bytes(user)),
        }
    }
}

impl Arrivals {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses these rules from now on, also for those who are there.
    pub(crate) fn set(&self, rules: ArrivalRules) {
        let mut book = self.book();
        if book.rules != rules {
            book.rules = rules;
            book.all = None;
            book.places.values_mut().for_each(|place| place.bucket = None);
        }
    }

    /// In how many milliseconds somebody may be let to the door again; none if it is now.
    pub(crate) fn rest_ms(&self, now_ms: u64) -> Option<u64> {
        let mut book = self.book();
        let rate = book.rules.rate?;
        book.all.get_or_insert_with(|| Bucket::full(Some(rate), now_ms)).wait_ms(Some(rate), now_ms)
    }

    /// Somebody has come. Whether it may come in, or why it may not; what is said counts as long as
    /// somebody has it.
    pub(crate) fn come(
        self: &Arc<Self>,
        source: Source,
        entrance: EntranceId,
        now_ms: u64,
    ) -> (Visit, Result<(), TurnedAway>) {
        let place = network(source);
        let verdict = self.book().come(place, entrance, now_ms);
        let entrance = verdict.is_ok().then_some(entrance);
        (Visit { arrivals: Arc::clone(self), place: Network::of(place), entrance }, verdict)
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.book().places.len()
    }
}

impl Book {
    fn come(
        &mut self,
        address: Source,
        entrance: EntranceId,
        now_ms: u64,
    ) -> Result<(), TurnedAway> {
        self.forget_some(now_ms);
        let by_this = *self.count_by(entrance);
        let Self { rules, places, all, .. } = self;
        let place = places.entry(address).or_insert_with(|| Place {
            present: 0,
            bucket: None,
            came_ms: now_ms,
        });
        place.present += 1;
        place.came_ms = now_ms;
        if let Some(rate) = rules.rate_per_address {
            let bucket = place.bucket.get_or_insert_with(|| Bucket::full(Some(rate), now_ms));
            if bucket.wait_ms(Some(rate), now_ms).is_some() {
                return Err(TurnedAway::TooOften);
            }
            bucket.take(1, Some(rate), now_ms);
        }
        if rules.per_address_max.is_some_and(|max| place.present > max) {
            return Err(TurnedAway::AddressFull);
        }
        let listener_max = rules.per_listener_max.get(usize::from(entrance.0)).copied().flatten();
        if listener_max.is_some_and(|max| by_this >= max) {
            return Err(TurnedAway::ListenerFull);
        }
        // Who is turned away takes nothing from the others.
        if let (Some(rate), Some(all)) = (rules.rate, all) {
            all.take(1, Some(rate), now_ms);
        }
        *self.count_by(entrance) += 1;
        Ok(())
    }

    /// The number of connections by a listener.
    fn count_by(&mut self, entrance: EntranceId) -> &mut u32 {
        let at = usize::from(entrance.0);
        if self.by_listener.len() <= at {
            self.by_listener.resize(at + 1, 0);
        }
        &mut self.by_listener[at]
    }

    fn leave(&mut self, address: Source, entrance: Option<EntranceId>) {
        if let Some(entrance) = entrance {
            let by_this = self.count_by(entrance);
            *by_this = by_this.saturating_sub(1);
        }
        let Entry::Occupied(mut entry) = self.places.entry(address) else {
            return;
        };
        let place = entry.get_mut();
        place.present = place.present.saturating_sub(1);
        if place.present > 0 {
            return;
        }
        if place.bucket.is_some() {
            self.empty.push_back(address);
        } else {
            entry.remove();
        }
    }

    /// Forgets addresses that have not come for a while: more than have come since.
    fn forget_some(&mut self, now_ms: u64) {
        for _ in 0..LOOKED_AT {
            let Some(address) = self.empty.front().copied() else {
                return;
            };
            if let Entry::Occupied(entry) = self.places.entry(address)
                && entry.get().present == 0
            {
                if now_ms < entry.get().came_ms.saturating_add(MEMORY_MS) {
                    return;
                }
                entry.remove();
            }
            self.empty.pop_front();
        }
    }
}

/// What counts as one address. Users of this machine, who come by a Unix socket, have one each.
pub(crate) fn network(source: Source) -> Source {
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

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    fn arrivals(per_address: u32, rate_per_address: u32, rate: u32) -> Arc<Arrivals> {
        let arrivals = Arc::new(Arrivals::default());
        arrivals.set(ArrivalRules {
            per_address_max: NonZeroU32::new(per_address).map(NonZeroU32::get),
            rate_per_address: NonZeroU32::new(rate_per_address),
            rate: NonZeroU32::new(rate),
            per_listener_max: Vec::new(),
        });
        arrivals
    }

    #[test]
    fn a_visit_is_small_and_leaves_from_where_it_came() {
        assert_eq!(size_of::<Visit>(), 24);
        let places = [address("192.0.2.1"), address("2001:db8:1:2:3::4"), Source::User(1_000)];
        for place in places.map(network) {
            assert_eq!(Network::of(place).source(), place);
        }
    }

    const FULL: Result<(), TurnedAway> = Err(TurnedAway::AddressFull);
    const FAST: Result<(), TurnedAway> = Err(TurnedAway::TooOften);

    fn come(
        arrivals: &Arc<Arrivals>,
        source: Source,
        now_ms: u64,
    ) -> (Visit, Result<(), TurnedAway>) {
        arrivals.come(source, EntranceId(0), now_ms)
    }

    #[test]
    fn an_address_has_so_many_connections_and_one_more_when_one_is_gone() {
        let arrivals = arrivals(2, 0, 0);
        let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = come(&arrivals, a, 0);
        let second = come(&arrivals, a, 0);
        assert_eq!((first.1, second.1), (Ok(()), Ok(())));
        let third = come(&arrivals, a, 0);
        assert_eq!((third.1, come(&arrivals, b, 0).1), (FULL, Ok(())), "others have their own");
        drop(first);
        assert_eq!(
            come(&arrivals, a, 0).1,
            FULL,
            "who was turned away is there until it is closed"
        );
        drop(third);
        assert_eq!(come(&arrivals, a, 0).1, Ok(()));
        drop(second);
        assert_eq!(arrivals.remembered(), 0, "nobody is there");
    }

    #[test]
    fn a_machine_cannot_change_its_address_within_its_network() {
        let arrivals = arrivals(1, 0, 0);
        let _first = come(&arrivals, address("2001:db8::1"), 0);
        let _second = come(&arrivals, address("192.0.2.1"), 0);
        for (other, verdict) in [
            ("2001:db8::ffff:1", FULL),
            ("2001:db8:0:1::1", Ok(())),
            ("::ffff:192.0.2.1", FULL),
            ("192.0.2.2", Ok(())),
        ] {
            assert_eq!(come(&arrivals, address(other), 0).1, verdict, "{other}");
        }
        let _third = come(&arrivals, Source::User(7), 0);
        assert_eq!(come(&arrivals, Source::User(7), 0).1, FULL);
        assert_eq!(come(&arrivals, Source::User(8), 0).1, Ok(()), "another user of this machine");
    }

    #[test]
    fn an_address_that_comes_too_often_is_turned_away_until_time_has_passed() {
        let arrivals = arrivals(0, 4, 0);
        let a = address("192.0.2.1");
        let verdicts = |now_ms, times: usize| {
            (0..times).filter(|_| come(&arrivals, a, now_ms).1 == Ok(())).count()
        };
        assert_eq!(verdicts(0, 10), 4);
        assert_eq!(come(&arrivals, a, 249).1, FAST);
        assert_eq!(verdicts(250, 10), 1);
        assert_eq!(verdicts(60_000, 10), 4, "and no more however long it was away");
        assert_eq!(come(&arrivals, address("192.0.2.2"), 60_000).1, Ok(()));
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten_as_fast_as_others_come() {
        let arrivals = arrivals(0, 1, 0);
        let numbered = |number: u32| Source::Address(IpAddr::V4(number.into()));
        for number in 0..1_000 {
            assert_eq!(come(&arrivals, numbered(number), 0).1, Ok(()));
        }
        assert_eq!(arrivals.remembered(), 1_000);
        for number in 1_000..1_500 {
            assert_eq!(come(&arrivals, numbered(number), MEMORY_MS).1, Ok(()));
        }
        assert_eq!(arrivals.remembered(), 500);
    }

    #[test]
    fn when_too_many_come_they_wait_outside_and_those_turned_away_do_not_count() {
        let arrivals = arrivals(1, 0, 2);
        assert_eq!(arrivals.rest_ms(0), None);
        let _a = come(&arrivals, address("192.0.2.1"), 0);
        for _ in 0..9 {
            assert_eq!(come(&arrivals, address("192.0.2.1"), 0).1, FULL);
        }
        assert_eq!(arrivals.rest_ms(0), None);
        let _b = come(&arrivals, address("192.0.2.2"), 0);
        assert_eq!(arrivals.rest_ms(0), Some(500));
        assert_eq!((arrivals.rest_ms(499), arrivals.rest_ms(500)), (Some(1), None));
    }

    #[test]
    fn a_listener_has_so_many_connections_wherever_they_come_from() {
        let arrivals = Arc::new(Arrivals::default());
        let per_listener_max = vec![None, Some(1)];
        arrivals.set(ArrivalRules { per_listener_max, ..ArrivalRules::default() });
        let at = |listener, text| arrivals.come(address(text), EntranceId(listener), 0);
        let first = at(1, "192.0.2.1");
        assert_eq!(first.1, Ok(()));
        assert_eq!(at(1, "192.0.2.2").1, Err(TurnedAway::ListenerFull));
        assert_eq!((at(0, "192.0.2.2").1, at(7, "192.0.2.2").1), (Ok(()), Ok(())));
        drop(first);
        assert_eq!(at(1, "192.0.2.2").1, Ok(()));
    }

    #[test]
    fn who_was_turned_away_takes_no_place_of_the_listener() {
        let arrivals = Arc::new(Arrivals::default());
        arrivals.set(ArrivalRules {
            per_address_max: Some(1),
            per_listener_max: vec![Some(3)],
            ..ArrivalRules::default()
        });
        let (a, b, c) = (address("192.0.2.1"), address("192.0.2.2"), address("192.0.2.3"));
        let first = come(&arrivals, a, 0);
        let crowd: Vec<_> = (0..9).map(|_| come(&arrivals, a, 0)).collect();
        assert!(crowd.iter().all(|(_, verdict)| *verdict == FULL));
        let _others = [come(&arrivals, b, 0), come(&arrivals, c, 0)].map(|(visit, verdict)| {
            assert_eq!(verdict, Ok(()), "there is room");
            visit
        });
        let d = address("192.0.2.4");
        let late: Vec<_> = (0..9).map(|_| come(&arrivals, d, 0)).collect();
        assert_eq!(late[0].1, Err(TurnedAway::ListenerFull));
        drop(first);
        drop(late);
        assert_eq!(come(&arrivals, d, 0).1, Ok(()), "as one has gone, whoever still hears why");
    }

    #[test]
    fn new_rules_hold_for_those_who_are_there() {
        let arrivals = arrivals(0, 0, 0);
        let a = address("192.0.2.1");
        let _there: Vec<_> = (0..5).map(|_| come(&arrivals, a, 0)).collect();
        arrivals.set(ArrivalRules { per_address_max: Some(3), ..ArrivalRules::default() });
        assert_eq!(come(&arrivals, a, 0).1, FULL);
    }
}
