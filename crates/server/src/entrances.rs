//! What the configuration says of listeners and limits, in the terms of the broker: what loops are built
//! with, and what they are given when it changes.

use crate::limits;
use crate::options::{self, Config, Durability, LogMessages};
use noctule_broker::{
    AcceptedVersions, AssignedPrefix, Entrance, Hello, Limits, Mount, Rates, Stage,
};
use std::num::NonZeroU32;

/// What loops may be given anew while they run.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) limits: Limits,
    pub(crate) log_messages: LogMessages,
}

impl Rules {
    /// The rules of a configuration, with `open_files` allowed to the process.
    pub(crate) fn of(config: &Config, open_files: u64) -> Self {
        let (entrances, log_messages) = (entrances(config), config.log_messages);
        Self { entrances, limits: limits::limits(config, open_files), log_messages }
    }
}

/// The broker's own rule of when something is safe.
pub(crate) fn stage(durability: Durability) -> Stage {
    match durability {
        Durability::Always => Stage::Flushed,
        Durability::Interval | Durability::Never => Stage::Written,
    }
}

/// What applies at each listener.
fn entrances(config: &Config) -> Vec<Entrance> {
    let entrance = |listener: options::Listener| Entrance {
        hello: hello(listener.config.hello),
        versions: AcceptedVersions::these(&listener.config.protocol_versions.list()),
        stage: Some(stage(listener.config.durability)),
        mount: Mount::new(&listener.config.listener.mount_point),
        client_id_prefix: listener.config.client_id_prefix.as_str().into(),
        assigned_prefix: AssignedPrefix(listener.config.assigned_id_prefix.as_str().into()),
        requires_client_id: listener.config.client_id_required,
        rates: rates(&listener.config),
    };
    config.all_listeners().into_iter().map(entrance).collect()
}

/// How fast clients may send.
fn rates(config: &Config) -> Rates {
    let bytes = config.byte_rate_max.get().map(|bytes| u32::try_from(bytes.0).unwrap_or(u32::MAX));
    Rates {
        messages: config.message_rate_max.get().and_then(NonZeroU32::new),
        bytes: bytes.and_then(NonZeroU32::new),
    }
}

/// Who is greeted, in the terms of the broker.
fn hello(option: options::Hello) -> Hello {
    match option {
        options::Hello::Waiting => Hello::Waiting,
        options::Hello::Always => Hello::Always,
        options::Hello::Never => Hello::Never,
    }
}
