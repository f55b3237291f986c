//! End to end: the binary as a user starts it, and the clients that other people wrote.
//!
//! Nothing here looks inside the broker. Each test starts its own broker on a free port of the
//! loopback, in a directory of its own, and waits for events (a line, a message, an exit), each
//! with a deadline; nobody sleeps and hopes. Foreign clients come from `cargo xtask prepare`.
//!
//! `NOCTULE_TEST_BROKER=host:port` points the tests of foreign clients at a broker that runs
//! already, for instance to see what another broker does with the same scripts.

mod broker;
mod cert;
mod client_cuts;
mod client_restarts;
mod command_tests;
mod configuration;
mod dashboard_tests;
mod disk_troubles;
mod durable;
mod example_tests;
mod foreign;
mod format_tests;
mod hostile;
mod lifecycle;
mod login;
mod mosquitto;
mod mosquitto_broker;
mod mosquitto_tests;
mod mqttjs_tests;
mod observing;
mod paho_tests;
mod passwd;
mod program;
mod proxy;
mod room;
mod sensor_tests;
mod shell_tests;
mod store;
mod tls;
mod tls_client;
mod tls_command_tests;
mod tls_files;
mod torture_tests;
