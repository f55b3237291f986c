//! The conformance checks find what is wrong: for each fault of a proxy in front of our broker, the
//! checks of the rule that it breaks fail, and another one passes.

use std::time::Duration;

use noctule_conformance::{Outcome, Patience, ProtocolVersion, Selection, Target, VERSIONS, run};

use crate::broker::Broker;
use crate::faulty_proxy::{Fault, FaultyProxy};

/// Nothing that the faults break.
const CONTROL: &str = "connect/accepted";

fn is_found(fault: Fault, versions: &[ProtocolVersion], checks: &[&str]) {
    let broker = Broker::ours(&["--hello", "never"]);
    let proxy = FaultyProxy::start(broker.port().parse().expect("a port"), fault);
    let patience = Patience { answer: Duration::from_secs(8), silence: Duration::from_millis(500) };
    let target = Target::new("127.0.0.1", proxy.port(), patience).expect("an address");
    let filters = checks.iter().chain(&[CONTROL]).map(|name| (*name).to_owned()).collect();
    let selection = Selection { versions: versions.to_vec(), filters, jobs: 8 };
    let findings = run(&target, &selection, |_| {}).expect("a broker that can be tested");
    for finding in &findings {
        let failed = matches!(finding.outcome, Outcome::Failed(_));
        let name = finding.case.name();
        assert_eq!(failed, name != CONTROL, "{fault:?}: {name}: {:?}", finding.outcome);
    }
    for check in checks {
        let found = findings.iter().any(|finding| finding.case.name() == *check);
        assert!(found, "no check has the name {check}");
    }
}

macro_rules! faults {
    ($versions:expr => $($name:ident $fault:ident: $($check:literal)+;)+) => {
        $(#[test] fn $name() { is_found(Fault::$fault, $versions, &[$($check),+]); })+
    };
}

faults! { &VERSIONS =>
    dup_is_forgotten DupForgotten:
        "resume/qos_1_to_client" "resume/qos_2_before_pubrec" "resume/order";
    session_present_is_forgotten SessionPresentForgotten:
        "session/present" "session/subscriptions_are_kept";
    ping_is_ignored PingIgnored: "keep_alive/pingreq";
    puback_is_of_another PubackOfAnother: "qos/qos_1" "packet_ids/puback_and_pubrec";
    qos_0_comes_twice TwiceAtQos0: "qos/qos_0" "qos/repeated_before_pubrel";
    retain_flag_is_forgotten RetainFlagForgotten:
        "retained/kept" "retained/as_published" "wills/retained";
    suback_is_reversed SubackReversed: "subscribe/a_code_for_each" "subscribe/twice_in_one";
    flags_are_forgiven FlagsForgiven:
        "header/flags_of_pingreq" "header/flags_of_pubrel" "header/flags_of_subscribe";
    broker_never_closes NeverCloses: "connect/twice" "header/type_0" "keep_alive/silence";
    loss_is_goodbye LossIsGoodbye: "wills/on_loss" "wills/retained";
    pubrel_is_forgotten PubrelForgotten: "qos/qos_2" "qos/order_of_pubrels";
    topics_in_lower_case TopicsInLowerCase: "topics/case";
}

// What only MQTT 5 has, or says.
faults! { &[ProtocolVersion::V5] =>
    unsuback_is_always_fine UnsubackAlwaysFine: "unsubscribe/of_nothing";
    properties_are_lost PropertiesLost:
        "properties/user_properties" "properties/content_type" "expiry/passed_on"
        "subscribe_options/identifier";
    taken_over_in_silence TakenOverInSilence: "connect/take_over";
    no_local_is_forgotten NoLocalForgotten: "subscribe_options/no_local";
    receive_maximum_is_forgotten ReceiveMaximumForgotten:
        "flow/one_at_a_time" "flow/two_at_a_time" "flow/on_resume";
    good_endings GoodEndings: "disconnect/with_an_error" "wills/with_disconnect_0x04";
}
