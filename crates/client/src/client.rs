//! The handle to a client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use noctule_mqtt::ReasonCode;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::connected::Connected;
use crate::driver::{Channels, Control, Driver, PublishRequest, Recipient};
use crate::error::Error;
use crate::event::{EVENTS_KEPT, Event, Events, Status};
use crate::machine::ReceiverId;
use crate::message::Message;
use crate::messages::Messages;
use crate::options::ClientOptions;
use crate::publish::Publish;
use crate::reason::Reason;
use crate::subscribe::{Subscribe, checked_filter};

/// A handle to a client; clones are handles to the same one.
///
/// When the last handle and the last [`Messages`] are gone, the client disconnects by itself, after
/// finishing what is under way.
#[derive(Clone, Debug)]
pub struct Client {
    publishes: mpsc::Sender<PublishRequest>,
    controls: mpsc::UnboundedSender<Control>,
    status: watch::Receiver<Status>,
    events: broadcast::WeakSender<Event>,
    receivers: Arc<AtomicU64>,
    stream_count_max: usize,
}

impl Client {
    /// Makes a client and starts to connect. The broker need not be there yet.
    ///
    /// # Errors
    /// What can be seen to be wrong without a connection: options, TLS files.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub fn connect(options: ClientOptions) -> Result<Self, Error> {
        let client = Self::prepare(options)?;
        client.start();
        Ok(client)
    }

    /// Makes a client that does nothing until [`start`](Self::start): time to subscribe first, so
    /// that no message of a resumed session is missed, and to ask for events.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub fn prepare(options: ClientOptions) -> Result<Self, Error> {
        let (client, driver) = Self::with_driver(options)?;
        tokio::spawn(driver.run());
        Ok(client)
    }

    /// A client and its task, which the caller has to run.
    pub(crate) fn with_driver(options: ClientOptions) -> Result<(Self, Driver), Error> {
        options.check()?;
        let tls = match &options.tls {
            Some(tls) => Some(Arc::new(tls.config()?)),
            None => None,
        };
        let options = Arc::new(options);
        let (publishes, publishes_out) = mpsc::channel(PUBLISHES_WAITING);
        let (controls, controls_out) = mpsc::unbounded_channel();
        let (status, status_out) = watch::channel(Status::Waiting);
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let client = Self {
            publishes,
            controls,
            status: status_out,
            events: events.downgrade(),
            receivers: Arc::default(),
            stream_count_max: options.limits.stream_count_max,
        };
        let channels =
            Channels { publishes: publishes_out, controls: controls_out, status, events };
        Ok((client, Driver::new(options, tls, channels)))
    }

    /// Starts to connect. A second time does nothing.
    pub fn start(&self) {
        // A client that has ended does not start.
        let _ = self.controls.send(Control::Start);
    }

    /// Publishes a message and returns when the promise of its QoS is fulfilled: written to the
    /// connection (0), acknowledged (1), completed (2); with the broker's reason code, such as "no
    /// matching subscribers". Without a connection the message waits for one.
    ///
    /// If the future is dropped the message is published all the same, unless it had not been
    /// taken over yet, which happens while as many messages wait as may.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an impossible topic or property; [`Error::QueueFull`] while there is
    /// no connection and too much waits; what the broker refuses or does not offer;
    /// [`Error::ConnectionLost`] at QoS 0; [`Error::Ended`].
    pub async fn publish(&self, publish: Publish) -> Result<ReasonCode, Error> {
        self.publish_later(publish).await?.await
    }

    /// Hands a message over and returns a [`Publishing`] to wait for. Messages are sent in the
    /// order in which they were handed over. Waits while as many messages wait as may.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Ended`].
    pub async fn publish_later(&self, publish: Publish) -> Result<Publishing, Error> {
        let outgoing = publish.check()?;
        let (outcome, publishing) = oneshot::channel();
        if self.publishes.send((outgoing, Some(outcome))).await.is_err() {
            return Err(self.ended_error());
        }
        Ok(Publishing(publishing))
    }

    /// As [`publish_later`](Self::publish_later), without waiting.
    ///
    /// # Errors
    /// [`Error::QueueFull`] also if there is a connection; [`Error::Invalid`], [`Error::Ended`].
    pub fn try_publish(&self, publish: Publish) -> Result<Publishing, Error> {
        let outgoing = publish.check()?;
        let bytes = outgoing.bytes();
        let (outcome, publishing) = oneshot::channel();
        match self.publishes.try_send((outgoing, Some(outcome))) {
            Ok(()) => Ok(Publishing(publishing)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.ended_error()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::QueueFull {
                messages: PUBLISHES_WAITING,
                messages_max: PUBLISHES_WAITING,
                bytes,
                bytes_max: bytes,
            }),
        }
    }

    /// Subscribes. What is returned can be awaited for the stream of messages, once the broker has
    /// granted the subscription; the stream exists at once, see [`Subscribing::split`].
    ///
    /// The subscription belongs to the client and not to the connection: it is made again whenever
    /// the broker has lost the session.
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscribing {
        let (sender, receiver) = mpsc::channel(self.stream_count_max);
        let id = self.next_receiver();
        let messages = Messages { receiver, id, controls: self.controls.clone() };
        let granted = self.request(subscribe, Some((id, Recipient::Stream(sender))));
        Subscribing { messages: Some(messages), granted }
    }

    /// Subscribes with a callback instead of a stream. It is called in the client's task for each
    /// message and must not wait for anything. Returns what the broker granted.
    ///
    /// # Errors
    /// As awaiting [`subscribe`](Self::subscribe).
    pub fn subscribe_with(
        &self,
        subscribe: Subscribe,
        callback: impl FnMut(Message) + Send + 'static,
    ) -> Publishing {
        let id = self.next_receiver();
        self.request(subscribe, Some((id, Recipient::Callback(Box::new(callback)))))
    }

    /// Subscribes without a stream of its own: the messages go to
    /// [`other_messages`](Self::other_messages), in the order in which they come for all such
    /// subscriptions together. Returns what the broker granted.
    pub fn subscribe_only(&self, subscribe: Subscribe) -> Publishing {
        self.request(subscribe, None)
    }

    /// The messages that no stream or callback of this client is for: those of a resumed session whose
    /// filters were not subscribed to again, and greetings of a broker.
    pub fn other_messages(&self) -> Messages {
        let (sender, receiver) = mpsc::channel(self.stream_count_max);
        let id = self.next_receiver();
        // A client that has ended gets no messages: the stream ends at once.
        let _ = self.controls.send(Control::Rest { id, recipient: Recipient::Stream(sender) });
        Messages { receiver, id, controls: self.controls.clone() }
    }

    /// Ends the subscription to `filter`, and with it the streams. What is returned can be awaited
    /// for the broker's answer.
    pub fn unsubscribe(&self, filter: impl Into<String>) -> Publishing {
        let filter = filter.into();
        if let Err(error) = checked_filter(&filter) {
            return Publishing::failed(error);
        }
        let (outcome, answer) = oneshot::channel();
        match self.controls.send(Control::Unsubscribe { filter, outcome }) {
            Ok(()) => Publishing(answer),
            Err(_) => Publishing::failed(self.ended_error()),
        }
    }

    /// Proves again who the client is, with its [authentication
    /// method](ClientOptions::authentication), while everything else goes on. What is returned can be
    /// awaited for the outcome; if the broker does not accept the proof, the connection ends.
    pub fn reauthenticate(&self) -> Publishing {
        let (outcome, answer) = oneshot::channel();
        match self.controls.send(Control::ProveAgain { outcome }) {
            Ok(()) => Publishing(answer),
            Err(_) => Publishing::failed(self.ended_error()),
        }
    }

    fn request(
        &self,
        subscribe: Subscribe,
        recipient: Option<(ReceiverId, Recipient)>,
    ) -> Publishing {
        let wanted = match subscribe.check() {
            Ok(wanted) => wanted,
            Err(error) => return Publishing::failed(error),
        };
        let (outcome, answer) = oneshot::channel();
        match self.controls.send(Control::Subscribe { wanted, recipient, outcome }) {
            Ok(()) => Publishing(answer),
            Err(_) => Publishing::failed(self.ended_error()),
        }
    }

    fn next_receiver(&self) -> ReceiverId {
        ReceiverId(self.receivers.fetch_add(1, Ordering::Relaxed))
    }

    /// The events from now on.
    pub fn events(&self) -> Events {
        Events(match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // It has ended: so have the events.
            None => broadcast::channel(1).1,
        })
    }

    /// The state of the connection.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Why the client has ended, if it has.
    pub fn ended(&self) -> Option<Arc<Reason>> {
        match self.status() {
            Status::Ended(reason) => Some(reason),
            Status::Waiting | Status::Connected(_) => None,
        }
    }

    /// Returns when there is a connection, at once if there is one already.
    ///
    /// # Errors
    /// [`Error::Ended`] if the client ends meanwhile.
    pub async fn wait_until_connected(&self) -> Result<Arc<Connected>, Error> {
        let mut status = self.status.clone();
        loop {
            match &*status.borrow_and_update() {
                Status::Connected(granted) => return Ok(Arc::clone(granted)),
                Status::Ended(reason) => return Err(Error::Ended(Arc::clone(reason))),
                Status::Waiting => {}
            }
            if status.changed().await.is_err() {
                return Err(self.ended_error());
            }
        }
    }

    /// Finishes what is under way, for at most the [leave
    /// timeout](ClientOptions::leave_timeout), says DISCONNECT and ends the client. Returns when
    /// nothing of it is left. What still waits without a connection is given up.
    ///
    /// # Errors
    /// [`Error::Ended`] if it had ended before for another reason.
    pub async fn disconnect(&self) -> Result<(), Error> {
        // If nobody listens it has ended, which is what is wanted.
        let _ = self.controls.send(Control::Leave);
        self.controls.closed().await;
        match self.ended() {
            Some(reason) if *reason != Reason::Asked => Err(Error::Ended(reason)),
            _ => Ok(()),
        }
    }

    fn ended_error(&self) -> Error {
        // If the task was dropped with its runtime, nobody gave a reason.
        Error::Ended(self.ended().unwrap_or_else(|| Arc::new(Reason::Asked)))
    }
}

/// A request under way: a future of its outcome. Dropping it does not take the request back.
#[derive(Debug)]
#[must_use = "nobody learns whether it failed"]
pub struct Publishing(oneshot::Receiver<Result<ReasonCode, Error>>);

impl Publishing {
    fn failed(error: Error) -> Self {
        let (outcome, answer) = oneshot::channel();
        // The other end is right here.
        let _ = outcome.send(Err(error));
        Self(answer)
    }

    /// Waits for the outcome; for threads outside of the runtime.
    pub(crate) fn wait_blocking(self) -> Result<ReasonCode, Error> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Future for Publishing {
    type Output = Result<ReasonCode, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or_else(|_| Err(gone())))
    }
}

/// The task was dropped with its runtime.
fn gone() -> Error {
    Error::Ended(Arc::new(Reason::Asked))
}

/// A subscription under way: a future of the stream of messages.
#[derive(Debug)]
#[must_use = "without it nobody gets the messages"]
pub struct Subscribing {
    messages: Option<Messages>,
    granted: Publishing,
}

impl Subscribing {
    /// The stream at once, and what the broker grants: the code for the QoS, or an error.
    ///
    /// # Panics
    /// If it was awaited to its end before.
    pub fn split(mut self) -> (Messages, Publishing) {
        (self.messages.take().expect("it has not been awaited to its end"), self.granted)
    }
}

impl Future for Subscribing {
    type Output = Result<Messages, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = std::task::ready!(Pin::new(&mut self.granted).poll(context));
        Poll::Ready(granted.and_then(|_| self.messages.take().ok_or_else(gone)))
    }
}

/// How many messages may lie between handles and task; the queue's limits count behind it.
const PUBLISHES_WAITING: usize = 64;
