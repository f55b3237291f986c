//! The option table: every setting of the broker, once.
//!
//! To add an option, add a row; the file, the environment, `--help`, `--print-config` and the
//! manual follow. The first line of a row's documentation is one sentence, for lists. Nothing but
//! rows lives here.
//!
//! Invariant: every default lies in its range, and zero never means "without limit".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::choice::{
    CertificateUser, ClientAuth, DeniedWill, Durability, Hello, HttpAuthFormat, LogFormat,
    LogMessages, OnQueueFull, Sharing, TlsVersion, Transport,
};
use super::file_mode::FileMode;
use super::limit::{Auto, Limit, Optional};
use super::listener::ListenerTable;
use super::methods::AuthMethods;
use super::network::Networks;
use super::origins::Origins;
use super::quantity::{ByteSize, GIB, KIB, MIB, Seconds, seconds};
use super::spec::{Kind, OptionSpec, Section, flags, option_table};
use super::value::Value;
use super::versions::Versions;

/// The longest packet that MQTT can express: one byte of type, four of length, and what follows.
const PACKET_BYTES_GREATEST: u64 = 1 + 4 + 268_435_455;

/// Packet ids and most numbers of MQTT have two bytes.
const TWO_BYTES: u64 = 65_535;

/// The longest session expiry interval that is not "never" `[MQTT5-3.1.2.11.2]`.
const EXPIRY_GREATEST: u64 = 4_294_967_294;

option_table! {
    /// What the broker listens on, where its data lies and what it says.
    Config {
        /// IP addresses to listen on.
        /// The default is this machine alone, over IPv4 and IPv6; `0.0.0.0, ::` is every address.
        bind: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            => flags(&["bind"]).per_listener();

        /// TCP port for MQTT without encryption.
        /// `0` takes any free one, the same on each address; the broker prints it.
        port: u16 = 1883 => flags(&["port"]).short('p').range(0, TWO_BYTES).per_listener();

        /// Whether to offer MQTT over TLS beside the plain port.
        tls: bool = true => flags(&["tls", "ssl"]).off(&["no-tls", "no-ssl"]);

        /// TCP port for MQTT over TLS.
        /// `0` takes any free one; the broker prints it.
        tls_port: u16 = 8883 => flags(&["tls-port", "ssl-port"]).range(0, TWO_BYTES);

        /// TCP port for MQTT over WebSocket, without encryption; `none` for none.
        /// 8083 is the usual one, and any path will do, such as `/mqtt`. `0` takes any free port.
        ws_port: Optional<u16> = Optional::None => flags(&["ws-port"]).range(0, TWO_BYTES);

        /// TCP port for MQTT over WebSocket with TLS; `none` for none.
        /// 8084 is the usual one. The certificate is that of the TLS port.
        wss_port: Optional<u16> = Optional::None => flags(&["wss-port"]).range(0, TWO_BYTES);

        /// Origins of web pages that may connect by WebSocket.
        /// Others are refused (HTTP status 403); programs that are no browser name none, and may connect.
        /// With `auto` a listener for this machine alone takes pages of this machine (such as
        /// `http://localhost:3000`) and no others, as any page that somebody here visits could connect to
        /// it; elsewhere it takes `any`, as clients have to say who they are.
        ws_origins: Auto<Origins> = Auto::Auto => flags(&["ws-origins"]).per_listener();

        /// Proxies that say truly whose a WebSocket connection is, in the header `X-Forwarded-For`.
        /// The nearest address in it that is none of these counts as the client's. From others the header
        /// is not believed; who sends it does not count as a client of this machine.
        ws_proxies: Networks = Networks::NONE => flags(&["ws-proxies"]).per_listener();

        /// Unix socket to listen on, for programs on this machine; `none` for none.
        /// It is there beside the ports, or in a `[[listener]]` in place of `port` and `bind`. A socket
        /// that nobody listens on any more is replaced; the broker takes its own away when it ends.
        unix: Optional<PathBuf> = Optional::None => flags(&["unix"]).per_listener();

        /// Permissions of the Unix socket, as `chmod` takes them.
        /// Who may write to it may connect, and counts as a client of this machine.
        unix_mode: FileMode = FileMode(0o660) => flags(&["unix-mode"]).per_listener();

        /// Proxies that say whose a connection is, by the PROXY protocol, version 1 or 2.
        /// Their connections have to begin with its header, and count as those of the clients that it
        /// names: for limits, for wrong logins, in the log. `unix` stands for whoever may connect to a
        /// Unix socket. Connections from elsewhere are their clients' own.
        proxies: Networks = Networks::NONE => flags(&["proxies"]).per_listener();

        /// Whether nobody but those proxies may connect.
        proxies_only: bool = false => flags(&["proxies-only"]).off(&["no-proxies-only"])
            .per_listener();

        /// Whether proxies are believed what they say of their clients' certificates.
        /// One that a proxy found valid counts as if it were shown here, with its common name for
        /// `certificate_user`; only version 2 of the protocol can say it.
        proxy_certificates: bool = false => flags(&["proxy-certificates"])
            .off(&["no-proxy-certificates"]).per_listener();

        /// PEM file with the server's certificate, and those between it and a root behind it.
        /// `auto` is `tls/server.pem` in the data directory, which is made if it is missing, with a CA
        /// whose file `tls/ca.pem` clients trust. `cert` and `key` are set together; they may be one
        /// file. Changed files are used for new connections without a restart.
        cert: Auto<PathBuf> = Auto::Auto => flags(&["cert"]).per_listener();

        /// PEM file with the key of the server's certificate.
        /// `auto` is `tls/server.key` in the data directory.
        key: Auto<PathBuf> = Auto::Auto => flags(&["key"]).per_listener();

        /// PEM file with the CAs that sign certificates of clients, or a directory of such files.
        /// With it, clients of the TLS port show a certificate; see `client_auth`.
        client_ca: Optional<PathBuf> = Optional::None => flags(&["client-ca"]).per_listener();

        /// Whether clients of the TLS port have to show a certificate.
        /// It counts if there is a `client_ca`. `optional` lets those in that show none; one that is
        /// shown has to be valid in any case.
        client_auth: ClientAuth = ClientAuth::Required => flags(&["client-auth"])
            .per_listener();

        /// Which part of a client's certificate is its user name.
        /// With `none` a valid certificate lets in whoever gives no user name. Otherwise a client that
        /// shows one is the user whom it names, whatever user name and password it gives:
        /// `common-name`, the whole `subject` (`CN=sensor-1,O=Example,C=DE`), or the first
        /// `alternative-name` that is a host name, mail address or URI. One that names nobody is
        /// refused (reason code 0x87; return code 5 in version 3).
        certificate_user: CertificateUser = CertificateUser::None => flags(&["certificate-user"])
            .per_listener().live();

        /// Whether certificates of clients have to be valid today.
        /// Otherwise one that has expired, or whose time has not come, is taken like any other: for
        /// devices without a clock and certificates that nobody can renew.
        check_client_dates: bool = true => flags(&["check-client-dates"])
            .off(&["no-check-client-dates"]).per_listener();

        /// Lowest version of TLS that clients may use.
        tls_version_min: TlsVersion = TlsVersion::V12 => flags(&["tls-version-min"])
            .per_listener();

        /// PEM file with certificate revocation lists: certificates of clients that are void.
        /// Each CA in `client_ca` then needs a list.
        client_crl: Optional<PathBuf> = Optional::None => flags(&["client-crl"]).per_listener();

        /// File with the users and their passwords, made by `noctule passwd`.
        /// With it, a client gives the name and password of a user, shows a certificate, or is refused
        /// (reason code 0x86 or 0x87; return code 4 or 5 in version 3). A changed file is read again.
        password_file: Optional<PathBuf> = Optional::None => flags(&["password-file"])
            .per_listener().live();

        /// File with the keys that may have signed tokens: a JSON Web Key Set.
        /// With it, a client may give a JSON Web Token as its password, with or without a user name,
        /// and is the user that the token names. One that is not good is refused (reason code 0x86;
        /// return code 4 in version 3). A changed file is read again.
        jwt_keys: Optional<PathBuf> = Optional::None => flags(&["jwt-keys"])
            .per_listener().live();

        /// Who has to have issued a token; empty for whoever has a key.
        /// It is the token's claim `iss`.
        jwt_issuer: String = String::new() => flags(&["jwt-issuer"]).per_listener().live();

        /// Whom a token has to be for; empty for anybody.
        /// It is the token's claim `aud`, or one of those in it.
        jwt_audience: String = String::new() => flags(&["jwt-audience"]).per_listener().live();

        /// The claim of a token that is the user name.
        /// A token without it is refused.
        jwt_user_claim: String = "sub".to_owned() => flags(&["jwt-user-claim"])
            .per_listener().live();

        /// A claim of a token that has to be the client identifier; empty for none.
        /// Another identifier is refused (reason code 0x85; return code 2 in version 3).
        jwt_client_id_claim: String = String::new() => flags(&["jwt-client-id-claim"])
            .per_listener().live();

        /// A claim of a token that says what its bearer may do; empty for none.
        /// A JSON object such as `{"publish": ["a/#"], "subscribe": ["b/#"]}`. What neither it nor a rule
        /// of `acl_file` allows is denied then, also if a token has no such claim; one that cannot be
        /// understood refuses the token.
        jwt_acl_claim: String = String::new() => flags(&["jwt-acl-claim"]).per_listener().live();

        /// File with the rules about what clients may do.
        /// In Mosquitto's language, or in TOML if its name ends in `.toml`. With it, what no rule allows
        /// is denied (reason code 0x87). A changed file holds at once, also for what is subscribed to and
        /// queued already; a broken or empty one does not start, and later changes nothing.
        acl_file: Optional<PathBuf> = Optional::None => flags(&["acl-file"])
            .per_listener().live();

        /// Whether what the rules deny is only logged and counted, and permitted.
        acl_shadow: bool = false => flags(&["acl-shadow"]).off(&["no-acl-shadow"])
            .per_listener().live();

        /// Whether a user name that nobody has verified gives the rights of that user.
        /// Where nobody is asked for a password, certificate or token, a client may say any name.
        /// Without this it has the rights of a client without a name, and no rule with `%u` holds for it;
        /// with it, whoever says a user's name may do what that user may.
        acl_trust_claimed_names: bool = false => flags(&["acl-trust-claimed-names"])
            .off(&["no-acl-trust-claimed-names"]).per_listener().live();

        /// What becomes of a client that may not publish its own will.
        /// `refuse` refuses it (reason code 0x87; return code 5 in version 3); `drop` lets it in without
        /// its will. A will is judged again when it is published, and then dropped in either case.
        acl_denied_will: DeniedWill = DeniedWill::Refuse => flags(&["acl-denied-will"]).live();

        /// Whether a retained message is given out only if its publisher may still publish it.
        acl_check_retain_source: bool = true => flags(&["acl-check-retain-source"])
            .off(&["no-acl-check-retain-source"]).live();

        /// URL to which a client's credentials are sent, to be told whether it may come in; empty for none.
        /// They are sent by POST, as `clientid`, `username`, `password` and `peerhost`. Nobody is let in
        /// when there is no answer (reason code 0x88; return code 3 in version 3).
        http_auth_url: String = String::new() => flags(&["http-auth-url"]).per_listener().live();

        /// How credentials are written for `http_auth_url`.
        http_auth_format: HttpAuthFormat = HttpAuthFormat::Json => flags(&["http-auth-format"])
            .per_listener().live();

        /// PEM file with the CAs of which one has signed the certificate of `http_auth_url`.
        /// With `none` it has to be one that this machine trusts.
        http_auth_ca: Optional<PathBuf> = Optional::None => flags(&["http-auth-ca"])
            .per_listener().live();

        /// How long an answer from `http_auth_url` may take.
        http_auth_timeout: Duration = Duration::from_secs(2) => flags(&["http-auth-timeout"])
            .range(50, seconds(60)).per_listener().live();

        /// How long a client that `http_auth_url` has allowed is let in again without asking.
        /// `0` asks each time. Denials are never remembered.
        http_auth_cache: Duration = Duration::from_secs(60) => flags(&["http-auth-cache"])
            .range(0, seconds(86_400)).per_listener().live();

        /// How many questions are asked of `http_auth_url` at once.
        /// Up to 1,024 further ones wait; then a client is told that the broker is busy (reason code 0x89;
        /// return code 3 in version 3).
        http_auth_requests_max: u16 = 16 => flags(&["http-auth-requests-max"]).range(1, 256)
            .per_listener().live();

        /// In which ways it is found out who a client is, in this order.
        /// Each lets a client in, refuses it, or does not know it; then the next one is asked, and who is
        /// known by none is refused. `auto` are all that are configured: `certificate`, `jwt`,
        /// `password-file`, `http`, and `anonymous` with `allow_anonymous`.
        auth_methods: AuthMethods = AuthMethods::default() => flags(&["auth-methods"])
            .per_listener().live();

        /// Whether clients may connect without saying who they are.
        /// Without a password file those of this machine may in any case, and the broker does not start
        /// on other addresses unless clients have to show certificates or this is set.
        allow_anonymous: bool = false => flags(&["allow-anonymous"]).off(&["no-allow-anonymous"])
            .per_listener().live();

        /// What client identifiers have to begin with; empty for anything.
        /// Others are refused (reason code 0x87; return code 5 in version 3).
        client_id_prefix: String = String::new() => flags(&["client-id-prefix"])
            .per_listener().live();

        /// Whether clients have to have an identifier.
        /// One without is refused (reason code 0x85; return code 2 in version 3).
        client_id_required: bool = false => flags(&["client-id-required"])
            .off(&["no-client-id-required"]).per_listener().live();

        /// What identifiers begin with that are given to clients without one.
        /// Behind it is a number that nobody can guess.
        assigned_id_prefix: String = "noctule-".to_owned() => flags(&["assigned-id-prefix"])
            .per_listener().live();

        /// Directory for certificates and stored messages.
        /// It is made if it is missing, readable by its owner alone. A relative path begins at the
        /// working directory.
        data_dir: PathBuf = PathBuf::from("./noctule-data") => flags(&["data-dir"]);

        /// When a message counts as stored, so that it may be acknowledged.
        /// `always` is when it is on stable storage for whoever is owed it across a crash. With
        /// `interval` the operating system has it and is told to flush at an interval: if the machine
        /// fails, what came since is lost. With `never` the operating system flushes when it likes.
        durability: Durability = Durability::Always => flags(&["durability"]).per_listener();

        /// How often the store is flushed with `durability = "interval"`.
        durability_interval: Duration = Duration::from_secs(1) => flags(&["durability-interval"])
            .range(10, seconds(3600));

        /// Whether to keep everything in memory and nothing on disk.
        /// Sessions, queues and retained messages end with the process, and acknowledgements promise
        /// no more than that.
        in_memory: bool = false => flags(&["in-memory"]).off(&["no-in-memory"]);

        /// User whose rights the broker goes on with, if root starts it; `none` for nobody else's.
        /// Before, it listens and reads keys and passwords; its own certificate and the store are made as
        /// that user, for whom the data directory is made if it is missing.
        user: Optional<String> = Optional::None => flags(&["user"]);

        /// Size of a file of the store.
        /// Files are written with zeros ahead of their use, so at least twice as much is taken.
        store_segment_bytes: ByteSize = ByteSize(32 * MIB) => flags(&["store-segment-bytes"])
            .range(MIB, GIB);

        /// Who is greeted with a message HELLO on `$SYS/broker/connection/CLIENT_ID`.
        /// `waiting` greets clients that subscribe to exactly this topic, and 3.1 and 3.1.1
        /// clients without a subscription that have been silent for one second; `always` greets
        /// every client right after CONNACK; `never` greets nobody.
        hello: Hello = Hello::Waiting => flags(&["hello"]).per_listener().live();

        /// Versions of MQTT that clients may speak.
        /// Another one is refused in CONNACK: return code 1 in version 3, reason code 0x84 in version 5.
        protocol_versions: Versions = Versions::ALL => flags(&["protocol-versions"])
            .per_listener().live();

        /// Most messages that a client may publish per second, on average.
        /// A second's worth may come at once. Whoever sends faster is read more slowly: its messages wait
        /// on its side, and none is lost.
        message_rate_max: Limit<u32> = Limit::Unlimited => flags(&["message-rate-max"]).at_least(1)
            .per_listener().live();

        /// Most bytes that a client may send per second, on average, encryption not counted.
        /// A second's worth may come at once, and what is read at once up to 64 KiB more, for which the
        /// client then waits. Whoever sends faster is read more slowly, and nothing is lost.
        byte_rate_max: Limit<ByteSize> = Limit::Unlimited => flags(&["byte-rate-max"])
            .range(1, 4_000_000_000).per_listener().live();

        /// Which of the messages that pass are shown in the log, as JSON.
        /// `sample` shows at most 20 a second and then says how many there were more; `all` shows
        /// each, as far as the output takes them; `none` shows none.
        log_messages: LogMessages = LogMessages::Sample => flags(&["log-messages"])
            .off_as("none", &["no-log-messages"]).live();

        /// Whether to log each packet in hex.
        /// Passwords, authentication data and the payloads of wills are covered.
        log_raw_data: bool = false => flags(&["log-raw-data"]).off(&["no-log-raw-data"]);

        /// How the lines of the log look.
        /// `text` is for people, and shows messages indented on a terminal; with `json` each line is
        /// an object.
        log_format: LogFormat = LogFormat::Text => flags(&["log-format"]);

        /// File that the log goes to, in place of standard error.
        /// It is appended to, and opened again on SIGHUP, so that it can be rotated.
        log_file: Optional<PathBuf> = Optional::None => flags(&["log-file"]);

        /// How often a line with statistics is logged, if something has changed.
        /// `0` is never.
        stats_interval: Duration = Duration::from_secs(60) => flags(&["stats-interval"])
            .range(0, seconds(86_400)).live();

        /// How often the topics below `$SYS/broker/` are brought up to date.
        /// `0` is never; then there are none.
        sys_interval: Duration = Duration::from_secs(10) => flags(&["sys-interval"])
            .range(0, seconds(86_400));

        /// Number of loops, each with a thread of its own, that share the sessions.
        /// `auto` is one for each processor that the broker may use. A message whose subscribers live
        /// on another loop than its publisher costs a fifth to a third more.
        shards: Auto<u16> = Auto::Auto => flags(&["shards"]).range(1, 256);

        /// Whether to log each connection, refusal and disconnection.
        verbose: bool = false => flags(&["verbose"]).short('v').off(&["no-verbose"]).live();
    }

    /// A listener of its own, of which there may be any number up to 200. Without one the broker
    /// listens on `port`, and on `tls_port` if `tls` is on; with one it listens where the listeners say
    /// and nowhere else, and `tls` and the other ports say nothing, but that `tls_port`, `ws_port` and
    /// `wss_port` are those of listeners of their kind that name none. What a listener does not say for itself it has from the top of
    /// the file.
    [[listener]] ListenerOptions {
        /// A name for messages of the broker; empty for none.
        name: String = String::new() => flags(&[]).live();

        /// What is spoken under MQTT.
        /// `ws` is WebSocket, and `wss` WebSocket over TLS.
        transport: Transport = Transport::Tcp => flags(&[]);

        /// Most connections at a time that have come by this listener.
        /// One more is refused as by `limits.connections_per_address_max`; those of `limits.connections_max`
        /// are counted besides.
        connections_max: Limit<u32> = Limit::Unlimited => flags(&[]).at_least(1).live();

        /// What stands before the topics of those who come by it, such as `site-1/`; empty for nothing.
        /// They do not see it: what they call `a` others call `site-1/a`, in messages, subscriptions and
        /// wills alike, and of other topics they hear nothing.
        mount_point: String = String::new() => flags(&[]);
    }

    /// How long a client's state lives and how a full queue is answered.
    [session] SessionOptions {
        /// Longest time that a session is kept for a client that is away.
        /// A client that asks for longer gets this; in version 5 it is told so
        /// `[MQTT5-3.2.2.3.2]`. It also ends the sessions of version 3 clients, which cannot ask.
        expiry_max: Limit<Seconds> = Limit::Unlimited => flags(&["session-expiry-max"])
            .range(seconds(1), seconds(EXPIRY_GREATEST));

        /// Longest keep-alive that a version 5 client may have.
        /// One that asks for longer, or for none, is told to use this one `[MQTT5-3.2.2-21]`. Version
        /// 3 clients cannot be told and keep theirs, unless `session.keep_alive_strict` is set.
        keep_alive_max: Limit<Seconds> = Limit::Unlimited => flags(&["keep-alive-max"])
            .range(seconds(1), seconds(TWO_BYTES));

        /// Whether a version 3 client with a keep-alive over `session.keep_alive_max`, or none, is refused.
        /// It is told return code 2, as Mosquitto does since 2.0.12: there is no code that says more.
        keep_alive_strict: bool = false => flags(&["keep-alive-strict"])
            .off(&["no-keep-alive-strict"]);

        /// Whether a session belongs to the user whose client has it.
        /// A client of somebody else, or of nobody, that comes with its client identifier is refused,
        /// be it to go on with the session or to end it (reason code 0x85; return code 2 in version
        /// 3). A session that was begun without a user name is for whoever comes.
        belongs_to_user: bool = true => flags(&["session-belongs-to-user"])
            .off(&["no-session-belongs-to-user"]);

        /// Whether messages at QoS 0 wait for clients that are away and have a persistent session.
        /// They count like those at QoS 1 then.
        queue_qos_0: bool = false => flags(&["queue-qos-0"]).off(&["no-queue-qos-0"]).live();

        /// What happens to a message when a session that should get it has a full queue.
        /// In either case this session does not get it, and the loss is counted.
        /// `drop-new` acknowledges the message, which stays a promise to all other receivers.
        /// `refuse` answers with reason code 0x97 in version 5; version 3 has no such answer, so
        /// there the publisher's connection is closed without an acknowledgement. Wills cannot be
        /// refused: they are dropped. QoS 2 messages of clients with a persistent session are
        /// refused before anybody gets them, or come to all.
        on_queue_full: OnQueueFull = OnQueueFull::DropNew => flags(&["on-queue-full"]).live();
    }

    /// What is offered to clients. Version 5 is told in CONNACK what is not. Clients of version 3
    /// cannot be told: they meet the same refusals.
    [protocol] ProtocolOptions {
        /// Highest QoS with which clients may publish.
        /// A message with a higher one closes the connection (reason code 0x9B), and a will refuses
        /// CONNECT (0x9B; return code 3 in version 3); subscriptions are granted no more than this.
        qos_max: u16 = 2 => flags(&["qos-max"]).range(0, 2);

        /// Whether messages are delivered with the QoS of the subscription, however they were published.
        /// MQTT says the lower of both.
        upgrade_qos: bool = false => flags(&["upgrade-qos"]).off(&["no-upgrade-qos"]).live();

        /// Whether messages may be retained.
        /// Otherwise one that asks for it closes the connection (reason code 0x9A), and a will refuses
        /// CONNECT (0x9A; return code 3 in version 3).
        retain: bool = true => flags(&["retain"]).off(&["no-retain"]);

        /// Whether topic filters may have wildcards.
        /// Otherwise such a filter is refused in SUBACK (reason code 0xA2; 0x80 in version 3).
        wildcard_subscriptions: bool = true => flags(&["wildcard-subscriptions"])
            .off(&["no-wildcard-subscriptions"]);

        /// Whether subscriptions may have an identifier.
        /// Otherwise such a filter is refused in SUBACK (reason code 0xA1).
        subscription_identifiers: bool = true => flags(&["subscription-identifiers"])
            .off(&["no-subscription-identifiers"]);

        /// Who of a group gets a message of a shared subscription (`$share/GROUP/FILTER`).
        /// `round-robin` is one after another, `sticky` the same one as long as it can, `hash` the one
        /// that the topic says, so that messages of a topic stay in order. `no` refuses such filters
        /// in SUBACK (reason code 0x9E; 0x80 in version 3).
        shared_subscriptions: Sharing = Sharing::RoundRobin => flags(&["shared-subscriptions"]);

        /// Whether a payload that claims to be UTF-8 is looked at.
        /// One that is not refuses its message (reason code 0x99); at QoS 0, where there is no other
        /// way to say so, it closes the connection.
        check_payload_format: bool = false => flags(&["check-payload-format"])
            .off(&["no-check-payload-format"]);

        /// Response information for clients that ask for it; empty for none.
        /// By convention the beginning of topics on which a client may expect answers.
        response_information: String = String::new() => flags(&["response-information"]);

        /// Where version 5 clients are sent when the broker stops; empty for nowhere.
        /// They get reason code 0x9C with this server reference instead of 0x8B.
        server_reference: String = String::new() => flags(&["server-reference"]);
    }

    /// The end of every queue, and what happens there. A limit that can be switched off says
    /// `unlimited`; `0` never means that.
    [limits] LimitOptions {
        /// Largest CONNECT packet that is read.
        /// Beyond it the connection is closed.
        connect_bytes_max: ByteSize = ByteSize(100_000) => flags(&["connect-bytes-max"])
            .range(64, PACKET_BYTES_GREATEST).live();

        /// Longest time until the CONNECT of a new connection has been accepted.
        /// Then the connection is closed. With TLS, the handshake is part of that time.
        connect_timeout: Duration = Duration::from_secs(10) => flags(&["connect-timeout"])
            .range(10, seconds(3600)).live();

        /// Most connections of one address at a time, however far they have come.
        /// One more is refused (reason code 0x97; return code 3 in version 3), over TLS without a
        /// handshake and so without a word. An IPv6 address counts with its /64.
        connections_per_address_max: Limit<u32> = Limit::Unlimited
            => flags(&["connections-per-address-max"]).at_least(1).live();

        /// Most new connections per second, of all addresses together, on average.
        /// A second's worth may come at once. Further ones wait in the operating system's queue until it
        /// is their turn; nobody is refused.
        connect_rate_max: Limit<u32> = Limit::Unlimited => flags(&["connect-rate-max"]).at_least(1)
            .live();

        /// Most new connections of one address per second, on average.
        /// A second's worth may come at once. One more is refused (reason code 0x9F; return code 3 in
        /// version 3), over TLS without a handshake and so without a word. An IPv6 address counts with
        /// its /64.
        connect_rate_per_address_max: Limit<u32> = Limit::Unlimited
            => flags(&["connect-rate-per-address-max"]).at_least(1).live();

        /// Most take-overs of a session, each within a minute of the last, until it is fought for.
        /// Then whoever comes with its client identifier waits for CONNACK, 250 ms at first and twice as
        /// long each time, 4 s at most, and a warning names both addresses. Of several who wait the last
        /// stays; the others are refused (reason code 0x9F; return code 3 in version 3).
        takeovers_max: Limit<u32> = Limit::At(10) => flags(&["takeovers-max"]).at_least(1).live();

        /// Wrong logins of one address after which further ones are refused.
        /// From the fifth on each has to wait before it is looked at, 100 ms at first and 4 s at most.
        /// Refused is with reason code 0x9F (return code 3 in version 3), and not who gave the right
        /// password before. An IPv6 address counts with its /64.
        login_failures_max: Limit<u32> = Limit::At(20) => flags(&["login-failures-max"])
            .at_least(1);

        /// How long an address must not be wrong until its wrong logins are forgotten.
        login_failures_time: Duration = Duration::from_secs(300) => flags(&["login-failures-time"])
            .range(seconds(1), seconds(86_400));

        /// Largest packet that a client may send.
        /// It is announced in version 5. A larger one closes the connection (reason code 0x95) as
        /// soon as its length is read.
        packet_bytes_max: Limit<ByteSize> = Limit::At(ByteSize(2_000_000))
            => flags(&["packet-bytes-max"]).range(64, PACKET_BYTES_GREATEST);

        /// Longest topic name or topic filter.
        /// A longer topic name closes the connection (reason code 0x90), or refuses the CONNECT whose
        /// will it is; a longer filter is refused in SUBACK (0x8F; 0x80 in version 3).
        topic_bytes_max: ByteSize = ByteSize(65_535) => flags(&["topic-bytes-max"])
            .range(1, TWO_BYTES);

        /// Most level separators (`/`) in a topic name or topic filter.
        /// One more has the same effect as a topic that is too long.
        topic_levels_max: u32 = 200 => flags(&["topic-levels-max"]).range(1, TWO_BYTES);

        /// Most messages of QoS 1 and 2 on their way to a client, not acknowledged yet.
        /// Further ones wait in the session's queue. A client may ask for fewer.
        inflight_out_max: u16 = 1000 => flags(&["inflight-out-max"]).range(1, TWO_BYTES).live();

        /// Most messages of QoS 1 and 2 from a client that are not acknowledged yet.
        /// It is announced in version 5, where one more closes the connection (reason code 0x93).
        /// Version 3 has no such announcement; there a client is not read while too many
        /// acknowledgements wait.
        inflight_in_max: u16 = 1000 => flags(&["inflight-in-max"]).range(1, TWO_BYTES);

        /// Most topic aliases that a version 5 client may use.
        /// It is announced. A greater one closes the connection (reason code 0x94). With `0` there are
        /// none.
        topic_aliases_in_max: u16 = 16 => flags(&["topic-aliases-in-max"]).range(0, TWO_BYTES);

        /// Most topic aliases that are used towards a version 5 client.
        /// A client may allow fewer, and by default allows none. Topics get them in the order of their
        /// first use. With `0` there are none.
        topic_aliases_out_max: u16 = 16 => flags(&["topic-aliases-out-max"]).range(0, TWO_BYTES)
            .live();

        /// Most packet ids of a client's QoS 2 messages that are kept until it releases them.
        /// One more closes the connection (reason code 0x93).
        qos2_ids_max: u16 = 1000 => flags(&["qos2-ids-max"]).range(1, TWO_BYTES).live();

        /// Most bytes for a connection that its socket has not taken yet.
        /// A client that lets them pile up counts as slow: QoS 0 beyond it is dropped and counted,
        /// QoS 1 and 2 wait in the session's queue.
        unsent_bytes_max: Limit<ByteSize> = Limit::At(ByteSize(MIB))
            => flags(&["unsent-bytes-max"]).at_least(KIB).live();

        /// Most messages that wait in a session's queue.
        /// A full queue takes no new message; see `session.on_queue_full`.
        queue_messages_max: Limit<u32> = Limit::At(100_000) => flags(&["queue-messages-max"])
            .at_least(1).live();

        /// Most memory that a session's queue takes.
        /// A full queue takes no new message; see `session.on_queue_full`.
        queue_memory_bytes_max: Limit<ByteSize> = Limit::At(ByteSize(64 * MIB))
            => flags(&["queue-memory-bytes-max"]).at_least(KIB).live();

        /// Most disk space that a session's queue takes.
        /// A full queue takes no new message; see `session.on_queue_full`.
        queue_disk_bytes_max: Limit<ByteSize> = Limit::At(ByteSize(GIB))
            => flags(&["queue-disk-bytes-max"]).at_least(KIB).live();

        /// Most subscriptions of a client.
        /// One more is refused in SUBACK (reason code 0x97; 0x80 in version 3).
        subscriptions_max: Limit<u32> = Limit::At(10_000) => flags(&["subscriptions-max"])
            .at_least(1).live();

        /// Most user properties in a packet, and in a will.
        /// One more closes the connection, or refuses the CONNECT (reason code 0x97).
        user_properties_max: u32 = 1000 => flags(&["user-properties-max"])
            .range(1, PACKET_BYTES_GREATEST / 5).live();

        /// Most retained messages of all clients.
        /// For a topic without one, one more is refused (reason code 0x97; in version 3, which cannot be
        /// told, the connection is closed without an acknowledgement, and QoS 0 is dropped). Others can
        /// be replaced and removed.
        retained_messages_max: Limit<u32> = Limit::Unlimited => flags(&["retained-messages-max"])
            .at_least(1).live();

        /// Most bytes of the topics, properties and payloads of all retained messages.
        /// One that would be more is refused in the same way, unless it is smaller than the one in whose
        /// place it comes.
        retained_bytes_max: Limit<ByteSize> = Limit::Unlimited => flags(&["retained-bytes-max"])
            .at_least(KIB).live();

        /// Most connections at a time.
        /// One more is refused (reason code 0x97; return code 3 in version 3). `auto` is what the
        /// operating system lets the broker open, less 100, or half of them if they are fewer than 200.
        connections_max: Auto<Limit<u32>> = Auto::Auto => flags(&["connections-max"]).at_least(1)
            .live();

        /// Most acknowledgements of a connection that wait for the store.
        /// Beyond it nothing is read from the connection until they have left.
        acks_waiting_max: Limit<u32> = Limit::At(1000) => flags(&["acks-waiting-max"])
            .at_least(1).live();

        /// Most bytes that wait to be written by the store.
        /// Beyond it nothing is read from publishers of durable messages until they are written.
        store_bytes_max: Limit<ByteSize> = Limit::At(ByteSize(64 * MIB))
            => flags(&["store-bytes-max"]).at_least(KIB);

        /// Most memory that messages, sessions and connections take.
        /// At 80 % of it those who send much are read slowly, at 90 % QoS 0 is dropped for whoever
        /// does not take it at once, and when it is reached nothing new is taken that would have to
        /// be kept (reason code 0x97). What the allocator needs beside is not counted.
        /// `auto` is 75 % of the memory of the machine or of its control group.
        memory_max: Auto<Limit<ByteSize>> = Auto::Auto => flags(&["memory-max"]).at_least(MIB)
            .live();
    }
}
