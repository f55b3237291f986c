//! The greeting by which Noctule confirms that a client is served.

use std::time::Duration;

use crate::client::Client;
use crate::error::Error;
use crate::subscribe::Subscribe;

/// What came of waiting for the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// It came.
    Confirmed,
    /// It did not come in time: another broker, or one that does not greet.
    TimedOut,
    /// The client identifier is unknown or cannot be part of a topic, so no greeting can come.
    Impossible,
}

impl Client {
    /// Waits for `HELLO` on `$SYS/broker/connection/{client_id}`, by which a Noctule broker
    /// confirms that this connection is served. The client asks for it by subscribing to that
    /// topic. Waits for the connection, too; `patience` is for both.
    ///
    /// # Errors
    /// [`Error::Ended`] if the client ends meanwhile.
    pub async fn wait_for_hello(&self, patience: Duration) -> Result<Hello, Error> {
        match tokio::time::timeout(patience, self.ask_for_hello()).await {
            Ok(answer) => answer,
            Err(_) => Ok(Hello::TimedOut),
        }
    }

    async fn ask_for_hello(&self) -> Result<Hello, Error> {
        let client_id = self.wait_until_connected().await?.client_id.clone();
        if client_id.is_empty() || client_id.contains(['+', '#', '\0']) {
            return Ok(Hello::Impossible);
        }
        let topic = format!("{TOPIC}{client_id}");
        let mut greetings = match self.subscribe(Subscribe::new(topic.as_str())).await {
            Ok(greetings) => greetings,
            Err(Error::Refused { .. } | Error::Invalid(_)) => return Ok(Hello::Impossible),
            Err(error) => return Err(error),
        };
        while let Some(message) = greetings.next().await {
            if message.payload().as_ref() == b"HELLO" {
                // Whether the subscription is ended is of no consequence.
                drop(self.unsubscribe(topic));
                return Ok(Hello::Confirmed);
            }
        }
        match self.ended() {
            Some(reason) => Err(Error::Ended(reason)),
            None => Ok(Hello::Impossible),
        }
    }
}

const TOPIC: &str = "$SYS/broker/connection/";
