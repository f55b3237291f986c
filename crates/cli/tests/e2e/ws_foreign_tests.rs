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

mod mqttjs_ws {
    scenarios!(node "mqttjs_scenarios.js" "5" "ws" "2":
        round_trips retained will persistent_session thousand_at_qos_1 thousand_at_qos_2 take_over
        unsubscribe many_filters properties large reconnects
    );
}

mod mqttjs_ws_v311 {
    scenarios!(node "mqttjs_scenarios.js" "3.1.1" "ws" "1":
        round_trips will persistent_session thousand_at_qos_2 take_over large reconnects
    );
}

mod mqttjs_wss {
    scenarios!(node "mqttjs_scenarios.js" "5" "wss" "8":
        round_trips will persistent_session thousand_at_qos_1 thousand_at_qos_2 large reconnects
    );
}

mod paho_ws {
    scenarios!(python "paho_scenarios.py" "5" "ws" "8":
        round_trips retained will persistent_session thousand_at_qos_1 thousand_at_qos_2 take_over
        unsubscribe many_filters properties large reconnects
    );
}

mod paho_ws_v311 {
    scenarios!(python "paho_scenarios.py" "3.1.1" "ws" "2":
        round_trips will persistent_session thousand_at_qos_2 take_over large reconnects
    );
}

mod paho_wss {
    scenarios!(python "paho_scenarios.py" "5" "wss" "1":
        round_trips will persistent_session thousand_at_qos_1 thousand_at_qos_2 large reconnects
    );
}
