//! Conversations of the machine with a broker, in virtual time.

mod connecting;
mod leaving;
mod receiving;
mod sending;
mod sessions;

use std::time::Duration;

use noctule_mqtt::{Packet, Property, ProtocolVersion, QoS, ReasonCode, packet};

use super::bench::{Bench, options, packet_id};
use crate::event::Event;
use crate::options::{Limits, Session};
use crate::publish::Publish;
use crate::reconnect::Reconnect;

use ProtocolVersion::{V5, V311};
use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const HOUR: Duration = Duration::from_secs(3_600);
