//! Ways in: what applies to a connection because of where it was accepted.
//!
//! A listener is one, and a connection carries nothing of it but its number: one byte. What the number
//! stands for every shard has in a table, which can be replaced while clients are connected. What a
//! listener *is* must not be known here.

use crate::connection::Connection;
use crate::message::MessageView;
use crate::meter::Rates;
use crate::persist::Stage;
use crate::shard::Hello;
use noctule_mqtt::{ProtocolVersion, TopicFilter, TopicName};
use std::sync::Arc;

/// Names an entrance: its place in the table that [`Settings`](crate::Settings) brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntranceId(pub u8);

/// What applies to the connections of one way in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entrance {
    /// Who is greeted.
    pub hello: Hello,
    /// The versions of MQTT that may be spoken.
    pub versions: AcceptedVersions,
    /// How safe what these clients publish and ask for has to be before it is acknowledged; none is
    /// the broker's [own rule](crate::Settings::stage).
    pub stage: Option<Stage>,
    /// What stands before the topics and filters of these clients and is taken off before they are
    /// sent a message. Ends with a level separator. A client that names a topic `a` publishes and
    /// receives what the others know as this and `a`.
    pub mount: Option<Mount>,
    /// What client identifiers have to begin with; others are refused as not authorized.
    pub client_id_prefix: Box<str>,
    /// What identifiers begin with that are given to clients without one.
    pub assigned_prefix: AssignedPrefix,
    /// Whether clients without an identifier are refused `[MQTT3-3.1.3-8]`.
    pub requires_client_id: bool,
    /// How fast each of these clients may send.
    pub rates: Rates,
}

/// What stands before the topics of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount(Arc<str>);

impl Mount {
    /// Topics below `prefix`; none if it is not the beginning of topics: it has to end with `/`, and
    /// to have no wildcard.
    #[must_use]
    pub fn new(prefix: &str) -> Option<Self> {
        let is_topic = prefix.ends_with('/') && TopicName::new(prefix).is_ok();
        is_topic.then(|| Self(prefix.into()))
    }

    /// What clients there call a topic; none if it is not below the mount.
    pub(crate) fn inner<'a>(&self, topic: TopicName<'a>) -> Option<TopicName<'a>> {
        let rest = topic.as_bytes().strip_prefix(self.0.as_bytes())?;
        // Cut behind a separator, it is a topic unless it is empty.
        (!rest.is_empty()).then(|| TopicName::from_checked(rest))
    }

    /// What others call a topic of a client there.
    pub(crate) fn outer(&self, topic: &str) -> String {
        [&*self.0, topic].concat()
    }

    /// The same of a filter. The name of a group stays in front.
    pub(crate) fn outer_filter(&self, filter: TopicFilter<'_>) -> String {
        let text = filter.as_str();
        let group = text.strip_prefix(SHARE).and_then(|rest| rest.split_once('/'));
        match group {
            Some((group, rest)) => format!("{SHARE}{group}/{}{rest}", self.0),
            None => self.outer(text),
        }
    }
}

/// What the filters of shared subscriptions begin with.
const SHARE: &str = "$share/";

/// What identifiers begin with that the broker gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedPrefix(pub Box<str>);

impl Default for AssignedPrefix {
    fn default() -> Self {
        Self("noctule-".into())
    }
}

/// The mounts of the entrances that have one.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<Option<Mount>>);

impl Mounts {
    pub(crate) fn of_table(table: &[Entrance]) -> Self {
        Self(table.iter().map(|entrance| entrance.mount.clone()).collect())
    }

    /// That of a connection.
    pub(crate) fn of(&self, connection: &Connection) -> Option<&Mount> {
        self.0.get(usize::from(connection.entrance.0))?.as_ref()
    }

    /// The message as it is called where a connection came in; none if it is not below the mount there.
    #[inline]
    pub(crate) fn inner<'a>(
        &self,
        connection: &Connection,
        view: MessageView<'a>,
    ) -> Option<MessageView<'a>> {
        if !connection.mounted {
            return Some(view);
        }
        let topic = self.of(connection)?.inner(view.topic)?;
        Some(MessageView { topic, ..view })
    }
}

impl Entrance {
    /// Greeting these clients, and as usual in all else.
    #[must_use]
    pub fn greeting(hello: Hello) -> Self {
        Self { hello, ..Self::default() }
    }
}

/// Versions of MQTT that a client may announce; all of them unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedVersions(u8);

impl AcceptedVersions {
    /// These alone.
    #[must_use]
    pub fn these(versions: &[ProtocolVersion]) -> Self {
        Self(versions.iter().fold(0, |bits, version| bits | bit(*version)))
    }

    /// Whether a client may speak this version `[MQTT3-3.1.2-2]` `[MQTT5-3.1.2-2]`.
    #[must_use]
    pub fn has(self, version: ProtocolVersion) -> bool {
        self.0 & bit(version) != 0
    }
}

impl Default for AcceptedVersions {
    fn default() -> Self {
        Self::these(&ProtocolVersion::ALL)
    }
}

fn bit(version: ProtocolVersion) -> u8 {
    match version {
        ProtocolVersion::V31 => 1,
        ProtocolVersion::V311 => 2,
        ProtocolVersion::V5 => 4,
    }
}

/// The entrance with this number, if there is one.
pub(crate) fn entrance(table: &[Entrance], id: EntranceId) -> Option<&Entrance> {
    table.get(usize::from(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_accepted_one_by_one_and_all_of_them_by_default() {
        for version in ProtocolVersion::ALL {
            assert!(AcceptedVersions::default().has(version));
            let alone = AcceptedVersions::these(&[version]);
            assert!(
                ProtocolVersion::ALL.iter().all(|other| alone.has(*other) == (*other == version))
            );
        }
    }

    #[test]
    fn a_number_without_an_entrance_has_no_rules_of_its_own() {
        let table = [Entrance::greeting(Hello::Always)];
        assert_eq!(entrance(&table, EntranceId(0)), Some(&table[0]));
        assert_eq!(entrance(&table, EntranceId(7)), None);
    }

    #[test]
    fn a_mount_is_put_before_topics_and_filters_and_taken_off() {
        let mount = Mount::new("site/1/").unwrap();
        let inner = |topic| mount.inner(TopicName::new(topic).unwrap()).map(TopicName::as_str);
        assert_eq!(inner("site/1/a/b"), Some("a/b"));
        assert_eq!(inner("site/1//"), Some("/"));
        assert_eq!([inner("site/1/"), inner("site/1"), inner("site/10/a")], [None; 3]);
        let outer = |filter| mount.outer_filter(TopicFilter::new(filter).unwrap());
        assert_eq!(outer("#"), "site/1/#");
        assert_eq!(outer("$SYS/#"), "site/1/$SYS/#");
        assert_eq!(outer("$share/g/a/+"), "$share/g/site/1/a/+");
        for wrong in ["", "a", "+/", "a/#", "a/#/"] {
            assert_eq!(Mount::new(wrong), None, "{wrong}");
        }
    }
}
