//! The one task of a client: carries out what the machine decides, and tells it what happened.
//!
//! No rule of MQTT is here. The task ends when the machine has, and nothing of it is left then: no
//! task, no timer, no socket.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, pending, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use noctule_mqtt::ReasonCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::ClientConfig;

use crate::error::Error;
use crate::event::{Event, Status};
use crate::machine::{Action, Machine, ReceiverId, Token};
use crate::message::Message;
use crate::options::ClientOptions;
use crate::publish::Outgoing;
use crate::reason::Reason;
use crate::subscribe::Wanted;
use crate::transport::{self, Connection};

/// Where the outcome of a request goes.
pub(crate) type Outcome = oneshot::Sender<Result<ReasonCode, Error>>;

/// A message to be published, and who wants to know.
pub(crate) type PublishRequest = (Outgoing, Option<Outcome>);

/// Where the messages of a subscription go.
pub(crate) enum Recipient {
    Stream(mpsc::Sender<Message>),
    Callback(Box<dyn FnMut(Message) + Send>),
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Callback(_) => "Callback",
        })
    }
}

/// What the handles ask for, apart from publishing.
#[derive(Debug)]
pub(crate) enum Control {
    Start,
    Subscribe { wanted: Wanted, recipient: Option<(ReceiverId, Recipient)>, outcome: Outcome },
    Rest { id: ReceiverId, recipient: Recipient },
    Unsubscribe { filter: String, outcome: Outcome },
    ProveAgain { outcome: Outcome },
    Forget(ReceiverId),
    Leave,
}

/// The driver's ends of the channels to the handles.
pub(crate) struct Channels {
    pub(crate) publishes: mpsc::Receiver<PublishRequest>,
    pub(crate) controls: mpsc::UnboundedReceiver<Control>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) events: broadcast::Sender<Event>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Connection, Reason>> + Send>>;

/// See the module.
pub(crate) struct Driver {
    machine: Machine,
    options: Arc<ClientOptions>,
    tls: Option<Arc<ClientConfig>>,
    channels: Channels,
    began: Instant,
    opening: Option<Opening>,
    connection: Option<Connection>,
    /// Whether something written may still be on its way through TLS.
    needs_flush: bool,
    recipients: HashMap<ReceiverId, Recipient>,
    /// Messages whose recipient has no room.
    held: VecDeque<(ReceiverId, Message)>,
    outcomes: HashMap<Token, Outcome>,
    last_token: u64,
    buffer: Box<[u8]>,
}

/// What ended a wait.
enum Happening {
    Opened(Result<Connection, Reason>),
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Asked(Option<Control>),
    Publish(Option<PublishRequest>),
    Room,
    Deadline,
}

impl Driver {
    pub(crate) fn new(
        options: Arc<ClientOptions>,
        tls: Option<Arc<ClientConfig>>,
        channels: Channels,
    ) -> Self {
        Self {
            machine: Machine::new(Arc::clone(&options), fastrand::u64(..)),
            options,
            tls,
            channels,
            began: Instant::now(),
            opening: None,
            connection: None,
            needs_flush: false,
            recipients: HashMap::new(),
            held: VecDeque::new(),
            outcomes: HashMap::new(),
            last_token: 0,
            buffer: vec![0; READ_BYTES].into(),
        }
    }

    /// Runs until the client has ended.
    pub(crate) async fn run(mut self) {
        while self.machine.ended().is_none() {
            let happening = self.wait().await;
            self.handle(happening);
            self.carry_out().await;
            self.write_now().await;
            self.carry_out().await;
        }
        self.refuse_the_rest();
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for whatever comes first. Every branch may be given up without a loss.
    async fn wait(&mut self) -> Happening {
        let deadline =
            self.machine.next_deadline().map(|ms| self.began + Duration::from_millis(ms));
        let reads = self.held.is_empty() && !self.machine.output_is_full();
        let publishes = self.machine.wants_publishes() && !self.machine.output_is_full();
        let (reader, writer) = match &mut self.connection {
            Some(connection) => (Some(&mut connection.reader), Some(&mut connection.writer)),
            None => (None, None),
        };
        let output = self.machine.output();
        let full = match self.held.front().and_then(|(id, _)| self.recipients.get(id)) {
            Some(Recipient::Stream(stream)) => Some(stream.clone()),
            _ => None,
        };
        let room = async move {
            if let Some(stream) = full {
                // The permit is given back; nobody else sends.
                drop(stream.reserve().await);
            }
        };
        let write = async {
            match writer {
                Some(writer) if !output.is_empty() => Happening::Wrote(writer.write(output).await),
                Some(writer) if self.needs_flush => Happening::Flushed(writer.flush().await),
                _ => pending().await,
            }
        };
        tokio::select! {
            opened = or_never(self.opening.as_mut()) => Happening::Opened(opened),
            read = async {
                match reader {
                    Some(reader) => reader.read(&mut self.buffer).await,
                    None => pending().await,
                }
            }, if reads => Happening::Read(read),
            written = write => written,
            control = self.channels.controls.recv() => Happening::Asked(control),
            publish = self.channels.publishes.recv(), if publishes => Happening::Publish(publish),
            () = room, if !self.held.is_empty() => Happening::Room,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                Happening::Deadline
            }
        }
    }

    fn handle(&mut self, happening: Happening) {
        let now_ms = self.now_ms();
        match happening {
            Happening::Opened(Ok(connection)) => {
                self.opening = None;
                self.machine.opened(now_ms, connection.certificates.clone());
                self.connection = Some(connection);
            }
            Happening::Opened(Err(reason)) => {
                self.opening = None;
                self.machine.lost(now_ms, reason);
            }
            Happening::Read(Ok(0)) => self.machine.lost(now_ms, Reason::Closed),
            Happening::Read(Ok(count)) => self.machine.received(now_ms, &self.buffer[..count]),
            Happening::Wrote(Ok(count)) => self.wrote(now_ms, count),
            Happening::Flushed(Ok(())) => self.needs_flush = false,
            Happening::Read(Err(error))
            | Happening::Wrote(Err(error))
            | Happening::Flushed(Err(error)) => self.machine.lost(now_ms, broke(&error)),
            Happening::Asked(control) => self.on_control(now_ms, control),
            Happening::Publish(request) => self.on_publish(now_ms, request),
            Happening::Room => self.hand_out_held(),
            Happening::Deadline => self.machine.tick(now_ms),
        }
    }

    fn wrote(&mut self, now_ms: u64, count: usize) {
        self.needs_flush = true;
        if count == 0 {
            return self.machine.lost(now_ms, Reason::Closed);
        }
        self.machine.wrote(now_ms, count);
    }

    /// Takes what waits with the first message too, so that they leave together. What was asked for
    /// before a message goes before it: whoever subscribes and then publishes sees the message.
    fn on_publish(&mut self, now_ms: u64, first: Option<PublishRequest>) {
        let mut next = first;
        while let Some((publish, outcome)) = next {
            let leaves = self.catch_up(now_ms);
            let token = outcome.map(|outcome| self.expect(outcome));
            self.machine.publish(now_ms, publish, token);
            if leaves {
                return self.on_leave(now_ms);
            }
            let goes_on = self.machine.wants_publishes() && !self.machine.output_is_full();
            next = if goes_on { self.channels.publishes.try_recv().ok() } else { None };
        }
    }

    /// Does what has been asked for so far, but for leaving: whether that was asked for, too.
    fn catch_up(&mut self, now_ms: u64) -> bool {
        while let Ok(control) = self.channels.controls.try_recv() {
            if matches!(control, Control::Leave) {
                return true;
            }
            self.on_control(now_ms, Some(control));
        }
        false
    }

    fn on_control(&mut self, now_ms: u64, control: Option<Control>) {
        match control {
            Some(Control::Start) => self.machine.start(now_ms),
            Some(Control::Subscribe { wanted, recipient, outcome }) => {
                let receiver = recipient.map(|(id, recipient)| {
                    self.recipients.insert(id, recipient);
                    id
                });
                let token = self.expect(outcome);
                self.machine.subscribe(now_ms, wanted, receiver, Some(token));
            }
            Some(Control::Rest { id, recipient }) => {
                self.recipients.insert(id, recipient);
                self.machine.add_rest(id);
            }
            Some(Control::Unsubscribe { filter, outcome }) => {
                let token = self.expect(outcome);
                self.machine.unsubscribe(now_ms, filter, Some(token));
            }
            Some(Control::ProveAgain { outcome }) => {
                let token = self.expect(outcome);
                self.machine.prove_again(now_ms, token);
            }
            Some(Control::Forget(id)) => {
                self.recipients.remove(&id);
                self.machine.forget_receiver(id);
                self.hand_out_held();
            }
            Some(Control::Leave) | None => self.on_leave(now_ms),
        }
    }

    /// What was published before the wish to leave is still taken.
    fn on_leave(&mut self, now_ms: u64) {
        self.channels.publishes.close();
        while let Ok((publish, outcome)) = self.channels.publishes.try_recv() {
            let token = outcome.map(|outcome| self.expect(outcome));
            self.machine.publish(now_ms, publish, token);
        }
        self.machine.leave(now_ms);
    }

    fn expect(&mut self, outcome: Outcome) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.outcomes.insert(token, outcome);
        token
    }

    async fn carry_out(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Open => {
                    let open = transport::open(
                        self.options.address.clone(),
                        self.options.bind_address,
                        self.tls.clone(),
                    );
                    self.opening = Some(Box::pin(open));
                }
                Action::Close { last_words } => self.close(last_words).await,
                Action::Tell(event) => self.tell(event),
                Action::Deliver { message, to } => self.deliver(&message, &to),
                Action::EndReceiver(id) => {
                    self.held.retain(|(held, _)| *held != id);
                    self.recipients.remove(&id);
                }
                Action::Answer(token, outcome) => {
                    if let Some(waiting) = self.outcomes.remove(&token) {
                        // Whoever asked may not want to know any more.
                        let _ = waiting.send(outcome);
                    }
                }
                Action::End(reason) => {
                    self.channels.status.send_replace(Status::Ended(reason));
                }
            }
        }
    }

    async fn close(&mut self, last_words: Vec<u8>) {
        self.opening = None;
        self.needs_flush = false;
        let mut all_written = false;
        if let Some(connection) = self.connection.take()
            && !last_words.is_empty()
        {
            let farewell = farewell(connection, &last_words);
            all_written = timeout(FAREWELL, farewell).await.is_ok_and(|written| written.is_ok());
        }
        let now_ms = self.now_ms();
        self.machine.closed(now_ms, all_written);
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Connected(granted) => {
                self.channels.status.send_replace(Status::Connected(Arc::clone(granted)));
            }
            Event::Disconnected(_) => {
                self.channels.status.send_replace(Status::Waiting);
            }
            Event::Reconnecting { .. } | Event::SubscriptionLost { .. } | Event::Ended(_) => {}
        }
        if let Some(callback) = &self.options.on_event {
            callback(&event);
        }
        // Nobody need listen.
        let _ = self.channels.events.send(event);
    }

    fn deliver(&mut self, message: &Message, to: &[ReceiverId]) {
        for id in to {
            if self.held.is_empty() {
                self.hand_to(*id, message.clone());
            } else {
                self.held.push_back((*id, message.clone()));
            }
        }
        self.note_pause();
    }

    /// Hands a message out, or holds it if there is no room.
    fn hand_to(&mut self, id: ReceiverId, message: Message) {
        match self.recipients.get_mut(&id) {
            Some(Recipient::Callback(callback)) => callback(message),
            Some(Recipient::Stream(stream)) => {
                if let Err(mpsc::error::TrySendError::Full(message)) = stream.try_send(message) {
                    self.held.push_front((id, message));
                }
            }
            None => {}
        }
    }

    fn hand_out_held(&mut self) {
        while let Some((id, message)) = self.held.pop_front() {
            let before = self.held.len();
            self.hand_to(id, message);
            if self.held.len() > before {
                break;
            }
        }
        self.note_pause();
    }

    fn note_pause(&mut self) {
        let now_ms = self.now_ms();
        self.machine.pause(now_ms, !self.held.is_empty());
    }

    /// Writes as much as can be written without waiting.
    async fn write_now(&mut self) {
        while let Some(connection) = &mut self.connection {
            let output = self.machine.output();
            let step = async {
                if !output.is_empty() {
                    Happening::Wrote(connection.writer.write(output).await)
                } else if self.needs_flush {
                    Happening::Flushed(connection.writer.flush().await)
                } else {
                    pending().await
                }
            };
            let happening = tokio::select! {
                biased;
                happening = step => happening,
                () = ready(()) => break,
            };
            self.handle(happening);
            self.carry_out().await;
        }
    }

    /// The client has ended: what still comes is told so.
    fn refuse_the_rest(&mut self) {
        let Some(reason) = self.machine.ended().cloned() else { return };
        self.channels.publishes.close();
        self.channels.controls.close();
        while let Ok((_, outcome)) = self.channels.publishes.try_recv() {
            let refused = outcome.map(|outcome| outcome.send(Err(Error::Ended(reason.clone()))));
            drop(refused);
        }
        while let Ok(control) = self.channels.controls.try_recv() {
            if let Control::Subscribe { outcome, .. } | Control::Unsubscribe { outcome, .. } =
                control
            {
                let _ = outcome.send(Err(Error::Ended(reason.clone())));
            }
        }
    }
}

async fn or_never(opening: Option<&mut Opening>) -> Result<Connection, Reason> {
    match opening {
        Some(opening) => opening.await,
        None => pending().await,
    }
}

/// Writes the last bytes, and waits until the peer has closed: data that nobody reads here would
/// otherwise make the system take back what was written.
async fn farewell(mut connection: Connection, last_words: &[u8]) -> io::Result<()> {
    connection.writer.write_all(last_words).await?;
    connection.writer.flush().await?;
    // It has been said; whether the peer closes in good order is its own matter.
    let _ = timeout(LINGER, async {
        connection.writer.shutdown().await?;
        let mut rest = [0; 4096];
        while connection.reader.read(&mut rest).await? != 0 {}
        io::Result::Ok(())
    })
    .await;
    Ok(())
}

fn broke(error: &io::Error) -> Reason {
    match error.kind() {
        // A peer that closes TLS without saying so.
        io::ErrorKind::UnexpectedEof => Reason::Closed,
        _ => Reason::Network(format!("the connection broke: {error}")),
    }
}

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the peer may take to close after them.
const LINGER: Duration = Duration::from_millis(500);
