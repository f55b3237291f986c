//! PINGREQ and PINGRESP: sections 3.12 and 3.13.

use crate::row::*;
use noctule_mqtt::{Packet, PacketType, Violation};

#[rustfmt::skip]
pub(crate) fn rows() -> Vec<Row> {
    const END: &str = "MQTT3-4.8.0-1, MQTT5 section 4.13";
    let more = |packet, extra| Violation::TrailingBytes { packet, extra };
    vec![
        good("PINGREQ", "MQTT3 section 3.12, MQTT5 section 3.12", (ALL, SERVER), "c0 00", Packet::Pingreq),
        good("PINGRESP", "MQTT3 section 3.13, MQTT5 section 3.13", (ALL, CLIENT), "d0 00", Packet::Pingresp),
        bad("PINGREQ is empty", END, (ALL, SERVER), "c0 01 00", more(PacketType::Pingreq, 1)),
        bad("PINGRESP is empty", END, (ALL, CLIENT), "d0 02 0000", more(PacketType::Pingresp, 2)),
        bad("PINGREQ has no flags", "MQTT3-2.2.2-2, MQTT5-2.1.3-1", (ALL, SERVER), "c8 00", Violation::FlagsReserved { packet: PacketType::Pingreq, expected: 0, found: 8 }),
    ]
}
