//! Topic aliases: small numbers that stand for a topic on one connection, in one direction
//! (MQTT 5.0 section 3.3.2.3.4). They end with the connection `[MQTT5-3.3.2-7]`, and the two
//! directions know nothing of each other.

use std::collections::BTreeMap;

/// The aliases that the peer uses: whatever it last said an alias stands for.
#[derive(Debug, Default)]
pub struct AliasesIn {
    topics: Vec<Box<[u8]>>,
    bytes: usize,
}

impl AliasesIn {
    /// From now on `alias`, which is not zero, stands for a topic. The caller has seen that it is no
    /// greater than what the peer was told.
    pub fn set(&mut self, alias: u16, topic: &[u8]) {
        let place = usize::from(alias.saturating_sub(1));
        if self.topics.len() <= place {
            self.topics.resize_with(place + 1, Box::default);
        }
        self.bytes += topic.len();
        self.bytes -= self.topics[place].len();
        self.topics[place] = topic.into();
    }

    /// The topic that `alias` stands for, if it has been said.
    pub fn topic(&self, alias: u16) -> Option<&[u8]> {
        let topic = self.topics.get(usize::from(alias.checked_sub(1)?))?;
        // A topic is never empty: this is a place that was skipped.
        if topic.is_empty() { None } else { Some(topic) }
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes + self.topics.capacity() * size_of::<Box<[u8]>>()
    }
}

/// The aliases that we use: given to topics in the order of their first use, as long as there are
/// any, and never taken back.
#[derive(Debug)]
pub struct AliasesOut {
    max: u16,
    known: BTreeMap<Box<[u8]>, u16>,
    bytes: usize,
}

/// How a topic is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasUse {
    /// By this alias alone: the peer knows what it stands for.
    Known(u16),
    /// With its name and this alias, which stands for it from then on.
    New(u16),
    /// By its name.
    None,
}

impl AliasesOut {
    /// No aliases yet, and at most so many `[MQTT5-3.1.2-26]`.
    pub fn new(max: u16) -> Self {
        Self { max, known: BTreeMap::new(), bytes: 0 }
    }

    /// How a topic is to be said next. A new alias has to be [noted](Self::note) when it was.
    pub fn find(&self, topic: &[u8]) -> AliasUse {
        match self.known.get(topic) {
            Some(alias) => AliasUse::Known(*alias),
            None if self.known.len() < usize::from(self.max) => {
                AliasUse::New(self.known.len() as u16 + 1)
            }
            None => AliasUse::None,
        }
    }

    /// The peer has been told the new alias that [`find`](Self::find) gave for this topic.
    pub fn note(&mut self, topic: &[u8]) {
        let alias = self.known.len() as u16 + 1;
        self.bytes += topic.len() + 2 * size_of::<(Box<[u8]>, u16)>();
        self.known.insert(topic.into(), alias);
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_what_was_said_last() {
        let mut aliases = AliasesIn::default();
        assert_eq!(aliases.topic(1), None);
        aliases.set(3, b"a");
        aliases.set(1, b"b");
        assert_eq!(
            [0, 1, 2, 3, 4].map(|alias| aliases.topic(alias)),
            [None, Some(&b"b"[..]), None, Some(&b"a"[..]), None]
        );
        aliases.set(3, b"longer");
        assert_eq!(aliases.topic(3), Some(&b"longer"[..]));
        assert_eq!(aliases.bytes, 7);
    }

    #[test] // [MQTT5-3.1.2-26]
    fn topics_get_aliases_in_the_order_of_first_use_until_there_are_no_more() {
        let mut aliases = AliasesOut::new(2);
        for (topic, alias) in [("a", 1), ("b", 2)] {
            assert_eq!(aliases.find(topic.as_bytes()), AliasUse::New(alias));
            assert_eq!(aliases.find(topic.as_bytes()), AliasUse::New(alias), "not said yet");
            aliases.note(topic.as_bytes());
            assert_eq!(aliases.find(topic.as_bytes()), AliasUse::Known(alias));
        }
        assert_eq!(aliases.find(b"c"), AliasUse::None);
        assert_eq!(AliasesOut::new(0).find(b"a"), AliasUse::None);
    }
}
