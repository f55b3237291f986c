//! Ways in: what applies to a connection because of where it was accepted.
//!
//! A listener is one, and a connection carries nothing of it but its number: one byte. What the number
//! stands for every shard has in a table, which can be replaced while clients are connected. What a
//! listener *is* must not be known here.

use crate::meter::Rates;
use crate::persist::Stage;
use crate::shard::Hello;
use noctule_mqtt::ProtocolVersion;

/// Names an entrance: its place in the table that [`Settings`](crate::Settings) brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntranceId(pub u8);

/// What applies to the connections of one way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entrance {
    /// Who is greeted.
    pub hello: Hello,
    /// The versions of MQTT that may be spoken.
    pub versions: AcceptedVersions,
    /// How safe what these clients publish and ask for has to be before it is acknowledged; none is
    /// the broker's [own rule](crate::Settings::stage).
    pub stage: Option<Stage>,
    /// How fast each of these clients may send.
    pub rates: Rates,
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

/// The entrance with this number; one without rules of its own if there is none.
pub(crate) fn entrance(table: &[Entrance], id: EntranceId) -> Entrance {
    table.get(usize::from(id.0)).copied().unwrap_or_default()
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
        assert_eq!(entrance(&table, EntranceId(0)).hello, Hello::Always);
        assert_eq!(entrance(&table, EntranceId(7)), Entrance::default());
    }
}
