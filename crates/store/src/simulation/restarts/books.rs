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
    /// When PUBACK or PUBREC came.
    pub(super) acknowledged_at: Option<usize>,
    /// It was sent more than once.
    pub(super) repeated: bool,
    /// A full queue has refused it.
    pub(super) refused: bool,
    /// When it was sent first, in the order of all that happened.
    pub(super) at: usize,
}

impl Published {
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acknowledged_at.is_some()
    }
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
    pub(super) refused: usize,
}

impl Books {
    pub(super) fn now(&mut self) -> usize {
        self.time += 1;
        self.time
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.published.values().filter(|one| one.is_acknowledged()).count()
    }

    /// Whether everybody has heard what he had to, as often as he had to and in order.
    pub(super) fn judge(&self, clients: &[Client]) -> Result<(), String> {
        for client in clients {
            let Some(since) = client.subscribed_at else {
                continue;
            };
            let heard: BTreeSet<Name> = client.heard.iter().map(|heard| heard.name).collect();
            for (name, published) in &self.published {
                let promised = published.is_acknowledged() && published.at > since;
                if promised && client.wants(&published.topic) && !heard.contains(name) {
                    let who = &client.name;
                    return Err(format!("{who} never heard {name:?}, {published:?}"));
                }
            }
            // Whoever has only heard it has not got it yet [MQTT3-4.4.0-1] [MQTT5-4.4.0-1].
            let promised = |name: &&Name| {
                let published = self.published.get(*name);
                published.is_some_and(|one| one.is_acknowledged() && one.at > since)
            };
            if let Some(name) = client.heard_in_vain().find(promised) {
                let who = &client.name;
                return Err(format!(
                    "{who} had not acknowledged {name:?}, and never heard it again"
                ));
            }
            self.judge_retained(client)?;
            self.judge_doubles(client)?;
            self.judge_order(client, since)?;
        }
        Ok(())
    }

    /// At QoS 2 a message is new once as it was published, and once for each SUBSCRIBE that may have
    /// found it retained. The first of these brings it in one of the two ways.
    fn judge_doubles(&self, client: &Client) -> Result<(), String> {
        let mut counted: BTreeMap<Name, usize> = BTreeMap::new();
        for heard in client.heard.iter().filter(|heard| heard.qos == 2) {
            *counted.entry(heard.name).or_default() += 1;
        }
        for (name, times) in counted {
            let Some(published) = self.published.get(&name) else { continue };
            let before = |at: Option<usize>| at.is_some_and(|at| at < published.at);
            let was_there = client.asks.iter().any(|ask| before(ask.granted_at));
            let finding = client
                .asks
                .iter()
                .filter(|ask| published.retain && ask.wants_retained && !before(ask.granted_at));
            let most = (finding.count() + usize::from(was_there)).max(1);
            if times > most {
                let who = &client.name;
                return Err(format!("{who} heard {name:?} at QoS 2 {times} times, not {most}"));
            }
        }
        Ok(())
    }

    /// After each SUBSCRIBE that was granted and asked for them, the retained message of each topic has
    /// come that was the last to be acknowledged by then, or a later one.
    fn judge_retained(&self, client: &Client) -> Result<(), String> {
        let asks = client.asks.iter().filter(|ask| ask.wants_retained && ask.granted_at.is_some());
        for ask in asks {
            let mut last: BTreeMap<(&str, u8), u32> = BTreeMap::new();
            for ((_, number), one) in self.published.iter().filter(|(_, one)| one.retain) {
                if one.acknowledged_at.is_some_and(|at| at < ask.at) && client.wants(&one.topic) {
                    last.insert((&one.topic, one.qos), *number);
                }
            }
            for ((topic, qos), number) in last {
                let is_it = |name: Name| {
                    let published = self.published.get(&name).filter(|one| *one.topic == *topic);
                    // One at QoS 2 is routed when it is stored, and so may come behind one at QoS 1.
                    published.is_some_and(|one| name.1 >= number || one.qos != qos)
                };
                // One that is retained in its place may have been refused by this very client's queue.
                let mut all = self.published.iter();
                if all.any(|(name, one)| one.refused && one.topic == topic && name.1 > number) {
                    continue;
                }
                if !client.heard.iter().any(|heard| heard.at > ask.at && is_it(heard.name)) {
                    let who = &client.name;
                    return Err(format!(
                        "{who} never got {number}, retained at {topic}, for {ask:?}"
                    ));
                }
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
