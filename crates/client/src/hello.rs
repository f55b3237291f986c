//! The greeting by which Noctule confirms that a client is served.

use std::time::{Duration, Instant};

use tokio::time::timeout;

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
        let begun = Instant::now();
        let granted = match timeout(patience, self.wait_until_connected()).await {
            Ok(granted) => granted?,
            Err(_) => return Ok(Hello::TimedOut),
        };
        let client_id = &granted.client_id;
        if client_id.is_empty() || client_id.contains(['+', '#', '\0']) {
            return Ok(Hello::Impossible);
        }
        let topic = format!("{TOPIC}{client_id}");
        let left = patience.saturating_sub(begun.elapsed());
        let answer = timeout(left, self.ask_for_hello(&topic)).await.unwrap_or(Ok(Hello::TimedOut));
        if matches!(answer, Ok(Hello::Confirmed | Hello::TimedOut)) {
            // A greeting that comes late is nobody's message.
            drop(self.unsubscribe(topic));
        }
        answer
    }

    async fn ask_for_hello(&self, topic: &str) -> Result<Hello, Error> {
        let mut greetings = match self.subscribe(Subscribe::new(topic)).await {
            Ok(greetings) => greetings,
            Err(Error::Refused { .. } | Error::Invalid(_)) => return Ok(Hello::Impossible),
            Err(error) => return Err(error),
        };
        while let Some(message) = greetings.next().await {
            if message.payload().as_ref() == b"HELLO" {
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
