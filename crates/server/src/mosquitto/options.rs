//! What each of Mosquitto's options means here: a row each.

use super::draft::{Draft, quoted};
use crate::options::nearest;
use noctule_acl::Language;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

/// One of Mosquitto's options.
pub(super) struct MosquittoOption {
    pub(super) name: &'static str,
    pub(super) treatment: Treatment,
}

/// What is done with it. Puts it into the draft and says what is different here, if anything is; or
/// what is wrong with its value.
type Translate = fn(&mut Draft, &str) -> Result<Option<&'static str>, String>;

#[derive(Clone, Copy)]
pub(super) enum Treatment {
    /// It has a counterpart. The values are examples for the manual, where what comes of each is shown;
    /// behind a line break, one may have lines that it is nothing without.
    Taken(Scope, &'static [&'static str], Translate),
    /// Leaving it out changes nothing that matters, for this reason.
    Harmless(&'static str),
    /// There is nothing like it, and that matters; what to do instead.
    Missing(&'static str),
}

/// What it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole broker.
    All,
    /// The listener named last.
    Listener,
    /// Who may come in: the listener named last if each has its own rules, or else the broker.
    Security,
}

use Scope::{All, Listener, Security};
use Treatment::{Harmless, Missing, Taken};

/// Whether such a line makes the default listener one that is there, beside those that are named.
pub(super) fn makes_listener(name: &str, value: &str) -> bool {
    match name {
        "acl_file" | "cafile" | "capath" | "mount_point" | "certfile" | "crlfile" | "keyfile"
        | "password_file" | "socket_domain" => true,
        "require_certificate" | "use_identity_as_username" | "use_subject_as_username" => {
            matches!(value, "true" | "1")
        }
        "max_connections" => value != "-1",
        "max_qos" | "maximum_qos" => value != "2",
        _ => false,
    }
}

/// The known option that looks most like a word.
pub(super) fn nearest_name(word: &str) -> Option<&'static str> {
    nearest(word, OPTIONS.iter().map(|option| (option.name.to_owned(), option.name)))
}

macro_rules! options {
    ($($name:literal => $treatment:expr;)+) => {
        pub(super) const OPTIONS: &[MosquittoOption] = &[
            $(MosquittoOption { name: $name, treatment: $treatment },)+
        ];
    };
}

const BRIDGE: &str = "there are no bridges yet; remove it, or leave that connection to Mosquitto";
const PLUGIN: &str = "plugins of Mosquitto's cannot be loaded";
const PSK: &str = "TLS with shared keys is not offered; use certificates or a password_file";
const STORED: &str = "with persistence true, what is acknowledged is on disk already";
const LOG: &str = "the log goes to standard error, one form for all; see docs/observing.md";

options! {
    "accept_protocol_versions" => Taken(Listener, &["4,5"], protocol_versions);
    "acl_file" => Taken(Security, &["/etc/mosquitto/acl"], acl_file);
    "address" => Missing(BRIDGE);
    "addresses" => Missing(BRIDGE);
    "allow_anonymous" => Taken(Security, &["false"], |draft, value| switch(draft, "allow_anonymous", value));
    "allow_duplicate_messages" => Harmless(
        "a client with overlapping subscriptions gets one copy of a message, with all its \
         subscription identifiers",
    );
    "allow_zero_length_clientid" => Taken(Security, &["true", "false"], |draft, value| {
        if boolean(value)? {
            Ok(None)
        } else {
            switch(draft, "client_id_required", "true")
        }
    });
    "auth_plugin" => Missing(PLUGIN);
    "auth_plugin_deny_special_chars" => Harmless("there are no plugins");
    "auto_id_prefix" => Taken(Security, &["auto-"], assigned_prefix);
    "autosave_interval" => Harmless(STORED);
    "autosave_on_changes" => Harmless(STORED);
    "bind_address" => Taken(All, &["192.0.2.2"], |draft, value| {
        let bind = addresses(value)?;
        draft.use_default_listener().bind = Some(bind);
        Ok(None)
    });
    "bind_interface" => Missing("name the interface's addresses with `listener PORT ADDRESS`");
    "cafile" => Taken(Listener, &["/etc/ssl/devices.pem\nrequire_certificate true"], authorities);
    "capath" => Taken(Listener, &["/etc/ssl/devices\nrequire_certificate true"], authorities);
    "certfile" => Taken(Listener, &["/etc/ssl/broker.pem"], |draft, value| text(draft, "cert", value));
    "check_retain_source" => Taken(All, &["false"], |draft, value| {
        switch(draft, "acl_check_retain_source", value)
    });
    "ciphers" => Harmless("cipher suites are the modern ones of TLS 1.2 and 1.3, and cannot be chosen");
    "ciphers_tls1.3" => Harmless("cipher suites are the modern ones of TLS 1.2 and 1.3, and cannot be chosen");
    "clientid_prefixes" => Taken(All, &["device-"], |draft, value| {
        draft.set("client_id_prefix", quoted(value));
        Ok(None)
    });
    "connection" => Missing(BRIDGE);
    "connection_messages" => Harmless(LOG);
    "crlfile" => Taken(Listener, &["/etc/ssl/revoked.pem"], |draft, value| text(draft, "client_crl", value));
    "dhparamfile" => Harmless("keys are agreed upon with elliptic curves");
    "disable_client_cert_date_checks" => Taken(Listener, &["false", "true"], |draft, value| {
        if boolean(value)? {
            switch(draft, "check_client_dates", "false")
        } else {
            Ok(None)
        }
    });
    "enable_control_api" => Harmless("there is no control API");
    "enable_proxy_protocol" => Taken(Listener, &["2"], proxied);
    "global_max_clients" => Taken(All, &["5000"], |draft, value| {
        maximum(draft, "connections_max", value)?;
        Ok(Some("counts those that are connected, and not sessions whose clients are away"))
    });
    "global_max_connections" => Taken(All, &["5000", "-1"], |draft, value| maximum(draft, "connections_max", value));
    "global_plugin" => Missing(PLUGIN);
    "http_dir" => Missing("pages are not served here; leave that to a web server");
    "keyfile" => Taken(Listener, &["/etc/ssl/broker.key"], |draft, value| text(draft, "key", value));
    "listener" => Taken(Listener, &["8883", "1885 192.0.2.2", "0 /run/mqtt.sock"], listener);
    "listener_allow_anonymous" => Taken(Listener, &["false"], |draft, value| {
        switch(draft, "allow_anonymous", value)
    });
    "listener_auto_id_prefix" => Taken(Listener, &["auto-"], assigned_prefix);
    "log_dest" => Taken(All, &["file /var/log/mosquitto/mosquitto.log", "stderr", "none", "syslog"], log_dest);
    "log_facility" => Harmless(LOG);
    "log_timestamp" => Harmless(LOG);
    "log_timestamp_format" => Harmless(LOG);
    "log_type" => Taken(All, &["all", "error"], |draft, value| {
        if matches!(value, "all" | "debug" | "subscribe" | "unsubscribe" | "notice" | "information") {
            draft.set("verbose", "true".into());
        }
        Ok(None)
    });
    "max_connections" => Taken(Listener, &["1000", "-1"], |draft, value| {
        draft.set("connections_max", maximum_of_connections(value)?);
        Ok(None)
    });
    "max_inflight_bytes" => Taken(All, &["0", "1000000"], |_, value| match number(value)? {
        0 => Ok(None),
        _ => Ok(Some("has no effect: messages under way are limited by number")),
    });
    "max_inflight_messages" => Taken(All, &["50", "0"], |draft, value| match number(value)? {
        0 => limit(draft, "inflight_out_max", "65535"),
        count => limit(draft, "inflight_out_max", &count.min(65_535).to_string()),
    });
    "max_keepalive" => Taken(All, &["600", "0"], |draft, value| match number(value)? {
        0 => Ok(None),
        seconds => {
            draft.set_in("session", "keep_alive_max", quoted(&format!("{seconds}s")));
            // As Mosquitto does since 2.0.12.
            draft.set_in("session", "keep_alive_strict", "true".into());
            Ok(Some("clients of version 3 with a longer one, or none, are refused, as by mosquitto 2.0.12 and later"))
        }
    });
    "max_log_entries" => Harmless(LOG);
    "max_packet_size" => Taken(All, &["100000"], packet_size);
    "max_qos" => Taken(Listener, &["1"], qos);
    "max_queued_bytes" => Taken(All, &["0", "10000000"], |draft, value| match number(value)? {
        0 => Ok(None),
        bytes => {
            limit(draft, "queue_memory_bytes_max", &bytes.max(1_024).to_string())?;
            limit(draft, "queue_disk_bytes_max", &bytes.max(1_024).to_string())
        }
    });
    "max_queued_messages" => Taken(All, &["500", "0"], |draft, value| maximum(draft, "queue_messages_max", value));
    "max_topic_alias" => Taken(Listener, &["10", "0"], |draft, value| {
        aliases(draft, "topic_aliases_in_max", value)
    });
    "max_topic_alias_broker" => Taken(Listener, &["10", "0"], |draft, value| {
        aliases(draft, "topic_aliases_out_max", value)
    });
    "maximum_qos" => Taken(Listener, &["1"], qos);
    "memory_limit" => Taken(All, &["0", "100000000"], |draft, value| match number(value)? {
        0 => Ok(None),
        bytes => limit(draft, "memory_max", &bytes.max(1 << 20).to_string()),
    });
    "message_size_limit" => Taken(All, &["0", "100000"], |draft, value| match number(value)? {
        0 => Ok(None),
        // The limit here is for the packet, with topic and properties.
        bytes => {
            let bytes = bytes.saturating_add(65_535 + 1_024).clamp(64, 268_435_460);
            limit(draft, "packet_bytes_max", &bytes.to_string())?;
            Ok(Some("limits the whole packet here, so it is allowed 65 kB more"))
        }
    });
    "mount_point" => Taken(Listener, &["site-1/", "site-1"], |draft, value| {
        if value.ends_with('/') {
            return text(draft, "mount_point", value);
        }
        Err(format!(
            "'{value}' does not end with a slash: topics would be called '{value}a', and nobody there \
             could subscribe to '#'"
        ))
    });
    "notification_topic" => Missing(BRIDGE);
    "notifications" => Missing(BRIDGE);
    "password_file" => Taken(Security, &["/etc/mosquitto/passwd"], |draft, value| text(draft, "password_file", value));
    "per_listener_settings" => Taken(All, &["true\nallow_anonymous true"], |_, value| boolean(value).map(|_| None));
    "persistence" => Taken(All, &["true", "false"], |draft, value| {
        draft.is_persistent = boolean(value)?;
        Ok(None)
    });
    "persistence_file" => Taken(All, &["mosquitto.db"], |draft, value| {
        draft.persistence_file = Some(path(value)?.into());
        Ok(Some("has no effect: the store is a directory of several files"))
    });
    "persistence_location" => Taken(All, &["/srv/mqtt/"], |draft, value| {
        draft.persistence_location = Some(path(value)?.into());
        text(draft, "data_dir", value)
    });
    "persistent_client_expiration" => Taken(All, &["14d"], |draft, value| {
        draft.set_in("session", "expiry_max", quoted(&expiration(value)?));
        Ok(None)
    });
    "pid_file" => Taken(All, &["/run/mosquitto.pid"], |draft, value| {
        draft.pid_file = Some(path(value)?.into());
        Ok(None)
    });
    "plugin" => Missing(PLUGIN);
    "plugin_load" => Missing(PLUGIN);
    "port" => Taken(All, &["1885"], |draft, value| {
        let port = port(value)?;
        draft.use_default_listener().port = Some(port);
        Ok(None)
    });
    "protocol" => Taken(Listener, &["mqtt", "websockets"], |draft, value| {
        draft.listener().is_websocket = match value {
            "mqtt" => false,
            "websockets" => true,
            other => return Err(format!("'{other}' is not offered: expected mqtt or websockets")),
        };
        Ok(None)
    });
    "proxy_protocol_v2_require_tls" => Taken(Listener, &["false", "true"], |_, value| {
        if boolean(value)? {
            Err("clients of a proxy are not asked whether they use TLS: have the proxy offer nothing else".into())
        } else {
            Ok(None)
        }
    });
    "psk_file" => Missing(PSK);
    "psk_hint" => Missing(PSK);
    "queue_qos0_messages" => Taken(All, &["false", "true"], |draft, value| {
        if boolean(value)? {
            draft.set_in("session", "queue_qos_0", "true".into());
        }
        Ok(None)
    });
    "require_certificate" => Taken(Listener, &["true\ncafile /etc/ssl/devices.pem"], |draft, value| {
        draft.listener().requires_certificate = boolean(value)?;
        Ok(None)
    });
    "retain_available" => Taken(All, &["false"], |draft, value| {
        let retain = boolean(value)?.to_string();
        draft.set_in("protocol", "retain", retain);
        Ok(None)
    });
    "retain_expiry_interval" => Missing("retained messages stay until they are replaced or expire by themselves");
    "set_tcp_nodelay" => Harmless("it is always set, and whole turns are written at once");
    "socket_domain" => Taken(Listener, &["ipv4"], |draft, value| {
        draft.listener().only = match value {
            "ipv4" => Some(IpAddr::is_ipv4),
            "ipv6" => Some(IpAddr::is_ipv6),
            other => return Err(format!("'{other}' is neither ipv4 nor ipv6")),
        };
        Ok(None)
    });
    "sys_interval" => Taken(All, &["30"], |draft, value| {
        draft.set("sys_interval", quoted(&format!("{}s", number(value)?)));
        Ok(None)
    });
    "tls_engine" => Missing("keys lie in files");
    "tls_engine_kpass_sha1" => Missing("keys lie in files");
    "tls_keyform" => Missing("keys lie in files of the form PEM");
    "tls_version" => Taken(Listener, &["tlsv1.2", "tlsv1.3", "tlsv1.1"], |draft, value| {
        let (lowest, differs) = match value {
            "tlsv1.1" => ("1.2", Some("TLS 1.1 is not offered: clients that know nothing newer are refused")),
            "tlsv1.2" => ("1.2", None),
            "tlsv1.3" => ("1.3", None),
            other => return Err(format!("'{other}' is neither tlsv1.1, tlsv1.2 nor tlsv1.3")),
        };
        draft.set("tls_version_min", quoted(lowest));
        Ok(differs)
    });
    "upgrade_outgoing_qos" => Taken(All, &["false", "true"], |draft, value| {
        if boolean(value)? {
            draft.set_in("protocol", "upgrade_qos", "true".into());
        }
        Ok(None)
    });
    "use_identity_as_username" => Taken(Listener, &["true\ncafile /etc/ssl/devices.pem"], |draft, value| certificate_user(draft, "common-name", value));
    "use_subject_as_username" => Taken(Listener, &["true\ncafile /etc/ssl/devices.pem"], |draft, value| certificate_user(draft, "subject", value));
    "use_username_as_clientid" => Missing("client identifiers are the clients' own");
    "user" => Taken(All, &["mqtt", "root"], |draft, value| {
        draft.names_user = true;
        if !matches!(value, "" | "root") {
            draft.set("user", quoted(value));
        }
        Ok(None)
    });
    "websockets_headers_size" => Harmless("the head of a request for WebSocket may have 8 KiB");
    "websockets_log_level" => Harmless(LOG);
    "websockets_origin" => Taken(Listener, &["https://example.org\nprotocol websockets"], |draft, value| {
        let is_origin = value == "null" || value.split_once("://").is_some_and(|(_, host)| {
            !host.is_empty() && !host.contains('/') && host.bytes().all(|byte| byte.is_ascii_graphic())
        });
        if !is_origin {
            return Err(format!(
                "'{value}' is no origin: expected what browsers say, such as https://example.org"
            ));
        }
        draft.listener().origins.push(value.to_owned());
        Ok(None)
    });
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("'{other}' is neither true nor false")),
    }
}

fn number(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("'{value}' is not a whole number"))
}

fn port(value: &str) -> Result<u16, String> {
    let port = value.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("'{value}' is no port: expected a number from 1 to 65535"))
}

fn path(value: &str) -> Result<&str, String> {
    if value.is_empty() { Err("expected a path".into()) } else { Ok(value) }
}

type Outcome = Result<Option<&'static str>, String>;

fn switch(draft: &mut Draft, key: &'static str, value: &str) -> Outcome {
    draft.set(key, boolean(value)?.to_string());
    Ok(None)
}

fn text(draft: &mut Draft, key: &'static str, value: &str) -> Outcome {
    draft.set(key, quoted(path(value)?));
    Ok(None)
}

fn limit(draft: &mut Draft, key: &'static str, value: &str) -> Outcome {
    draft.set_in("limits", key, value.to_owned());
    Ok(None)
}

/// The CAs of clients, in a file or a directory.
fn authorities(draft: &mut Draft, value: &str) -> Outcome {
    let value = path(value)?;
    let known = &mut draft.listener().ca_file;
    if known.as_ref().is_some_and(|known| known != value) {
        return Err(
            "there is one place for the CAs of clients: name either cafile or capath".into()
        );
    }
    *known = Some(value.to_owned());
    Ok(None)
}

/// How many topic aliases there may be; none at all with zero.
fn aliases(draft: &mut Draft, key: &'static str, value: &str) -> Outcome {
    limit(draft, key, &number(value)?.min(65_535).to_string())
}

fn assigned_prefix(draft: &mut Draft, value: &str) -> Outcome {
    draft.set("assigned_id_prefix", quoted(value));
    Ok(None)
}

fn log_dest(draft: &mut Draft, value: &str) -> Outcome {
    let (kind, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    match (kind, rest.trim()) {
        ("file", "") => Err("expected a path behind file".into()),
        ("file", path) => text(draft, "log_file", path),
        ("none", _) => text(draft, "log_file", "/dev/null"),
        ("stderr", _) => Ok(None),
        ("stdout", _) => Ok(Some("the log goes to standard error")),
        ("syslog", _) => {
            Ok(Some("the log goes to standard error, from where systemd takes it into its journal"))
        }
        ("topic", _) => {
            Ok(Some("has no effect: the log goes to standard error or a file, and not to topics"))
        }
        ("dlt", _) => Ok(Some("has no effect: the log goes to standard error or a file")),
        _ => Err(format!("'{kind}' is none of file, stderr, stdout, syslog, topic and none")),
    }
}

/// Every address is taken for that of a proxy, as Mosquitto does it.
fn proxied(draft: &mut Draft, value: &str) -> Outcome {
    if !matches!(value, "1" | "2") {
        return Err(format!("'{value}' is neither 1 nor 2"));
    }
    let listener = draft.listener();
    listener.is_proxied = true;
    draft.set("proxies_only", "true".into());
    draft.set("proxies", "[\"0.0.0.0/0\", \"::/0\", \"unix\"]".into());
    Ok(Some(
        "whoever connects is believed whom he announces, as with Mosquitto: name the addresses of your \
         proxies in `proxies`; either version of the protocol is understood",
    ))
}

fn acl_file(draft: &mut Draft, value: &str) -> Outcome {
    if Language::of(Path::new(value)) != Language::Mosquitto {
        return Err(format!("'{value}' would be read as TOML: give the file a name without .toml"));
    }
    text(draft, "acl_file", value)?;
    // Mosquitto lets a client in whose will it will not publish.
    draft.set_in("", "acl_denied_will", quoted("drop"));
    Ok(None)
}

/// A number of which zero means that there is none.
fn maximum(draft: &mut Draft, key: &'static str, value: &str) -> Outcome {
    let none = value == "-1" || (value == "0" && key != "connections_max");
    let value = if none { UNLIMITED.into() } else { number(value)?.max(1).to_string() };
    limit(draft, key, &value)
}

/// As an option of a listener. Where Mosquitto would let nobody in, one comes in.
fn maximum_of_connections(value: &str) -> Result<String, String> {
    let number = || Ok(number(value)?.clamp(1, u32::MAX.into()).to_string());
    if value == "-1" { Ok(UNLIMITED.into()) } else { number() }
}

const UNLIMITED: &str = "\"unlimited\"";

fn packet_size(draft: &mut Draft, value: &str) -> Outcome {
    match number(value)? {
        0 => limit(draft, "packet_bytes_max", "\"unlimited\""),
        bytes => limit(draft, "packet_bytes_max", &bytes.clamp(64, 268_435_460).to_string()),
    }
}

fn qos(draft: &mut Draft, value: &str) -> Outcome {
    let qos = number(value).ok().filter(|qos| *qos <= 2);
    let qos = qos.ok_or_else(|| format!("'{value}' is neither 0, 1 nor 2"))?;
    draft.set_in("protocol", "qos_max", qos.to_string());
    Ok((draft.count() > 1).then_some("holds for all listeners, not for this one alone"))
}

fn certificate_user(draft: &mut Draft, which: &str, value: &str) -> Outcome {
    if boolean(value)? {
        draft.set("certificate_user", quoted(which));
    } else {
        draft.unset("certificate_user");
    }
    Ok(None)
}

fn protocol_versions(draft: &mut Draft, value: &str) -> Outcome {
    let mut versions = Vec::new();
    for word in value.split(',') {
        versions.push(match word.trim() {
            "3" => "\"3.1\"",
            "4" => "\"3.1.1\"",
            "5" => "\"5\"",
            other => return Err(format!("'{other}' is neither 3, 4 nor 5")),
        });
    }
    draft.set("protocol_versions", format!("[{}]", versions.join(", ")));
    Ok(None)
}

fn listener(draft: &mut Draft, value: &str) -> Outcome {
    let mut words = value.split_whitespace();
    let (number, address) = (words.next().unwrap_or_default(), words.next());
    if number == "0" {
        let path = value.split_once([' ', '\t']).map(|(_, path)| path.trim());
        let path = path.filter(|path| !path.is_empty());
        draft.begin_unix(path.ok_or("a Unix socket has to have a path behind the 0")?);
        return Ok(None);
    }
    let port = port(number)?;
    let bind = address.map(addresses).transpose()?;
    draft.begin_listener(port).bind = bind;
    Ok(None)
}

/// The addresses that a name stands for.
fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = |error| format!("{name}: has no address: {error}");
    let found = (name, 0).to_socket_addrs().map_err(wrong)?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// Mosquitto's `14d`, in our units.
fn expiration(value: &str) -> Result<String, String> {
    let wrong = || format!("'{value}' is no time such as 12h, 14d, 6w, 3m or 1y");
    let unit = value.chars().last().ok_or_else(wrong)?;
    let count: u64 = value[..value.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let days = match unit {
        'h' => return Ok(format!("{count}h")),
        'd' => 1,
        'w' => 7,
        'm' => 30,
        'y' => 365,
        _ => return Err(wrong()),
    };
    Ok(format!("{}d", count.saturating_mul(days)))
}
