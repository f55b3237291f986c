//! Round trips with MQTT.js, the client of Node and browsers; the scenarios themselves are in
//! `tests/foreign/mqttjs_scenarios.js`.

use crate::foreign;

macro_rules! scenarios {
    ($version:literal: $($name:ident)+) => {
        $(#[test] fn $name() { super::foreign::mqttjs($version, stringify!($name)); })+
    };
}

mod v311 {
    scenarios!("3.1.1":
        round_trips retained will persistent_session thousand_at_qos_1 thousand_at_qos_2 take_over
        unsubscribe many_filters
    );
}

mod v5 {
    scenarios!("5":
        round_trips retained will persistent_session thousand_at_qos_1 thousand_at_qos_2 take_over
        unsubscribe many_filters properties
    );
}
