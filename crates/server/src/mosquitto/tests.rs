//! What comes of the lines of a `mosquitto.conf`.

use super::*;
use crate::options::{Auto, Config, Dialect, Limit, Sources};
use std::fs;

/// A directory with a `mosquitto.conf` of this text.
struct Case {
    directory: PathBuf,
}

impl Case {
    fn new(name: &str, text: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("noctule-conf-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let case = Self { directory };
        fs::write(case.file(), text).unwrap();
        case
    }

    fn file(&self) -> PathBuf {
        self.directory.join("mosquitto.conf")
    }

    fn translation(&self) -> Result<Translation, Vec<Note>> {
        translate(Some(&self.file()), None)
    }

    fn config(&self) -> Config {
        let dialect = Dialect::Mosquitto { port: None };
        let sources = Sources { file: Some(self.file()), dialect, ..Sources::default() };
        sources.load().unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// What is refused, one line each.
    fn refused(&self) -> Vec<String> {
        let notes = self.translation().expect_err("it is to be refused");
        let refused = notes.iter().filter(|note| note.weight == Weight::Refused);
        refused.map(|note| note.text.clone()).collect()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn without_a_file_it_is_open_to_this_machine_alone_and_keeps_nothing() {
    let dialect = Dialect::Mosquitto { port: Some(1884) };
    let config = Sources { dialect, ..Sources::default() }.load().unwrap().config;
    let listeners = config.all_listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!(listeners[0].config.port, 1884);
    assert!(listeners[0].config.bind.iter().all(std::net::IpAddr::is_loopback));
    assert!(listeners[0].config.allow_anonymous && config.in_memory);
    assert_eq!(config.limits.inflight_out_max, 20);
}

#[test]
fn a_listener_is_on_all_addresses_and_needs_a_way_in() {
    let case = Case::new("way-in", "listener 1884\n");
    assert!(case.refused()[0].contains("nobody could log in"), "{:?}", case.refused());
    let case = Case::new("open", "listener 1884\nallow_anonymous true\npersistence true\n");
    let config = case.config();
    let listeners = config.all_listeners();
    assert!(listeners[0].config.bind.iter().any(std::net::IpAddr::is_unspecified));
    assert!(listeners[0].config.allow_anonymous && !config.in_memory);
}

const TLS: &str = "cafile ca.pem\ncertfile server.pem\nkeyfile server.key\n";

#[test]
fn nobody_comes_in_whom_mosquitto_refuses() {
    let local = "listener 1884 127.0.0.1\n";
    for (name, text, words) in [
        // Here this machine is trusted where nobody is asked for a password.
        ("closed", format!("{local}allow_anonymous false\n"), "nobody could log in"),
        ("closed-all", format!("allow_anonymous false\n{local}"), "nobody could log in"),
        ("both", format!("{local}{TLS}require_certificate true\npassword_file p\n"), "as well"),
        ("name", format!("{local}{TLS}require_certificate true\n"), "as well"),
        ("plain", format!("{local}cafile ca.pem\nuse_identity_as_username true\n"), "no certfile"),
        ("clear", format!("{local}cafile ca.pem\nallow_anonymous true\n"), "no certfile"),
        (
            "no-ca",
            format!("{local}certfile c\nkeyfile k\nuse_identity_as_username true\n"),
            "no cafile",
        ),
        (
            "taken-back",
            format!(
                "{local}{TLS}require_certificate true\nuse_identity_as_username true\n\
                 use_identity_as_username false\npassword_file p\n"
            ),
            "as well",
        ),
        ("family", format!("{local}allow_anonymous true\nsocket_domain ipv6\n"), "socket_domain"),
    ] {
        let refused = Case::new(name, &text).refused();
        assert!(refused.iter().any(|line| line.contains(words)), "{name}: {refused:?}");
    }
}

#[test]
fn a_certificate_that_names_the_user_is_required_in_whatever_order_it_is_said() {
    let case = Case::new(
        "order",
        &format!("listener 1884\n{TLS}use_identity_as_username true\nrequire_certificate false\n"),
    );
    let listeners = case.config().all_listeners();
    assert!(listeners[0].config.client_ca.get().is_some());
}

#[test]
fn options_of_a_listener_before_the_first_one_make_the_default_listener_one_besides() {
    let text = format!("{TLS}allow_anonymous true\nlistener 1884 127.0.0.1\n");
    let listeners = Case::new("default", &text).config().all_listeners();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.config.port).collect();
    assert_eq!(ports, [1883, 1884]);
    let text = "require_certificate false\nmax_qos 2\nlistener 1884\nallow_anonymous true\n";
    assert_eq!(Case::new("no-default", text).config().all_listeners().len(), 1);
}

#[test]
fn a_port_of_the_command_line_is_for_whoever_has_none() {
    let case = Case::new("port", "port 1884\nallow_anonymous true\n");
    let toml = translate(Some(&case.file()), Some(1885)).unwrap().toml;
    assert!(toml.contains("port = 1884") && !toml.contains("1885"), "{toml}");
}

#[test]
fn of_rules_for_each_listener_the_last_word_holds() {
    let text = "per_listener_settings true\nper_listener_settings false\nlistener 1884\n\
                password_file p\nlistener 1885\nallow_anonymous true\n";
    let toml = Case::new("last-word", text).translation().unwrap().toml;
    let top = toml.split("[[listener]]").next().unwrap();
    assert!(top.contains("password_file") && top.contains("allow_anonymous = true"), "{toml}");
}

#[test]
fn a_listener_has_the_lines_behind_it_and_the_rules_of_the_whole_file() {
    let text = "per_listener_settings true\nlistener 1884 127.0.0.1\nallow_anonymous true\n\
                accept_protocol_versions 4,5\nlistener 8884 127.0.0.1\n\
                cafile ca.pem\ncertfile server.pem\nkeyfile server.key\n\
                require_certificate true\nuse_identity_as_username true\n";
    let case = Case::new("two", text);
    let toml = case.translation().unwrap().toml;
    let listeners: Vec<&str> = toml.split("[[listener]]").skip(1).collect();
    assert_eq!(listeners.len(), 2, "{toml}");
    assert!(listeners[0].contains("allow_anonymous = true"), "{toml}");
    assert!(listeners[0].contains("protocol_versions = [\"3.1.1\", \"5\"]"), "{toml}");
    for line in [
        "port = 8884",
        "transport = \"tls\"",
        "cert = \"server.pem\"",
        "client_ca = \"ca.pem\"",
        "certificate_user = \"common-name\"",
    ] {
        assert!(listeners[1].contains(line), "{line} in {toml}");
    }
    assert!(!listeners[1].contains("allow_anonymous"), "{toml}");
    case.config();
}

#[test]
fn rules_are_of_the_whole_broker_or_of_each_listener() {
    let case = Case::new(
        "rules",
        "listener 1884\nallow_anonymous true\nacl_file acl\ncheck_retain_source false\n",
    );
    let config = case.config();
    assert_eq!(config.acl_file.get(), Some(&"acl".into()));
    assert!(!config.acl_check_retain_source);
    assert_eq!(config.acl_denied_will, crate::options::DeniedWill::Drop);
    let text = "per_listener_settings true\nlistener 1884\nallow_anonymous true\nacl_file one\n\
                listener 1885\nallow_anonymous true\nacl_file other\nlistener 1886\nallow_anonymous true\n";
    let listeners = Case::new("rules-each", text).config().all_listeners();
    let files = listeners.iter().map(|listener| listener.config.acl_file.get().cloned());
    assert_eq!(files.collect::<Vec<_>>(), [Some("one".into()), Some("other".into()), None]);
    let refused =
        Case::new("rules-toml", "listener 1884\nallow_anonymous true\nacl_file a.toml\n").refused();
    assert!(refused[0].contains("without .toml"), "{refused:?}");
}

#[test]
fn the_most_connections_of_a_listener_are_its_own() {
    let text = "allow_anonymous true\nlistener 1884\nmax_connections 7\nlistener 1885\n\
                max_connections -1\nlistener 1886\nglobal_max_connections 9\nmax_keepalive 60\n";
    let config = Case::new("connections", text).config();
    let listeners = config.all_listeners();
    let most: Vec<_> =
        listeners.iter().map(|listener| listener.config.listener.connections_max).collect();
    assert_eq!(most, [Limit::At(7), Limit::Unlimited, Limit::Unlimited]);
    assert_eq!(config.limits.connections_max, Auto::Set(Limit::At(9)));
    assert!(config.session.keep_alive_strict);
}

#[test]
fn claimed_names_are_trusted_where_mosquitto_trusts_them() {
    let trusted = |name: &str, text: &str| -> Vec<bool> {
        let listeners = Case::new(name, text).config().all_listeners();
        listeners.iter().map(|listener| listener.config.acl_trust_claimed_names).collect()
    };
    assert_eq!(trusted("claims", "listener 1884\nallow_anonymous true\nacl_file acl\n"), [true]);
    assert_eq!(trusted("claims-default", "allow_anonymous true\nacl_file acl\n"), [true]);
    let asks = "listener 1884\nallow_anonymous true\nacl_file acl\npassword_file p\n";
    assert_eq!(trusted("claims-asks", asks), [false]);
    assert_eq!(trusted("claims-free", "listener 1884\nallow_anonymous true\n"), [false]);
    let named = format!("listener 1884\n{TLS}acl_file acl\nuse_identity_as_username true\n");
    assert_eq!(trusted("claims-named", &named), [false]);
    let each = "per_listener_settings true\nlistener 1884\nallow_anonymous true\nacl_file one\n\
                listener 1885\nacl_file other\npassword_file p\n";
    assert_eq!(trusted("claims-each", each), [true, false]);
}

#[test]
fn an_option_that_cannot_be_left_out_stops_the_start_and_a_harmless_one_is_named() {
    let case = Case::new(
        "missing",
        "listener 1884\nallow_anonymous true\npsk_file psk\nautosave_interval 10\nmax_qeued 3\n",
    );
    let refused = case.refused();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("psk_file is not there"), "{refused:?}");
    assert!(refused[1].contains("did you mean max_q"), "{refused:?}");
    let notes = case.translation().unwrap_err();
    let harmless = notes.iter().find(|note| note.weight == Weight::Harmless).unwrap();
    assert!(harmless.to_string().contains("mosquitto.conf:4: autosave_interval has no effect"));
}

#[test]
fn limits_are_ours_and_wrong_values_say_what_was_expected() {
    let text = "max_queued_messages 0\nmax_packet_size 1000\npersistent_client_expiration 2w\n\
                maximum_qos 1\nallow_anonymous true\nretain_available false\nsys_interval 5\nmax_inflight_messages 7\n";
    let config = Case::new("limits", text).config();
    assert_eq!(config.limits.inflight_out_max, 7);
    assert_eq!(config.protocol.qos_max, 1);
    assert!(!config.protocol.retain);
    assert_eq!(config.sys_interval, std::time::Duration::from_secs(5));
    let wrong = "maximum_qos 3\nport no\nallow_anonymous perhaps\npersistent_client_expiration 2\n";
    let refused = Case::new("wrong", wrong).refused();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.contains(&"maximum_qos: '3' is neither 0, 1 nor 2".to_owned()), "{refused:?}");
}

#[test]
fn included_files_are_read_in_the_order_of_their_names() {
    let case = Case::new("include", "");
    let more = case.directory.join("more");
    fs::create_dir_all(&more).unwrap();
    fs::write(more.join("b.conf"), "max_inflight_messages 3\n").unwrap();
    fs::write(more.join("a.conf"), "max_inflight_messages 2\n").unwrap();
    fs::write(more.join("c.txt"), "nonsense\n").unwrap();
    fs::write(case.file(), format!("include_dir {}\n", more.display())).unwrap();
    assert_eq!(case.config().limits.inflight_out_max, 3);
    fs::write(more.join("C.conf"), "max_inflight_messages 4\n").unwrap();
    fs::write(more.join("d.conf"), "max_inflight_messages 5\n").unwrap();
    fs::write(more.join("D.conf"), "max_inflight_messages 6\n").unwrap();
    assert_eq!(case.config().limits.inflight_out_max, 5);
    fs::write(case.file(), "include_dir /no/such/directory\n").unwrap();
    assert!(case.refused()[0].contains("cannot be read"));
}

#[test]
fn every_option_is_named_once_and_in_order() {
    let names: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
}

#[test]
fn listeners_of_websocket_take_pages_as_they_did() {
    let text = format!(
        "listener 8083\nprotocol websockets\nallow_anonymous true\n\
         listener 8084\nprotocol websockets\n{TLS}websockets_origin https://a.example\n\
         websockets_origin https://b.example:8443\nlistener 1884\nprotocol mqtt\n"
    );
    let case = Case::new("websockets", &text);
    let toml = case.translation().unwrap().toml;
    let listener =
        |port: &str| toml.split("[[listener]]").find(|part| part.contains(port)).unwrap();
    assert!(
        listener("port = 8083").contains("transport = \"ws\"\nws_origins = \"any\"\n"),
        "{toml}"
    );
    let two =
        "transport = \"wss\"\nws_origins = [\"https://a.example\", \"https://b.example:8443\"]\n";
    assert!(listener("port = 8084").contains(two), "{toml}");
    assert!(!listener("port = 1884").contains("transport"), "{toml}");
    assert_eq!(case.config().all_listeners().len(), 3);
    let case = Case::new("http", "listener 8083\nallow_anonymous true\nprotocol http_api\n");
    assert!(case.refused()[0].contains("expected mqtt or websockets"), "{:?}", case.refused());
}

#[test]
fn a_database_of_mosquittos_is_warned_of_where_it_would_have_been_read() {
    for (name, more, file, is_said) in [
        ("db", "persistence true\n", "mosquitto.db", true),
        ("db-name", "persistence true\npersistence_file mine.db\n", "mine.db", true),
        ("db-other", "persistence true\npersistence_file mine.db\n", "mosquitto.db", false),
        ("db-off", "persistence false\n", "mosquitto.db", false),
    ] {
        let case = Case::new(name, "");
        let location = case.directory.display();
        let text = format!("allow_anonymous true\npersistence_location {location}\n{more}");
        fs::write(case.file(), text).unwrap();
        fs::write(case.directory.join(file), "").unwrap();
        let translation = case.translation().unwrap();
        let said =
            translation.notes.iter().filter(|note| note.text.contains("is not read")).count();
        assert_eq!(said, usize::from(is_said), "{name}: {:?}", translation.notes);
        assert_eq!(translation.toml.contains("begin anew"), is_said, "{name}");
    }
}

#[test]
fn a_unix_socket_and_proxies_are_listeners_of_their_own_kind() {
    let text = "allow_anonymous true\nlistener 0 /run/mq tt.sock\nmax_qos 2\n\
                listener 1884\nenable_proxy_protocol 2\n";
    let case = Case::new("unix", text);
    let listeners = case.config().all_listeners();
    let path = listeners[0].unix_path();
    assert_eq!(path, Some(Path::new("/run/mq tt.sock")));
    assert!(!listeners[0].config.proxies_only && listeners[1].config.proxies_only);
    assert!(!listeners[1].config.proxies.is_empty() && listeners[1].unix_path().is_none());
    assert!(
        case.translation().unwrap().toml.contains(":5: enable_proxy_protocol: whoever connects")
    );
    let refused = Case::new("unix-nowhere", "allow_anonymous true\nlistener 0\n").refused();
    assert!(refused[0].contains("has to have a path"), "{refused:?}");
}

#[test]
fn certificates_behind_a_proxy_are_those_that_it_tells_of() {
    let proxied = "listener 1884\nenable_proxy_protocol 2\nuse_identity_as_username true\n";
    let config = Case::new("told", proxied).config();
    let listener = &config.all_listeners()[0].config;
    assert!(listener.proxy_certificates && listener.client_ca.get().is_none());
    let open = format!("{proxied}require_certificate true\nallow_anonymous true\n");
    let refused = Case::new("told-open", &open).refused();
    assert!(refused.iter().any(|line| line.contains("behind a proxy")), "{refused:?}");
}

#[test]
fn what_is_set_and_means_something_else_has_its_remark_above_it() {
    let text = "allow_anonymous true\nlog_dest syslog\nautosave_interval 5\ntls_version tlsv1.1\n\
                certfile c.pem\nkeyfile k.pem\nuser mqtt\nlog_dest file /var/log/m.log\n";
    let case = Case::new("remarks", text);
    let translation = case.translation().unwrap();
    assert!(translation.names_user);
    let toml = translation.toml;
    let remark = |words: &str| {
        let at = toml.lines().position(|line| line.starts_with('#') && line.contains(words));
        let at = at.unwrap_or_else(|| panic!("no {words} in {toml}"));
        toml.lines().nth(at + 1).unwrap().to_owned()
    };
    assert_eq!(remark(":4: tls_version: TLS 1.1 is not offered"), "tls_version_min = \"1.2\"");
    assert!(remark(":2: log_dest: the log goes to standard error").starts_with('#'), "{toml}");
    assert!(toml.contains("user = \"mqtt\"\n") && toml.contains("log_file = \"/var/log/m.log\"\n"));
    let two = "allow_anonymous true\ncertfile c\nkeyfile k\ncafile a\ncapath b\n";
    let refused = Case::new("two-places", two).refused();
    assert!(refused[0].contains("either cafile or capath"), "{refused:?}");
}

#[test]
fn what_mosquitto_lets_wait_or_raises_is_so_here() {
    let text = "allow_anonymous true\nqueue_qos0_messages true\nupgrade_outgoing_qos true\n\
                clientid_prefixes dev-\nallow_zero_length_clientid false\nmax_topic_alias 0\n\
                listener 1884\nallow_anonymous true\nmount_point site-1/\n";
    let config = Case::new("waits", text).config();
    assert!(config.session.queue_qos_0 && config.protocol.upgrade_qos);
    assert!(config.client_id_required && config.client_id_prefix == "dev-");
    assert_eq!((&*config.assigned_id_prefix, config.limits.topic_aliases_in_max), ("auto-", 0));
    assert_eq!(config.all_listeners()[0].config.listener.mount_point, "site-1/");
}
