//! Replays the fuzzer's corpus on stable: what it has found once is never found again.

#[path = "../../../fuzz/bodies/mosquitto_conf.rs"]
mod body;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use noctule_testkit::Dice;

#[test]
fn every_file_of_the_corpus_holds() {
    replay::corpus("mosquitto_conf", body::mosquitto_conf);
}

const NAMES: &str = "listener port bind_address allow_anonymous password_file acl_file cafile capath certfile keyfile \
    require_certificate use_identity_as_username use_subject_as_username mount_point per_listener_settings \
    max_connections max_keepalive max_packet_size max_queued_messages max_queued_bytes max_inflight_messages \
    message_size_limit memory_limit persistence persistence_location persistence_file autosave_interval \
    autosave_on_changes log_dest log_type log_timestamp log_timestamp_format pid_file user protocol websockets_origin \
    queue_qos0_messages upgrade_outgoing_qos retain_available sys_interval set_tcp_nodelay socket_domain \
    clientid_prefixes auto_id_prefix connection address topic include_dir tls_version ciphers crlfile \
    persistent_client_expiration check_retain_source plugin allow_zero_length_clientid max_qos # bat";

const VALUES: &str = "true false 1 0 1884 65536 -1 1h 2d 3w \" ' \\ \\u0022 \"\"\" = [ ] \t é /etc/x ca.pem 127.0.0.1 \
    ::1 0.0.0.0 localhost mqtt websockets tlsv1.2 all none stderr file topic a/# + # %u $SYS 268435455";

#[test]
fn any_lines_are_translated_or_refused() {
    let (names, values) = [NAMES, VALUES].map(|words| words.split(' ').collect::<Vec<_>>()).into();
    // More of them by hand.
    let seeds =
        std::env::var("NOCTULE_FUZZ_SEEDS").map_or(3_000, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        let mut random = Dice::new(seed);
        let mut word = |words: &[&'static str]| words[random.below(words.len())];
        let mut text = String::new();
        for _ in 0..1 + seed % 7 {
            let line = [word(&names), word(&values), word(&values)].join(" ");
            text.push_str(&line);
            text.push('\n');
        }
        let outcome = std::panic::catch_unwind(|| body::mosquitto_conf(text.as_bytes()));
        assert!(outcome.is_ok(), "{text}");
    }
}
