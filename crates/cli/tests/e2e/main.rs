//! End to end: the binary as a user starts it, and the clients that other people wrote.
//!
//! Nothing here looks inside the broker. Each test starts its own broker on a free port of the
//! loopback, in a directory of its own, and waits for events (a line, a message, an exit), each
//! with a deadline; nobody sleeps and hopes. Foreign clients come from `cargo xtask prepare`.
//!
//! `NOCTULE_TEST_BROKER=host:port` points the tests of foreign clients at a broker that runs
//! already, for instance to see what another broker does with the same scripts.

mod aiomqtt_tests;
mod announced_tests;
mod asking;
mod authorization_tests;
mod aws_tests;
mod bench_tests;
mod both_ways_tests;
mod broker;
mod browser_tests;
mod cert;
mod client_adopting;
mod client_cuts;
mod client_restarts;
mod command_tests;
mod configuration;
mod conform_docs_tests;
mod conform_fault_tests;
mod conform_tests;
mod connection_tests;
mod dashboard_pty_tests;
mod dashboard_tests;
mod disk_troubles;
mod durable;
mod example_tests;
mod faulty_proxy;
mod foreign;
mod format_tests;
mod full_queue_tests;
mod gmqtt_tests;
mod handover_tests;
mod haproxy;
mod hello_tests;
mod hostile;
mod identity;
mod lamp;
mod lifecycle;
mod listeners;
mod login;
mod manual_tests;
mod mask;
mod meddler;
mod mosquitto;
mod mosquitto_broker;
mod mosquitto_conf_tests;
mod mosquitto_flag_tests;
mod mosquitto_same_tests;
mod mosquitto_tests;
mod mosquitto_user_tests;
mod mqttjs_tests;
mod observing;
mod paho_c_tests;
mod paho_tests;
mod passwd;
mod plays;
mod production;
mod program;
mod proxy;
mod pty;
mod quotas;
mod readme;
mod reloading;
mod room;
mod rumqttc_tests;
mod scram;
mod sensor_tests;
mod shell_pty_tests;
mod shell_tests;
mod specification_tests;
mod stage;
mod store;
mod store_costs;
mod sub_pty_tests;
mod tls;
mod tls_client;
mod tls_command_tests;
mod tls_files;
mod torture_tests;
mod transcript_tests;
mod unix_tests;
mod ways_in_tests;
mod ws_client;
mod ws_foreign_tests;
mod ws_tests;
