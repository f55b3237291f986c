//! Carrying orders out: a client in a runtime of its own, which answers when it can.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use noctule_client::{
    Client, Event, Events, Hello, Message, Publish, Publishing, Reason, ReasonCode, Status,
    Subscribe,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Completion, Order, Screen};
use crate::client_arguments::Connection;
use crate::client_run::{interrupted, leave, terminated};
use crate::output;

/// A shell's client, and what it is made of.
pub(crate) struct Session {
    runtime: Runtime,
    screen: Screen,
    completion: Completion,
    connection: Connection,
    client: Option<Client>,
    /// The same client, for whoever ends the shell from outside.
    current: Arc<Mutex<Option<Client>>>,
    /// Those who say what becomes of requests.
    outcomes: JoinSet<()>,
}

/// How long a connection, and then the greeting, is waited for before the prompt comes back.
const PATIENCE: Duration = Duration::from_secs(5);

impl Session {
    pub(crate) fn new(
        runtime: Runtime,
        screen: Screen,
        completion: Completion,
        connection: Connection,
    ) -> Self {
        let (client, current, outcomes) = (None, Arc::default(), JoinSet::new());
        Self { runtime, screen, completion, connection, client, current, outcomes }
    }

    /// From now on the system can end the shell in good order (SIGTERM), and if orders do not come
    /// from a terminal, where Ctrl-C is a key, so can Ctrl-C. The program ends with it: the thread
    /// that reads lines cannot be woken.
    pub(crate) fn heed_signals(&self, from_terminal: bool) {
        let current = Arc::clone(&self.current);
        self.runtime.spawn(async move {
            if from_terminal {
                terminated().await;
            } else {
                interrupted().await;
            }
            let client = current.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(client) = client {
                leave(&client).await;
            }
            output::say_goodbye();
            std::process::exit(0);
        });
    }

    /// Carries an order out; false if it was to leave.
    pub(crate) fn carry_out(&mut self, order: Order) -> bool {
        match order {
            Order::Connect(connection) => {
                if let Some(connection) = connection {
                    self.connection = *connection;
                }
                self.connect();
            }
            Order::Disconnect => self.disconnect(),
            Order::Subscribe(wanted, topics) => self.subscribe(wanted, &topics),
            Order::Unsubscribe(topics) => self.unsubscribe(&topics),
            Order::Publish(topic, message) => self.publish(&topic, message),
            Order::Status => self.screen.say(&self.status()),
            Order::Show(text) => self.screen.say(&text),
            Order::Quit => return false,
        }
        true
    }

    /// Connects anew.
    pub(crate) fn connect(&mut self) {
        self.disconnect();
        let (screen, address) =
            (self.screen.clone(), self.connection.options.address().to_string());
        let told = std::sync::atomic::AtomicBool::new(false);
        let options = self.connection.options.clone().on_event(move |event| {
            if let Some(text) = words(event, &address, &told) {
                screen.say(&text);
            }
        });
        let (client, stop) = {
            let _entered = self.runtime.enter();
            (Client::prepare(options), interrupted())
        };
        match client {
            Ok(client) => {
                let mut events = client.events();
                client.start();
                self.set_client(Some(client.clone()));
                self.greet(&client, &mut events, stop);
            }
            Err(error) => self.screen.say(&error.to_string()),
        }
    }

    /// Waits a moment for the connection, and for the greeting if one will come.
    fn greet(&self, client: &Client, events: &mut Events, stop: impl Future<Output = ()>) {
        let asked = self.connection.hello;
        let greeting = async {
            let first = tokio::time::timeout(PATIENCE, events.next()).await.ok()??;
            let Event::Connected(granted) = first else { return None };
            let patience = asked.or(granted.is_noctule().then_some(PATIENCE))?;
            client.wait_for_hello(patience).await.ok()
        };
        let hello = self.runtime.block_on(async {
            tokio::select! {
                hello = greeting => hello,
                // The prompt comes back at once; connecting goes on.
                () = stop => None,
            }
        });
        match hello {
            Some(Hello::Confirmed) => self.screen.say("authenticated"),
            Some(Hello::TimedOut | Hello::Impossible) => {
                self.screen.say("the broker does not greet; going on");
            }
            None => {}
        }
    }

    /// Ends the connection, if there is one.
    pub(crate) fn disconnect(&mut self) {
        let client = self.client.take();
        self.set_client(None);
        if let Some(client) = client {
            // Why it had ended before was told when it did.
            let _ = self.runtime.block_on(client.disconnect());
            // All requests have an outcome now.
            self.runtime.block_on(async { while self.outcomes.join_next().await.is_some() {} });
        }
    }

    fn set_client(&mut self, client: Option<Client>) {
        self.client.clone_from(&client);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn subscribe(&mut self, wanted: Vec<Subscribe>, topics: &[String]) {
        let Some(client) = self.client() else { return };
        for (wanted, topic) in wanted.into_iter().zip(topics) {
            let (screen, completion) = (self.screen.clone(), self.completion.clone());
            let show = move |message: Message| {
                completion.learn(message.topic());
                screen.message(message.topic(), message.payload());
            };
            let request = client.subscribe_with(wanted, show);
            self.tell_outcome(request, format!("sub {topic}"), Some("granted QoS 0"));
            self.completion.learn(topic);
        }
    }

    fn unsubscribe(&mut self, topics: &[String]) {
        let Some(client) = self.client() else { return };
        for topic in topics {
            let request = client.unsubscribe(topic.as_str());
            self.tell_outcome(request, format!("unsub {topic}"), Some("success"));
        }
    }

    fn publish(&mut self, topic: &str, message: Publish) {
        let Some(client) = self.client() else { return };
        match client.try_publish(message) {
            Ok(request) => {
                self.completion.learn(topic);
                self.tell_outcome(request, format!("pub {topic}"), None);
            }
            Err(error) => self.screen.say(&format!("pub {topic}: {error}")),
        }
        if !matches!(client.status(), Status::Connected(_)) {
            self.screen.say("there is no connection; the message waits for one");
        }
    }

    /// Says what becomes of a request when it is known; a plain success in these words, or not at
    /// all.
    fn tell_outcome(&mut self, request: Publishing, what: String, success: Option<&'static str>) {
        let screen = self.screen.clone();
        let outcome = async move {
            match request.await {
                Ok(ReasonCode::Success) => {
                    success.into_iter().for_each(|words| screen.say(&format!("{what}: {words}")));
                }
                Ok(code) => screen.say(&format!("{what}: {}", code.words())),
                Err(error) => screen.say(&format!("{what}: {error}")),
            }
        };
        self.outcomes.spawn_on(outcome, self.runtime.handle());
        // Those that are done need not be kept.
        while self.outcomes.try_join_next().is_some() {}
    }

    fn client(&self) -> Option<Client> {
        if self.client.is_none() {
            self.screen.say("not connected; `connect` does that");
        }
        self.client.clone()
    }

    fn status(&self) -> String {
        let address = self.connection.options.address();
        match self.client.as_ref().map(Client::status) {
            None => "not connected".to_owned(),
            Some(Status::Waiting) => format!("connecting to {address}"),
            Some(Status::Ended(reason)) => format!("ended: {reason}"),
            Some(Status::Connected(granted)) => format!(
                "connected to {address} as {:?}, MQTT {}, {}; session {}; keep-alive {} s",
                granted.client_id,
                granted.version,
                if address.tls { "TLS" } else { "not encrypted" },
                if granted.session_present { "resumed" } else { "new" },
                granted.keep_alive_seconds,
            ),
        }
    }
}

/// What there is to say of an event; that there is no connection is said once.
fn words(event: &Event, address: &str, told: &std::sync::atomic::AtomicBool) -> Option<String> {
    use std::sync::atomic::Ordering::Relaxed;
    match event {
        Event::Connected(granted) => {
            told.store(false, Relaxed);
            Some(format!("connected to {address} (MQTT {})", granted.version))
        }
        Event::Disconnected(reason) if **reason == Reason::Asked => {
            Some(format!("disconnected from {address}"))
        }
        Event::Disconnected(reason) => {
            told.store(true, Relaxed);
            Some(format!("connection lost: {reason}"))
        }
        Event::Reconnecting { reason, .. } if !told.swap(true, Relaxed) => {
            Some(format!("{reason}; will keep trying to connect"))
        }
        Event::Ended(reason) if **reason != Reason::Asked => Some(reason.to_string()),
        Event::SubscriptionLost { filter, code } => {
            Some(format!("the subscription to {filter:?} was not restored: {code}"))
        }
        Event::Reconnecting { .. } | Event::Ended(_) => None,
    }
}
