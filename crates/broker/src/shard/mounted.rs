//! Clients whose topics are below a mount: what they send is written again with what stands before
//! it, so that nobody behind here knows of mounts. What is sent to them loses it again in `delivery`.
//!
//! Rights, limits, routes and the store see whole topics. Response topics are the clients' own words
//! and stay what they are: whoever is below the same mount understands them.

use super::Shard;
use super::input::Sender;
use crate::connection::ConnectionHandle;
use crate::entrance::Mount;
use noctule_mqtt::codec;
use noctule_mqtt::packet::{Connect, Publish, Subscribe, Subscription, Unsubscribe, Will};
use noctule_mqtt::{Packet, ReasonCode, TopicFilter, TopicName, Violation};

impl Shard {
    fn mount(&self, handle: ConnectionHandle) -> Option<Mount> {
        let connection = self.delivery.connections.get(handle)?;
        self.delivery.mounts.of(connection).cloned()
    }

    /// A PUBLISH without an alias: goes on with what it is to the others.
    pub(super) fn on_mounted(
        &mut self,
        sender: &Sender,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        let (Some(mount), Some(topic)) = (self.mount(sender.connection), publish.topic) else {
            return Err(Violation::TopicEmpty);
        };
        let outer = mount.outer(topic.as_str());
        let topic = TopicName::new(&outer).map_err(|_| Violation::TopicOverLimit {
            what: "bytes with its mount",
            found: outer.len(),
            limit: usize::from(u16::MAX),
        })?;
        let mounted = Packet::Publish(Publish { topic: Some(topic), ..*publish });
        let mut bytes = Vec::with_capacity(outer.len() + publish.payload.len() + 64);
        let too_large =
            |size: usize| Violation::PacketTooLarge { size: size as u64, limit: u32::MAX };
        codec::encode(&mounted, sender.version, &mut bytes).map_err(|_| too_large(outer.len()))?;
        match codec::next_frame(&bytes, u32::MAX)? {
            Some(frame) => self.on_publish(&Sender { mounted: false, ..*sender }, &frame),
            None => Err(too_large(bytes.len())),
        }
    }

    pub(super) fn on_mounted_subscribe(&mut self, sender: &Sender, subscribe: &Subscribe<'_>) {
        let Some(mount) = self.mount(sender.connection) else {
            return;
        };
        let filters: Vec<_> =
            subscribe.subscriptions.iter().map(|one| mount.outer_filter(one.filter)).collect();
        let all = filters.iter().zip(&subscribe.subscriptions);
        let subscriptions = all.filter_map(|(outer, one)| {
            Some(Subscription { filter: whole_or_refused(outer)?, ..*one })
        });
        let Subscribe { packet_id, properties, .. } = *subscribe;
        let subscriptions = subscriptions.collect();
        self.on_subscribe(sender, &Subscribe { packet_id, properties, subscriptions });
    }

    pub(super) fn on_mounted_unsubscribe(
        &mut self,
        sender: &Sender,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        let Some(mount) = self.mount(sender.connection) else {
            return;
        };
        let outer: Vec<_> =
            unsubscribe.filters.iter().map(|filter| mount.outer_filter(*filter)).collect();
        let filters = outer.iter().filter_map(|outer| whole_or_refused(outer)).collect();
        let Unsubscribe { packet_id, properties, .. } = *unsubscribe;
        self.on_unsubscribe(sender, &Unsubscribe { packet_id, properties, filters });
    }

    /// The topic of a will as it is to the others, or none if the client has no mount.
    pub(super) fn mounted_will(
        &self,
        handle: ConnectionHandle,
        connect: &Connect<'_>,
    ) -> Option<String> {
        let (mount, will) = (self.mount(handle)?, connect.will.as_ref()?);
        Some(mount.outer(will.topic.as_str()))
    }
}

/// A CONNECT whose will has this topic.
pub(super) fn with_will<'a>(
    connect: &Connect<'a>,
    topic: &'a str,
) -> Result<Connect<'a>, ReasonCode> {
    let topic = TopicName::new(topic).map_err(|_| ReasonCode::TopicNameInvalid)?;
    let will = connect.will.map(|will| Will { topic, ..will });
    Ok(Connect { will, ..*connect })
}

/// The filter with its mount. If it is too long with it, one that is refused stands in its place: by no
/// means the client's own, which would reach beyond the mount.
fn whole_or_refused(outer: &str) -> Option<TopicFilter<'_>> {
    TopicFilter::new(outer).or_else(|_| TopicFilter::new(REFUSED)).ok()
}

/// A shared subscription of a group without a name.
const REFUSED: &str = "$share//";
