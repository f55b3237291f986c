//! Round trips with aiomqtt, the asyncio face of paho-mqtt; the scenarios themselves are in
//! `tests/foreign/aiomqtt_scenarios.py`.

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(#[test] fn $name() {
            crate::foreign::python_scenario("aiomqtt_scenarios.py", stringify!($name));
        })+
    };
}

mod v5 {
    scenarios!(properties aliases shared_subscriptions expiry flow_control);
}
