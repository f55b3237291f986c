//! Round trips by WebSocket with the clients of Node, browsers and Python: the scenarios that they play over
//! TCP, with payloads of any size and connections that are cut, without TLS and with it, and with one, two
//! and eight loops.

use crate::foreign;

macro_rules! scenarios {
    ($client:ident $script:literal $version:literal $transport:literal $loops:literal: $($name:ident)+) => {
        $(#[test] fn $name() {
            let how = ($version, $transport, $loops);
            super::foreign::by_websocket(super::foreign::$client(), $script, how, stringify!($name));
        })+
    };
}

/// All that a client of MQTT 5 plays.
macro_rules! all {
    ($($how:tt)+) => {
        scenarios!($($how)+:
            round_trips retained will persistent_session thousand_at_qos_1 thousand_at_qos_2 take_over
            unsubscribe many_filters properties large reconnects
        );
    };
}

/// What an old version could do otherwise.
macro_rules! of_old_version {
    ($($how:tt)+) => {
        scenarios!($($how)+:
            round_trips will persistent_session thousand_at_qos_2 take_over large reconnects
        );
    };
}

/// What TLS below could change.
macro_rules! over_tls {
    ($($how:tt)+) => {
        scenarios!($($how)+:
            round_trips will persistent_session thousand_at_qos_1 thousand_at_qos_2 large reconnects
        );
    };
}

mod mqttjs_ws {
    all!(node "mqttjs_scenarios.js" "5" "ws" "2");
}

mod mqttjs_ws_v311 {
    of_old_version!(node "mqttjs_scenarios.js" "3.1.1" "ws" "1");
}

mod mqttjs_wss {
    over_tls!(node "mqttjs_scenarios.js" "5" "wss" "8");
}

mod paho_ws {
    all!(python "paho_scenarios.py" "5" "ws" "8");
}

mod paho_ws_v311 {
    of_old_version!(python "paho_scenarios.py" "3.1.1" "ws" "2");
}

mod paho_wss {
    over_tls!(python "paho_scenarios.py" "5" "wss" "1");
}
