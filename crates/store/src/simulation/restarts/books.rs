//! What was said and heard, and what follows from it.

use super::client::Client;
use std::collections::{BTreeMap, BTreeSet};

/// Names a message: whose it is and which of his.
pub(super) type Name = (usize, u32);

/// A message that somebody has published.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// PUBACK or PUBREC came.
    pub(super) acknowledged: bool,
    /// It was sent more than once.
    pub(super) repeated: bool,
    /// When it was sent first, in the order of all that happened.
    pub(super) at: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) published: BTreeMap<Name, Published>,
    /// Counts what happened.
    pub(super) time: usize,
    pub(super) heard: usize,
    pub(super) resumed: usize,
    pub(super) continued: usize,
}

impl Books {
    pub(super) fn now(&mut self) -> usize {
        self.time += 1;
        self.time
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.published.values().filter(|one| one.acknowledged).count()
    }

    /// Whether everybody has heard what he had to, as often as he had to and in order.
    pub(super) fn judge(&self, clients: &[Client]) -> Result<(), String> {
        for client in clients {
            let Some(since) = client.subscribed_at else {
                continue;
            };
            let heard: BTreeSet<Name> = client.heard.iter().map(|heard| heard.name).collect();
            for (name, published) in &self.published {
                let promised = published.acknowledged && published.at > since;
                if promised && client.wants(&published.topic) && !heard.contains(name) {
                    let who = &client.name;
                    return Err(format!("{who} never heard {name:?}, {published:?}"));
                }
            }
            // Whoever has only heard it has not got it yet [MQTT3-4.4.0-1] [MQTT5-4.4.0-1].
            let promised = |name: &&Name| {
                let published = self.published.get(*name);
                published.is_some_and(|one| one.acknowledged && one.at > since)
            };
            if let Some(name) = client.heard_in_vain().find(promised) {
                let who = &client.name;
                return Err(format!(
                    "{who} had not acknowledged {name:?}, and never heard it again"
                ));
            }
            self.judge_doubles(client)?;
            self.judge_order(client, since)?;
        }
        Ok(())
    }

    fn judge_doubles(&self, client: &Client) -> Result<(), String> {
        let mut once = BTreeSet::new();
        // Sending what was retained to a new subscription begins anew after a crash.
        for heard in client.heard.iter().filter(|heard| heard.qos == 2 && !heard.retained) {
            if !once.insert(heard.name) {
                return Err(format!("{} heard {:?} twice at QoS 2", client.name, heard.name));
            }
        }
        Ok(())
    }

    /// Of one publisher, topic and QoS, those that were heard first come in their order. Of what was
    /// said before the subscription only a repetition may be heard.
    fn judge_order(&self, client: &Client, since: usize) -> Result<(), String> {
        let mut known = BTreeSet::new();
        let mut last: BTreeMap<(usize, &str, u8), u32> = BTreeMap::new();
        for heard in client.heard.iter().filter(|heard| known.insert(heard.name)) {
            let Some(published) = self.published.get(&heard.name) else {
                return Err(format!("{} heard {:?}, which nobody said", client.name, heard.name));
            };
            if published.at < since {
                continue;
            }
            let (publisher, number) = heard.name;
            let line = (publisher, &*published.topic, published.qos);
            if let Some(before) = last.insert(line, number)
                && before > number
            {
                let who = &client.name;
                return Err(format!("{who} heard {:?} after {before}", heard.name));
            }
        }
        Ok(())
    }
}
