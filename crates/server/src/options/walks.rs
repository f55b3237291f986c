//! Tests that walk the whole table, so that a new row is tested without a new test.
//!
//! Only what holds for every option belongs here; the modules beside test their own rules.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use super::limit::{Auto, Limit, Optional};
use super::listener::{ListenerTable, listener_options};
use super::quantity::{ByteSize, Seconds};
use super::spec::Shape;
use super::table::{
    Config, LISTENER, LISTENER_OPTIONS, LimitOptions, ListenerOptions, OPTIONS, ProtocolOptions,
    SECTIONS, SessionOptions,
};
use super::value::{Given, Value};

/// A file name of its own in the temporary directory; the file is removed at the end.
pub(crate) struct TestFile(PathBuf);

impl TestFile {
    /// `name` has to be unique among the tests.
    pub(crate) fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("noctule-{name}-{}.toml", process::id())))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = fs::remove_file(&self.0);
    }
}

/// A configuration in which no option has its default; a new field does not compile without one.
pub(crate) fn changed_everywhere() -> Config {
    Config {
        bind: vec!["0.0.0.0".parse().unwrap()],
        port: 1,
        tls: false,
        tls_port: 2,
        ws_port: Optional::Set(3),
        wss_port: Optional::Set(4),
        ws_origins: Auto::Set(super::Origins::Listed(vec!["https://example.org".into()])),
        ws_proxies: super::Networks::read(&Given::Words("192.0.2.1".into())).unwrap(),
        unix: Optional::Set("mqtt.sock".into()),
        unix_mode: super::FileMode(0o600),
        proxies: super::Networks::read(&Given::Words("10.0.0.0/8,::1,unix".into())).unwrap(),
        proxies_only: true,
        proxy_certificates: true,
        cert: Auto::Set("c.pem".into()),
        key: Auto::Set("c.key".into()),
        client_ca: Optional::Set("clients.pem".into()),
        client_auth: super::ClientAuth::Optional,
        certificate_user: super::CertificateUser::Subject,
        check_client_dates: false,
        tls_version_min: super::TlsVersion::V13,
        client_crl: Optional::Set("void.pem".into()),
        password_file: Optional::Set("passwords".into()),
        jwt_keys: Optional::Set("keys.json".into()),
        jwt_issuer: "https://issuer.example".into(),
        jwt_audience: "noctule".into(),
        jwt_user_claim: "user".into(),
        jwt_client_id_claim: "device".into(),
        jwt_acl_claim: "rights".into(),
        acl_file: Optional::Set("rules.toml".into()),
        acl_shadow: true,
        acl_trust_claimed_names: true,
        acl_denied_will: super::DeniedWill::Drop,
        acl_check_retain_source: false,
        http_auth_url: "https://auth.example/login".into(),
        http_auth_format: super::HttpAuthFormat::Form,
        http_auth_ca: Optional::Set("auth-ca.pem".into()),
        http_auth_timeout: std::time::Duration::from_millis(700),
        http_auth_cache: std::time::Duration::ZERO,
        http_auth_requests_max: 4,
        auth_methods: super::AuthMethods::read(&Given::Words("http,jwt".into())).unwrap(),
        allow_anonymous: true,
        client_id_prefix: "dev-".into(),
        client_id_required: true,
        assigned_id_prefix: "dev-auto-".into(),
        data_dir: "elsewhere".into(),
        durability: super::Durability::Never,
        durability_interval: std::time::Duration::from_millis(250),
        in_memory: true,
        user: Optional::Set("nobody".into()),
        store_segment_bytes: ByteSize(2_097_152),
        hello: super::Hello::Never,
        protocol_versions: super::Versions::read(&Given::Words("5".into())).unwrap(),
        message_rate_max: Limit::At(100),
        byte_rate_max: Limit::At(ByteSize(65_536)),
        log_messages: super::LogMessages::All,
        log_raw_data: true,
        log_format: super::LogFormat::Json,
        log_file: Optional::Set("broker.log".into()),
        stats_interval: std::time::Duration::ZERO,
        sys_interval: std::time::Duration::from_secs(1),
        shards: Auto::Set(3),
        verbose: true,
        session: SessionOptions {
            queue_qos_0: true,
            expiry_max: Limit::At(Seconds(3600)),
            keep_alive_max: Limit::At(Seconds(60)),
            keep_alive_strict: true,
            belongs_to_user: false,
            on_queue_full: super::OnQueueFull::Refuse,
        },
        protocol: ProtocolOptions {
            upgrade_qos: true,
            qos_max: 1,
            retain: false,
            wildcard_subscriptions: false,
            subscription_identifiers: false,
            shared_subscriptions: super::Sharing::Hash,
            check_payload_format: true,
            response_information: "answers/".into(),
            server_reference: "broker.example:1883".into(),
        },
        limits: LimitOptions {
            connect_bytes_max: ByteSize(1000),
            connect_timeout: std::time::Duration::from_millis(1500),
            connections_per_address_max: Limit::At(9),
            connect_rate_max: Limit::At(200),
            connect_rate_per_address_max: Limit::At(20),
            takeovers_max: Limit::Unlimited,
            login_failures_max: Limit::Unlimited,
            login_failures_time: std::time::Duration::from_secs(60),
            packet_bytes_max: Limit::Unlimited,
            topic_bytes_max: ByteSize(1023),
            topic_levels_max: 20,
            inflight_out_max: 1,
            inflight_in_max: 65_535,
            topic_aliases_in_max: 4,
            topic_aliases_out_max: 5,
            qos2_ids_max: 3,
            unsent_bytes_max: Limit::At(ByteSize(65_536)),
            queue_messages_max: Limit::Unlimited,
            queue_memory_bytes_max: Limit::At(ByteSize(1_500_000)),
            queue_disk_bytes_max: Limit::At(ByteSize(u64::MAX)),
            subscriptions_max: Limit::At(u32::MAX),
            user_properties_max: 7,
            retained_messages_max: Limit::At(1_000_000),
            retained_bytes_max: Limit::At(ByteSize(1_048_576)),
            connections_max: Auto::Set(Limit::Unlimited),
            acks_waiting_max: Limit::At(1),
            store_bytes_max: Limit::Unlimited,
            memory_max: Auto::Set(Limit::At(ByteSize(1_073_741_824))),
        },
        listener: ListenerOptions::default(),
        listeners: vec![listener_that_says_everything(), ListenerTable::default()],
    }
}

/// A listener that says something of each option that it may say.
fn listener_that_says_everything() -> ListenerTable {
    let mut table = ListenerTable::default();
    for spec in listener_options() {
        let given = match (spec.name, spec.shape()) {
            ("name", _) => Given::Text("field".into()),
            ("transport", _) => Given::Text("tls".into()),
            (_, Shape::Switch) => Given::Switch(true),
            ("port", _) => Given::Integer("7".into()),
            _ => Given::Words(spec.default_text()),
        };
        assert_eq!(table.say(spec, given), Ok(()), "{}", spec.key);
    }
    table
}

#[test]
fn every_option_is_documented_in_sentences() {
    for spec in OPTIONS.iter().chain(LISTENER_OPTIONS) {
        assert!(spec.summary().ends_with('.'), "{}: the first line is one sentence", spec.key);
        assert!(spec.text().ends_with('.'), "{}", spec.key);
        assert!(!spec.expected().is_empty() && !spec.placeholder().is_empty(), "{}", spec.key);
    }
    assert!(SECTIONS.iter().chain([&LISTENER]).all(|section| section.text().ends_with('.')));
}

#[test]
fn every_default_is_accepted_as_text_and_is_the_default() {
    for spec in OPTIONS {
        let mut config = changed_everywhere();
        let text = spec.default_text();
        assert_eq!(spec.apply(&mut config, &Given::Words(text)), Ok(()), "{}", spec.key);
        assert_eq!(spec.to_toml(&config), spec.default_toml(), "{}", spec.key);
    }
}

#[test]
fn every_option_can_be_changed_and_changes_nothing_else() {
    let changed = changed_everywhere();
    for spec in OPTIONS {
        let text = spec.to_toml(&changed).replace(['"', '[', ']'], "");
        assert_ne!(spec.to_toml(&changed), spec.default_toml(), "{}", spec.key);
        let mut config = Config::default();
        assert_eq!(spec.apply(&mut config, &Given::Words(text)), Ok(()), "{}", spec.key);
        for other in OPTIONS {
            let expected = if other.key == spec.key { &changed } else { &Config::default() };
            assert_eq!(other.to_toml(&config), other.to_toml(expected), "{}", other.key);
        }
    }
}

#[test]
fn every_option_refuses_nonsense_and_stays_as_it_was() {
    for spec in OPTIONS.iter().filter(|spec| spec.placeholder() != "PATH") {
        let mut config = Config::default();
        let wrong = spec.apply(&mut config, &Given::Words("\u{7}nonsense".into())).unwrap_err();
        assert!(wrong.contains(&spec.expected()), "{}: {wrong}", spec.key);
        assert!(wrong.contains("\"\\u{7}nonsense\"") && !wrong.contains('\u{7}'), "{wrong}");
        assert_eq!(config, Config::default(), "{}", spec.key);
    }
}

#[test]
fn both_edges_of_every_range_are_where_the_table_says() {
    for spec in OPTIONS.iter().filter(|spec| spec.row.range.min > 0) {
        let (min, max) = (spec.row.range.min, spec.row.range.max);
        let unit = if spec.placeholder() == "DURATION" { "ms" } else { "" };
        let accepts = |number: u64| spec.check(&format!("{number}{unit}")).is_ok();
        assert!(accepts(min), "{} {min}", spec.key);
        assert!(!accepts(min - 1), "{} {}", spec.key, min - 1);
        assert!(!accepts(0), "{} 0", spec.key);
        if max != u64::MAX {
            assert!(accepts(max), "{} {max}", spec.key);
            // A second more as well: half a second more is refused for another reason.
            for above in [max + 1, max + 1000] {
                assert!(!accepts(above), "{} {above}", spec.key);
            }
        }
    }
}

#[test]
fn zero_is_accepted_only_where_it_is_no_limit_or_turns_something_off() {
    let zero: Vec<_> = OPTIONS.iter().filter(|spec| spec.check("0").is_ok()).collect();
    let keys: Vec<_> = zero.iter().map(|spec| spec.key).collect();
    // A file may have any name, and a text say anything.
    let expected = [
        "port",
        "tls_port",
        "ws_port",
        "wss_port",
        "unix",
        "unix_mode",
        "cert",
        "key",
        "client_ca",
        "client_crl",
        "password_file",
        "jwt_keys",
        "jwt_issuer",
        "jwt_audience",
        "jwt_user_claim",
        "jwt_client_id_claim",
        "jwt_acl_claim",
        "acl_file",
        "http_auth_url",
        "http_auth_ca",
        "http_auth_cache",
        "client_id_prefix",
        "assigned_id_prefix",
        "data_dir",
        "user",
        "log_file",
        "stats_interval",
        "sys_interval",
        "protocol.qos_max",
        "protocol.response_information",
        "protocol.server_reference",
        "limits.topic_aliases_in_max",
        "limits.topic_aliases_out_max",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn names_flags_and_variables_are_unique_and_well_formed() {
    let mut seen = HashSet::new();
    for spec in OPTIONS {
        assert!(seen.insert(format!("key {}", spec.key)), "{}", spec.key);
        assert!(seen.insert(format!("variable {}", spec.variable())), "{}", spec.key);
        assert!(!spec.flags().is_empty(), "{}", spec.key);
        for flag in spec.flags().iter().chain(spec.off_flags()) {
            assert!(seen.insert(format!("flag {flag}")), "{flag}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(flag.chars().all(plain), "{flag}");
        }
        assert!(spec.short().is_none_or(|short| seen.insert(format!("short {short}"))));
    }
}

#[test]
fn switches_can_be_turned_off_and_of_the_others_those_that_have_a_word_for_it() {
    for spec in OPTIONS {
        let is_switch = spec.shape() == Shape::Switch;
        if is_switch || !spec.off_flags().is_empty() {
            assert!(!spec.off_flags().is_empty(), "{}", spec.key);
            assert_eq!(spec.check(spec.off_word()), Ok(()), "{}", spec.key);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let limits = LimitOptions::default();
    let config = Config::default();
    assert!(config.bind.iter().all(std::net::IpAddr::is_loopback));
    assert_eq!((config.port, config.tls_port), (1883, 8883));
    assert_eq!(limits.connect_bytes_max, ByteSize(100_000));
    assert_eq!(limits.connect_timeout.as_secs(), 10);
    assert_eq!(limits.packet_bytes_max, Limit::At(ByteSize(2_000_000)));
    assert_eq!((limits.topic_bytes_max, limits.topic_levels_max), (ByteSize(65_535), 200));
    assert_eq!((limits.inflight_out_max, limits.inflight_in_max), (1000, 1000));
    assert_eq!((limits.qos2_ids_max, limits.acks_waiting_max), (1000, Limit::At(1000)));
    assert_eq!(limits.unsent_bytes_max, Limit::At(ByteSize(1 << 20)));
    assert_eq!(limits.queue_messages_max, Limit::At(100_000));
    assert_eq!(limits.queue_memory_bytes_max, Limit::At(ByteSize(64 << 20)));
    assert_eq!(limits.queue_disk_bytes_max, Limit::At(ByteSize(1 << 30)));
    assert_eq!(limits.subscriptions_max, Limit::At(10_000));
    assert_eq!(limits.store_bytes_max, Limit::At(ByteSize(64 << 20)));
    assert_eq!((limits.connections_max, limits.memory_max), (Auto::Auto, Auto::Auto));
}
