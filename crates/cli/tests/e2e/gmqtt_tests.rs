//! Round trips with gmqtt, an MQTT 5 client of Python's asyncio; the scenarios themselves are in
//! `tests/foreign/gmqtt_scenarios.py`.

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(#[test] fn $name() {
            crate::foreign::python_scenario("gmqtt_scenarios.py", stringify!($name));
        })+
    };
}

mod v5 {
    scenarios!(properties aliases shared_subscriptions expiry flow_control);
}
