//! An MQTT client for MQTT 5 and 3.1.1 by one interface, on tokio, over TCP, TLS, WebSocket and
//! Unix sockets.
//!
//! A [`Client`] is a handle to one task, which connects, reconnects and resumes; it may be cloned
//! and used from anywhere. Publishing returns when the promise of the message's QoS is fulfilled,
//! subscribing gives a stream of messages. Connections that are lost come back by themselves:
//! subscriptions are restored, messages at QoS 1 and 2 that were under way are sent again as MQTT
//! allows, and what is published meanwhile waits in a queue with a limit.
//!
//! ```no_run
//! use noctule_client::{Client, ClientOptions, Publish, QoS, Subscribe};
//!
//! # async fn example() -> Result<(), noctule_client::Error> {
//! let client = Client::connect(ClientOptions::new("localhost", 1883))?;
//! let mut messages = client.subscribe(Subscribe::new("sensors/+").qos(QoS::AtLeastOnce)).await?;
//! client.publish(Publish::new("sensors/roof", "23.5").qos(QoS::AtLeastOnce)).await?;
//! while let Some(message) = messages.next().await {
//!     println!("{}: {:?}", message.topic(), message.payload());
//! }
//! client.disconnect().await
//! # }
//! ```
//!
//! Inside, `machine` decides and knows neither socket nor clock; `driver` is the one task that
//! carries out its decisions. What a network peer sends never panics, and what it can make grow
//! has a bound in [`ClientOptions`].

pub mod blocking;

mod address;
mod client;
mod connected;
mod driver;
mod error;
mod event;
mod hello;
mod machine;
mod message;
mod messages;
mod options;
mod publish;
mod reason;
mod reconnect;
mod subscribe;
mod tls;
mod transport;
mod verifier;
mod web_socket;

pub use address::{Address, AddressError, Transport};
pub use client::{Client, Publishing, Subscribing};
pub use connected::Connected;
pub use error::Error;
pub use event::{Event, Events, Status};
pub use hello::Hello;
pub use message::Message;
pub use messages::Messages;
pub use options::{Authentication, ClientOptions, Limits, Session};
pub use publish::{Publish, Will};
pub use reason::{Reason, Refusal, explain_refusal};
pub use reconnect::Reconnect;
pub use subscribe::Subscribe;
pub use tls::{TlsError, TlsOptions};
/// What [`TlsOptions::client_config`] makes.
pub use tokio_rustls::rustls::ClientConfig;

pub use bytes::Bytes;
pub use noctule_mqtt::packet::RetainHandling;
pub use noctule_mqtt::property::Carrier;
pub use noctule_mqtt::{
    PacketType, Properties, Property, PropertyBuffer, PropertyId, ProtocolVersion, QoS, ReasonCode,
    TopicFilter, TopicName,
};
/// Why an authentication failed.
pub use noctule_scram::ScramError;
