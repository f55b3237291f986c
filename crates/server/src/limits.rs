//! The configured limits and offers in the terms of the broker, and what `auto` comes to on this machine.

use crate::arrivals::ArrivalRules;
use crate::memory::memory_for_broker;
use crate::options::{Auto, ByteSize, Config, Limit, OnQueueFull, Sharing};
use noctule_broker::{Limits, Offer};
use noctule_mqtt::QoS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::num::NonZeroU32;

/// Files that are not connections: listeners, logs, the store, the poll itself, and room to answer
/// those that are too many.
const FILES_RESERVED: u64 = 100;

/// What of a persistent session's queue is kept at hand.
const QUEUE_RESIDENT_BYTES: usize = 1 << 20;

/// Raises the limit of open files as far as it may be raised and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let effective = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised,
        Err(_) => limit,
    };
    effective.current.unwrap_or(u64::MAX)
}

/// The limits of the broker, with `open_files` allowed to the process.
pub(crate) fn limits(config: &Config, open_files: u64) -> Limits {
    let (given, given_protocol) = (&config.limits, &config.protocol);
    let queue_bytes_max = bytes(given.queue_memory_bytes_max);
    let connections = given
        .connections_max
        .or_else(|| Limit::At(u32::try_from(connections_for(open_files)).unwrap_or(u32::MAX)));
    Limits {
        connections_max: count(connections),
        connect_bytes_max: bytes_u32(given.connect_bytes_max),
        connect_timeout_ms: u64::try_from(given.connect_timeout.as_millis()).unwrap_or(u64::MAX),
        packet_bytes_max: given.packet_bytes_max.get().map_or(u32::MAX, bytes_u32),
        topic_bytes_max: usize::try_from(given.topic_bytes_max.0).unwrap_or(usize::MAX),
        topic_separators_max: given.topic_levels_max as usize,
        inflight_out_max: given.inflight_out_max,
        inflight_in_max: given.inflight_in_max,
        topic_aliases_in_max: given.topic_aliases_in_max,
        topic_aliases_out_max: given.topic_aliases_out_max,
        qos2_ids_max: usize::from(given.qos2_ids_max),
        unsent_bytes_max: bytes(given.unsent_bytes_max),
        queue_messages_max: count(given.queue_messages_max),
        queue_bytes_max,
        queue_stored_bytes_max: bytes(given.queue_disk_bytes_max),
        spills_to_memory: config.in_memory,
        queue_resident_bytes_max: QUEUE_RESIDENT_BYTES.min(queue_bytes_max),
        on_queue_full: match config.session.on_queue_full {
            OnQueueFull::DropNew => noctule_broker::OnQueueFull::DropNew,
            OnQueueFull::Refuse => noctule_broker::OnQueueFull::Refuse,
        },
        queue_at_most_once: config.session.queue_qos_0,
        upgrade_qos: given_protocol.upgrade_qos,
        subscriptions_max: count(given.subscriptions_max),
        acks_waiting_max: count(given.acks_waiting_max),
        session_expiry_max: config.session.expiry_max.get().map(|seconds| seconds.0),
        memory_max: match given.memory_max {
            Auto::Set(limit) => bytes(limit),
            Auto::Auto => memory_for_broker()
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(usize::MAX),
        },
        user_properties_max: given.user_properties_max as usize,
        retained_messages_max: count(given.retained_messages_max),
        retained_bytes_max: bytes(given.retained_bytes_max),
        takeovers_max: given.takeovers_max.get(),
        ..Limits::default()
    }
}

/// How many may come, and how fast.
pub(crate) fn arrival_rules(config: &Config) -> ArrivalRules {
    let given = &config.limits;
    let listeners = config.all_listeners();
    ArrivalRules {
        per_address_max: given.connections_per_address_max.get(),
        rate_per_address: given.connect_rate_per_address_max.get().and_then(NonZeroU32::new),
        rate: given.connect_rate_max.get().and_then(NonZeroU32::new),
        per_listener_max: listeners
            .iter()
            .map(|listener| listener.config.listener.connections_max.get())
            .collect(),
    }
}

/// What is offered to clients.
pub(crate) fn offer(config: &Config) -> Offer {
    let given = &config.protocol;
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    Offer {
        // The range of the option is that of the field.
        keep_alive_max: config
            .session
            .keep_alive_max
            .get()
            .map(|seconds| u16::try_from(seconds.0).unwrap_or(u16::MAX)),
        keep_alive_strict: config.session.keep_alive_strict,
        qos_max: u8::try_from(given.qos_max).ok().and_then(QoS::from_bits).unwrap_or_default(),
        retain: given.retain,
        wildcard_subscriptions: given.wildcard_subscriptions,
        subscription_identifiers: given.subscription_identifiers,
        shared_subscriptions: match given.shared_subscriptions {
            Sharing::RoundRobin => noctule_broker::Sharing::RoundRobin,
            Sharing::Sticky => noctule_broker::Sharing::Sticky,
            Sharing::Hash => noctule_broker::Sharing::Hash,
            Sharing::No => noctule_broker::Sharing::No,
        },
        payload_format_checked: given.check_payload_format,
        sessions_belong_to_users: config.session.belongs_to_user,
        // Whether there are passwords to prove where a client came in is the gate's to say.
        authentication_methods: vec![noctule_auth::scram::SCRAM_SHA_256.into()],
        response_information: text(&given.response_information),
        server_reference: text(&given.server_reference),
    }
}

/// How many connections there may be at once, if nobody says. Where few files are allowed, half of
/// them are reserved instead of all: a broker that serves nobody would be of no use.
fn connections_for(open_files: u64) -> u64 {
    open_files - FILES_RESERVED.min(open_files.div_ceil(2))
}

fn count(limit: Limit<u32>) -> usize {
    limit.get().map_or(usize::MAX, |count| count as usize)
}

fn bytes(limit: Limit<ByteSize>) -> usize {
    limit.get().and_then(|size| usize::try_from(size.0).ok()).unwrap_or(usize::MAX)
}

fn bytes_u32(size: ByteSize) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_fewer_connections_and_not_none() {
        let connections = [20_000, 256, 200, 100, 20, 0].map(connections_for);
        assert_eq!(connections, [19_900, 156, 100, 50, 10, 0]);
    }

    #[test]
    fn the_defaults_of_configuration_and_broker_agree() {
        let config = Config::default();
        let (ours, theirs) = (limits(&config, 1_124), Limits::default());
        assert_eq!(ours.connections_max, 1_024);
        let (connections_max, memory_max) = (theirs.connections_max, theirs.memory_max);
        let same = Limits { connections_max, memory_max, spills_to_memory: true, ..ours };
        assert_eq!(format!("{same:?}"), format!("{theirs:?}"));
        let authentication_methods = vec!["SCRAM-SHA-256".into()];
        assert_eq!(offer(&config), Offer { authentication_methods, ..Offer::default() });
    }
}
