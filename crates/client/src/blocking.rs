//! The client for programs without async: the same, with functions that wait.
//!
//! A thread of its own runs the client's task. Functions here must not be called from inside an
//! async runtime, whose thread they would hold.
//!
//! ```no_run
//! use noctule_client::{ClientOptions, Publish, QoS, blocking};
//!
//! let client = blocking::Client::connect(ClientOptions::new("localhost", 1883))?;
//! client.publish(Publish::new("sensors/roof", "23.5").qos(QoS::AtLeastOnce))?;
//! client.disconnect()?;
//! # Ok::<(), noctule_client::Error>(())
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use noctule_mqtt::ReasonCode;
use tokio::runtime::{Builder, Runtime};

use crate::client::Publishing;
use crate::connected::Connected;
use crate::error::Error;
use crate::event::{Event, Status};
use crate::hello::Hello;
use crate::message::Message;
use crate::options::ClientOptions;
use crate::publish::Publish;
use crate::subscribe::Subscribe;

/// A handle to a client with a thread of its own. Dropped, it disconnects, which may take as long
/// as the [leave timeout](ClientOptions::leave_timeout).
#[derive(Debug)]
pub struct Client {
    client: Option<crate::Client>,
    runtime: Arc<Runtime>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Makes a client and starts to connect. The broker need not be there yet.
    ///
    /// # Errors
    /// What can be seen to be wrong without a connection; that no thread can be started.
    pub fn connect(options: ClientOptions) -> Result<Self, Error> {
        let no_thread = |error: std::io::Error| Error::Invalid(format!("no thread: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let runtime = Arc::new(runtime);
        let (client, driver) = {
            let _entered = runtime.enter();
            crate::Client::with_driver(options)?
        };
        let own = Arc::clone(&runtime);
        let thread = std::thread::Builder::new()
            .name("mqtt-client".into())
            .spawn(move || own.block_on(driver.run()))
            .map_err(no_thread)?;
        client.start();
        Ok(Self { client: Some(client), runtime, thread: Mutex::new(Some(thread)) })
    }

    fn client(&self) -> &crate::Client {
        self.client.as_ref().expect("taken in drop only")
    }

    /// As [`crate::Client::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish(&self, publish: Publish) -> Result<ReasonCode, Error> {
        self.wait(self.client().publish(publish))
    }

    /// As [`crate::Client::publish_later`]: [`PublishingHandle::wait`] waits for the outcome.
    ///
    /// # Errors
    /// As there.
    pub fn publish_later(&self, publish: Publish) -> Result<PublishingHandle, Error> {
        self.wait(self.client().publish_later(publish)).map(PublishingHandle)
    }

    /// As [`crate::Client::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Messages, Error> {
        self.wait(self.client().subscribe(subscribe)).map(Messages)
    }

    /// As [`crate::Client::subscribe_with`]: the callback runs in the client's thread.
    ///
    /// # Errors
    /// As there.
    pub fn subscribe_with(
        &self,
        subscribe: Subscribe,
        callback: impl FnMut(Message) + Send + 'static,
    ) -> Result<ReasonCode, Error> {
        self.client().subscribe_with(subscribe, callback).wait_blocking()
    }

    /// As [`crate::Client::unsubscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn unsubscribe(&self, filter: impl Into<String>) -> Result<ReasonCode, Error> {
        self.client().unsubscribe(filter).wait_blocking()
    }

    /// As [`crate::Client::wait_until_connected`], but not for longer than `patience`.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Ended`].
    pub fn wait_until_connected(&self, patience: Duration) -> Result<Arc<Connected>, Error> {
        self.wait(async {
            tokio::time::timeout(patience, self.client().wait_until_connected())
                .await
                .unwrap_or(Err(Error::TimedOut(patience)))
        })
    }

    /// As [`crate::Client::wait_for_hello`].
    ///
    /// # Errors
    /// As there.
    pub fn wait_for_hello(&self, patience: Duration) -> Result<Hello, Error> {
        self.wait(self.client().wait_for_hello(patience))
    }

    /// The events from now on; see [`Events::next`].
    pub fn events(&self) -> Events {
        Events { events: self.client().events(), runtime: Arc::clone(&self.runtime) }
    }

    /// The state of the connection.
    pub fn status(&self) -> Status {
        self.client().status()
    }

    /// As [`crate::Client::reauthenticate`].
    ///
    /// # Errors
    /// [`Error::Invalid`] without an authentication method; [`Error::ConnectionLost`],
    /// [`Error::Ended`].
    pub fn reauthenticate(&self) -> Result<ReasonCode, Error> {
        self.client().reauthenticate().wait_blocking()
    }

    /// As [`crate::Client::disconnect`]; the thread has ended when it returns.
    ///
    /// # Errors
    /// As there.
    pub fn disconnect(&self) -> Result<(), Error> {
        let outcome = self.wait(self.client().disconnect());
        self.join();
        outcome
    }

    /// Waits in this thread; the client's task runs in its own, and timers in either.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A callback that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let client = self.client.take();
        if let Some(client) = client {
            // Nobody is left to be told of an error.
            let _ = self.wait(client.disconnect());
        }
        self.join();
    }
}

/// A message that was handed over.
#[derive(Debug)]
#[must_use = "nobody learns whether it failed"]
pub struct PublishingHandle(Publishing);

impl PublishingHandle {
    /// Waits until the promise of the message's QoS is fulfilled.
    ///
    /// # Errors
    /// As [`crate::Client::publish`].
    pub fn wait(self) -> Result<ReasonCode, Error> {
        self.0.wait_blocking()
    }
}

/// The messages of a subscription, as an iterator that waits.
#[derive(Debug)]
pub struct Messages(crate::Messages);

impl Messages {
    /// The next message, if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.0.try_next()
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.0.next_blocking()
    }
}

/// The events of a client, as an iterator that waits.
#[derive(Debug)]
pub struct Events {
    events: crate::Events,
    runtime: Arc<Runtime>,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.runtime.block_on(self.events.next())
    }
}
