//! Wrong logins: after some, further ones have to wait before they are looked at; after more, they are
//! refused for a while.
//!
//! They are counted in two ways. By *claim*, which is an address and whom it said to be (a user, or a
//! token): so a device with a wrong password locks out itself and not those behind the same address.
//! And by *place*, the address alone, where the first few of each claim count: so an address that tries
//! one name after another comes to its end too. A claim that was right from there before is not asked
//! how its neighbours behave.
//!
//! An IPv6 address counts with its whole /64, which one machine can have for itself. Invariant: there
//! are never more records than [`RECORDS_MAX`] of either kind, and [`RIGHT_MAX`] of right claims; then
//! a quarter of them is forgotten, those that have been quiet for longest.

use crate::arrivals::network;
use noctule_net::Source;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many claims and so many places that were wrong are remembered.
const RECORDS_MAX: usize = 10_000;

/// So many claims that were right are remembered.
const RIGHT_MAX: usize = 100_000;

/// Failures that cost nothing: people mistype. As many of a claim count for its place.
const FREE: u32 = 4;

/// A place may fail so many times as often as a claim.
const PLACE_FACTOR: u32 = 10;

/// How long the first one that costs something waits; each further one twice as long.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(4);

/// How long it is remembered that a claim was right.
const RIGHT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What counts as one address.
pub(super) type Place = Source;

/// Whom a login said to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom<'a> {
    /// The user of this name.
    User(&'a str),
    /// Whoever has this client identifier and names no user. That is no user of the same name: anybody may
    /// choose it, and being let in by it makes no wrong password good.
    Client(&'a str),
    /// Whoever this token names. Each is one of its own, as its name is not to be believed.
    Token(&'a [u8]),
}

/// An address and whom it said to be, of which only a hash is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClaimKey {
    place: Place,
    whom: u64,
}

/// All wrong logins.
#[derive(Debug)]
pub(super) struct Failures {
    /// After so many of a claim it is refused; none is never.
    max: Option<u32>,
    /// How long a claim or a place has to be quiet to be forgotten.
    memory: Duration,
    hasher: RandomState,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    claims: HashMap<ClaimKey, Record>,
    places: HashMap<Place, Record>,
    right: HashMap<ClaimKey, Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    count: u32,
    last: Instant,
}

impl Record {
    fn holds(&self, memory: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < memory
    }
}

/// How a login is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// As everybody's.
    Good,
    /// It has to wait so long before it is looked at.
    Slowed(Duration),
    /// It is not looked at.
    Refused,
}

/// Of which it is to be said that further ones are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossed {
    /// This claim.
    Claim,
    /// Whatever comes from there and was not right before.
    Place,
}

impl Failures {
    /// Nobody has failed yet.
    pub(super) fn new(max: Option<u32>, memory: Duration) -> Self {
        Self { max, memory, hasher: RandomState::new(), books: Mutex::default() }
    }

    /// Names a claim.
    pub(super) fn claim(&self, source: Source, whom: Whom<'_>) -> ClaimKey {
        let whom = match whom {
            Whom::User(name) => self.hasher.hash_one((0_u8, name)),
            Whom::Token(token) => self.hasher.hash_one((1_u8, token)),
            Whom::Client(client_id) => self.hasher.hash_one((2_u8, client_id)),
        };
        ClaimKey { place: network(source), whom }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a claim stands.
    pub(super) fn standing(&self, claim: ClaimKey, now: Instant) -> Standing {
        let books = self.books();
        let held = |record: Option<&Record>| {
            record.filter(|record| record.holds(self.memory, now)).map_or(0, |record| record.count)
        };
        let own = self.standing_of(held(books.claims.get(&claim)), 1);
        if own == Standing::Refused
            || books.right.get(&claim).is_some_and(|record| record.holds(RIGHT_FOR, now))
        {
            return own;
        }
        own.max(self.standing_of(held(books.places.get(&claim.place)), PLACE_FACTOR))
    }

    /// The standing of whoever has failed so often and may `factor` times as often as a claim.
    fn standing_of(&self, count: u32, factor: u32) -> Standing {
        match count {
            count if self.max.is_some_and(|max| count >= max.saturating_mul(factor)) => {
                Standing::Refused
            }
            count if count <= FREE * factor => Standing::Good,
            count => {
                let doublings = ((count - FREE * factor - 1) / factor).min(16);
                Standing::Slowed((DELAY_FIRST * (1 << doublings)).min(DELAY_MAX))
            }
        }
    }

    /// A claim was wrong. Returns what is refused from now on, if something is.
    pub(super) fn note(&self, claim: ClaimKey, now: Instant) -> Option<Crossed> {
        let mut books = self.books();
        let count = count_in(&mut books.claims, RECORDS_MAX, claim, self.memory, now);
        if self.max == Some(count) {
            return Some(Crossed::Claim);
        }
        if count > FREE {
            return None;
        }
        let count = count_in(&mut books.places, RECORDS_MAX, claim.place, self.memory, now);
        let place_max = self.max.map(|max| max.saturating_mul(PLACE_FACTOR));
        (place_max == Some(count)).then_some(Crossed::Place)
    }

    /// A claim was right: it begins anew, and what its neighbours do is not held against it.
    pub(super) fn forgive(&self, claim: ClaimKey, now: Instant) {
        let mut books = self.books();
        books.claims.remove(&claim);
        count_in(&mut books.right, RIGHT_MAX, claim, RIGHT_FOR, now);
    }
}

/// Counts one more in a record, which begins anew if it is too old.
fn count_in<K: Copy + Eq + Hash>(
    records: &mut HashMap<K, Record>,
    max: usize,
    key: K,
    memory: Duration,
    now: Instant,
) -> u32 {
    if records.len() >= max && !records.contains_key(&key) {
        make_room(records, max, memory, now);
    }
    let record = records.entry(key).or_insert(Record { count: 0, last: now });
    if !record.holds(memory, now) {
        record.count = 0;
    }
    record.count = record.count.saturating_add(1);
    record.last = now;
    record.count
}

/// Forgets what is too old, and if that is not enough a quarter of all at once: whoever comes in great
/// numbers does not have all records looked at each time.
fn make_room<K: Copy + Eq + Hash>(
    records: &mut HashMap<K, Record>,
    max: usize,
    memory: Duration,
    now: Instant,
) {
    records.retain(|_, record| record.holds(memory, now));
    if records.len() < max {
        return;
    }
    let mut times: Vec<Instant> = records.values().map(|record| record.last).collect();
    let quarter = times.len() / 4;
    let (_, newest_to_go, _) = times.select_nth_unstable(quarter);
    let newest_to_go = *newest_to_go;
    records.retain(|_, record| record.last > newest_to_go);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const MEMORY: Duration = Duration::from_secs(300);

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    fn user(failures: &Failures, at: &str, name: &str) -> ClaimKey {
        failures.claim(address(at), Whom::User(name))
    }

    #[test]
    fn failures_are_free_then_slowed_then_refused_and_forgotten() {
        let failures = Failures::new(Some(12), MEMORY);
        let (anna, now) = (user(&failures, "192.0.2.1", "anna"), Instant::now());
        let mut standings = Vec::new();
        for count in 1..=12 {
            standings.push(failures.standing(anna, now));
            let crossed = (count == 12).then_some(Crossed::Claim);
            assert_eq!(failures.note(anna, now), crossed);
        }
        let slowed = |ms| Standing::Slowed(Duration::from_millis(ms));
        assert_eq!(standings[..5], [Standing::Good; 5]);
        let rest = [100, 200, 400, 800, 1_600, 3_200, 4_000].map(slowed);
        assert_eq!(standings[5..], rest);
        assert_eq!(failures.standing(anna, now), Standing::Refused);
        for (at, name) in [("192.0.2.2", "anna"), ("192.0.2.1", "bert")] {
            let other = user(&failures, at, name);
            assert_eq!(failures.standing(other, now), Standing::Good, "{name} at {at}");
        }
        let just = now + MEMORY - Duration::from_millis(1);
        assert_eq!(failures.standing(anna, just), Standing::Refused);
        assert_eq!(failures.standing(anna, now + MEMORY), Standing::Good);
        assert_eq!(failures.note(anna, now + MEMORY), None, "it begins anew");
        assert_eq!(failures.standing(anna, now + MEMORY), Standing::Good);
    }

    #[test]
    fn without_a_limit_nobody_is_refused_or_slowed_for_more_than_seconds() {
        let failures = Failures::new(None, MEMORY);
        let (anna, now) = (user(&failures, "192.0.2.1", "anna"), Instant::now());
        for _ in 0..1_000 {
            assert_eq!(failures.note(anna, now), None);
        }
        assert_eq!(failures.standing(anna, now), Standing::Slowed(DELAY_MAX));
    }

    #[test]
    fn an_address_that_tries_many_names_comes_to_its_end_but_not_who_was_right_from_there() {
        let failures = Failures::new(Some(5), MEMORY);
        let now = Instant::now();
        let anna = user(&failures, "192.0.2.1", "anna");
        failures.forgive(anna, now);
        let mut crossed = Vec::new();
        for number in 0..50 {
            let name = user(&failures, "192.0.2.1", &number.to_string());
            crossed.extend(failures.note(name, now));
        }
        assert_eq!(crossed, [Crossed::Place]);
        let unknown = user(&failures, "192.0.2.1", "zoe");
        assert_eq!(failures.standing(unknown, now), Standing::Refused);
        let elsewhere = user(&failures, "192.0.2.2", "zoe");
        assert_eq!(failures.standing(elsewhere, now), Standing::Good);
        assert_eq!(failures.standing(anna, now), Standing::Good, "she was right before");
        assert_eq!(failures.standing(anna, now + RIGHT_FOR), Standing::Good, "all is forgotten");
        // Who knows her name can guess at her password as often as at any other.
        for _ in 0..5 {
            failures.note(anna, now);
        }
        assert_eq!(failures.standing(anna, now), Standing::Refused);
    }

    #[test]
    fn one_device_with_a_wrong_password_does_not_lock_out_its_neighbours() {
        let failures = Failures::new(Some(20), MEMORY);
        let begin = Instant::now();
        let device = user(&failures, "192.0.2.1", "device");
        // For hours, with each of its chances.
        for second in 0..20_000 {
            let now = begin + Duration::from_secs(second);
            if failures.standing(device, now) != Standing::Refused {
                failures.note(device, now);
            }
            let neighbour = user(&failures, "192.0.2.1", "neighbour");
            assert_eq!(failures.standing(neighbour, now), Standing::Good, "after {second} s");
        }
    }

    #[test]
    fn a_right_login_makes_good_what_was_mistyped() {
        let failures = Failures::new(Some(20), MEMORY);
        let (anna, now) = (user(&failures, "192.0.2.1", "anna"), Instant::now());
        for _ in 0..6 {
            failures.note(anna, now);
        }
        assert_ne!(failures.standing(anna, now), Standing::Good);
        failures.forgive(anna, now);
        assert_eq!(failures.standing(anna, now), Standing::Good);
    }

    #[test]
    fn whoever_comes_by_a_client_identifier_makes_no_wrong_password_good() {
        let failures = Failures::new(Some(1), MEMORY);
        let (at, now) = (address("192.0.2.1"), Instant::now());
        let admin = failures.claim(at, Whom::User("admin"));
        failures.note(admin, now);
        failures.forgive(failures.claim(at, Whom::Client("admin")), now);
        assert_eq!(failures.standing(admin, now), Standing::Refused);
    }

    #[test]
    fn each_token_is_a_claim_of_its_own_and_none_is_a_user() {
        let failures = Failures::new(Some(1), MEMORY);
        let (at, now) = (address("192.0.2.1"), Instant::now());
        failures.note(failures.claim(at, Whom::Token(b"x")), now);
        for (whom, standing) in [
            (Whom::Token(b"x"), Standing::Refused),
            (Whom::Token(b"y"), Standing::Good),
            (Whom::User("x"), Standing::Good),
        ] {
            assert_eq!(failures.standing(failures.claim(at, whom), now), standing, "{whom:?}");
        }
    }

    #[test]
    fn a_machine_cannot_change_its_address_within_its_network() {
        let failures = Failures::new(Some(1), MEMORY);
        let now = Instant::now();
        failures.note(user(&failures, "2001:db8::1", "a"), now);
        failures.note(user(&failures, "192.0.2.1", "a"), now);
        for (other, standing) in [
            ("2001:db8::ffff:1", Standing::Refused),
            ("2001:db8:0:1::1", Standing::Good),
            ("::ffff:192.0.2.1", Standing::Refused),
            ("192.0.2.2", Standing::Good),
        ] {
            assert_eq!(failures.standing(user(&failures, other, "a"), now), standing, "{other}");
        }
        failures.note(failures.claim(Source::User(7), Whom::User("a")), now);
        for (number, standing) in [(7, Standing::Refused), (8, Standing::Good)] {
            let claim = failures.claim(Source::User(number), Whom::User("a"));
            assert_eq!(failures.standing(claim, now), standing, "of this machine: {number}");
        }
    }

    #[test]
    fn as_many_are_remembered_as_there_may_be() {
        let failures = Failures::new(Some(1), MEMORY);
        let now = Instant::now();
        let numbered = |number: u32| {
            failures.claim(Source::Address(IpAddr::V4(number.into())), Whom::User("a"))
        };
        for number in 0..RECORDS_MAX as u32 + 10 {
            failures.note(numbered(number), now + Duration::from_millis(number.into()));
        }
        let later = now + Duration::from_secs(20);
        let remembered = failures.books().claims.len();
        assert!((RECORDS_MAX / 2..=RECORDS_MAX).contains(&remembered), "{remembered}");
        assert_eq!(failures.standing(numbered(0), later), Standing::Good, "forgotten");
        assert_eq!(failures.standing(numbered(RECORDS_MAX as u32), later), Standing::Refused);
    }
}
