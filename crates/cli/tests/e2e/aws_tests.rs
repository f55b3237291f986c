//! Round trips with the MQTT 5 client of the AWS IoT device SDK; the scenarios themselves are in
//! `tests/foreign/aws_scenarios.py`.

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(#[test] fn $name() {
            crate::foreign::python_scenario("aws_scenarios.py", stringify!($name));
        })+
    };
}

mod v5 {
    scenarios!(properties aliases shared_subscriptions expiry flow_control);
}
