//! `noctule dashboard`: a live view of topics; lines, when there is no terminal.

use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use noctule_client::{
    Client, Error, Event, Events, Hello, Message, Messages, QoS, Reason, Subscribe, TopicFilter,
};
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::board::{Controls, Frame, Rows, draw};
use crate::client_arguments::{self, Connection, property_argument, qos};
use crate::client_run::{self, Failure, interrupted, leave};
use crate::output;
use crate::terminal::Terminal;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("dashboard")
        .about("Watch topics live in the terminal")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D connect receive-maximum 100"))
        .args([
            Arg::new(TOPIC)
                .short('t')
                .long(TOPIC)
                .value_name("TOPIC")
                .action(ArgAction::Append)
                .help("Watch this; may be repeated [default: sensors/+]"),
            Arg::new(QUALITY)
                .short('q')
                .long(QUALITY)
                .value_name("QOS")
                .value_parser(qos)
                .help("The highest quality of service wanted: 0, 1 or 2 [default: 0]"),
        ])
        .after_help(
            "Keys: s sorts by topic, age or rate; / filters; p pauses; arrows and pages scroll; q \
             and Ctrl-C\nleave. JSON objects are unfolded. MQTT 5 is spoken unless -V says \
             otherwise. Without a terminal\neach message is a line.\n\nExamples:\n  noctule \
             dashboard\n  noctule dashboard -t '#' -h broker.example --tls\n\nExit codes: 0 left, 1 \
             could not be done, 2 wrong usage, else the broker's reason code.",
        )
}

const TOPIC: &str = "topic";
const QUALITY: &str = "qos";

/// Shows until somebody leaves.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    client_run::run(arguments, |arguments| {
        let connection = client_arguments::connection_v5(arguments).map_err(Failure::usage)?;
        let topics = arguments.get_many::<String>(TOPIC).into_iter().flatten().cloned();
        let mut topics: Vec<_> = topics.chain(connection.topic.clone()).collect();
        if topics.is_empty() {
            topics.push("sensors/+".into());
        }
        for topic in &topics {
            TopicFilter::new(topic).map_err(|fault| {
                Failure::usage(format!("\"{topic}\" cannot be subscribed to: {fault}"))
            })?;
        }
        let client = Client::prepare(connection.options.clone())
            .map_err(|error| Failure::new(error.to_string()))?;
        let qos = arguments.get_one(QUALITY).copied().unwrap_or_default();
        Ok(async move {
            let events = client.events();
            let messages = client.other_messages();
            let refusals = subscribe(&client, &topics, qos);
            let stop = interrupted();
            client.start();
            let mut watch = Watch::new(&client, &connection, events, refusals);
            let outcome = if Terminal::of_process().is_terminal() {
                watch.on_terminal(messages, stop).await
            } else {
                watch.line_by_line(messages, stop).await
            };
            leave(&client).await;
            if outcome.is_ok() && !connection.quiet {
                output::say_goodbye();
            }
            outcome
        })
    })
}

/// Subscribes, and returns what is refused, in words.
fn subscribe(client: &Client, topics: &[String], qos: QoS) -> mpsc::UnboundedReceiver<String> {
    let (sender, refusals) = mpsc::unbounded_channel();
    for topic in topics {
        let request = client.subscribe_only(Subscribe::new(topic.as_str()).qos(qos));
        let (topic, sender) = (topic.clone(), sender.clone());
        tokio::spawn(async move {
            // At the end of the client nobody listens, and its reason is told by itself.
            if let Err(error) = request.await
                && !matches!(error, Error::Ended(_))
            {
                let _ = sender.send(format!("{topic:?}: {error}"));
            }
        });
    }
    refusals
}

struct Watch<'a> {
    client: &'a Client,
    connection: &'a Connection,
    events: Events,
    refusals: mpsc::UnboundedReceiver<String>,
    began: Instant,
    rows: Rows,
    controls: Controls,
    state: String,
    /// The subscriptions that were refused, to be said behind the state.
    refused: String,
    /// What came of asking for the greeting, with who is asked to say so.
    greetings: (mpsc::UnboundedSender<Hello>, mpsc::UnboundedReceiver<Hello>),
}

/// How often the view is drawn.
const REDRAW: Duration = Duration::from_millis(200);
/// So many messages are taken before keys and the clock are looked at.
const BATCH: usize = 500;
/// How long the greeting is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl<'a> Watch<'a> {
    fn new(
        client: &'a Client,
        connection: &'a Connection,
        events: Events,
        refusals: mpsc::UnboundedReceiver<String>,
    ) -> Self {
        let state = format!("connecting to {}", connection.options.address());
        Self {
            client,
            connection,
            events,
            refusals,
            began: Instant::now(),
            rows: Rows::default(),
            controls: Controls::default(),
            state,
            refused: String::new(),
            greetings: mpsc::unbounded_channel(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn line_by_line(
        &mut self,
        mut messages: Messages,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                // What is said of the connection comes before what came by it.
                biased;
                () = &mut stop => return Ok(()),
                event = self.events.next() => {
                    let before = self.state.clone();
                    self.on_event(event)?;
                    if self.state != before && !self.connection.quiet {
                        output::complain(&self.state);
                    }
                }
                Some(refusal) = self.refusals.recv() => output::complain(refusal),
                Some(hello) = self.greetings.1.recv() => {
                    if hello != Hello::Confirmed && !self.connection.quiet {
                        output::complain("warning: the broker does not greet; going on");
                    }
                }
                message = messages.next() => {
                    let Some(message) = message else { return self.wait_for_end().await };
                    let payload = String::from_utf8_lossy(message.payload());
                    output::answer(&format!("{} {payload}\n", message.topic()));
                }
            }
        }
    }

    async fn on_terminal(
        &mut self,
        messages: Messages,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let terminal = ratatui::try_init();
        let mut terminal =
            terminal.map_err(|error| Failure::new(format!("no use of the terminal: {error}")))?;
        let outcome = self.show(&mut terminal, messages, stop).await;
        ratatui::restore();
        outcome
    }

    async fn show(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        mut messages: Messages,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut keys = keys();
        let mut stop = pin!(stop);
        let mut tick = interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => self.redraw(terminal)?,
                key = keys.recv() => {
                    if !key.is_some_and(|key| self.controls.on_key(key)) {
                        return Ok(());
                    }
                    self.redraw(terminal)?;
                }
                event = self.events.next() => self.on_event(event)?,
                message = messages.next(), if !self.controls.paused => {
                    let Some(message) = message else { return self.wait_for_end().await };
                    self.take(&message, &mut messages);
                }
                Some(refusal) = self.refusals.recv() => self.refused.push_str(&format!("; {refusal}")),
                Some(hello) = self.greetings.1.recv() => self.on_greeting(hello),
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// Takes a message and some that wait behind it.
    fn take(&mut self, first: &Message, messages: &mut Messages) {
        let now_ms = self.now_ms();
        self.rows.update(first, now_ms);
        for _ in 0..BATCH {
            let Some(message) = messages.try_next() else { return };
            self.rows.update(&message, now_ms);
        }
    }

    fn redraw(&mut self, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
        let state = format!("{}{}", self.state, self.refused);
        let what = Frame {
            rows: &self.rows,
            now_ms: self.now_ms(),
            state: &state,
            paused: self.controls.paused,
            typing: self.controls.typing,
        };
        let drawn = terminal.draw(|frame| draw(frame, &what, &mut self.controls.choice));
        drawn.map(drop).map_err(|error| Failure::new(format!("the terminal is gone: {error}")))
    }

    fn on_greeting(&mut self, hello: Hello) {
        // It may have been asked for on a connection that is gone.
        if self.state.starts_with("connected to") {
            self.state.push_str(match hello {
                Hello::Confirmed => ", authenticated",
                Hello::TimedOut | Hello::Impossible => "; the broker does not greet",
            });
        }
    }

    fn on_event(&mut self, event: Option<Event>) -> Result<(), Failure> {
        let address = self.connection.options.address();
        match event {
            Some(Event::Connected(granted)) => {
                self.state = format!("connected to {address} (MQTT {})", granted.version);
                let own = granted.is_noctule().then_some(PATIENCE);
                if let Some(patience) = self.connection.hello.or(own) {
                    greet(self.client.clone(), patience, self.greetings.0.clone());
                }
            }
            Some(Event::Disconnected(reason)) if *reason != Reason::Asked => {
                self.state = format!("connection lost: {reason}; trying to connect again");
            }
            Some(Event::Reconnecting { reason, .. }) if !self.state.starts_with("connection") => {
                self.state = format!("{reason}; will keep trying to connect");
            }
            Some(Event::SubscriptionLost { filter, code }) => {
                self.state = format!("{filter:?} is refused: {code}");
            }
            Some(Event::Ended(reason)) => {
                return Err(Failure::of(&Error::Ended(reason), self.connection.version));
            }
            Some(Event::Disconnected(_) | Event::Reconnecting { .. }) => {}
            None => return Err(Failure::new("the client ended")),
        }
        Ok(())
    }

    /// The messages have ended: so has the client, and it says why.
    async fn wait_for_end(&mut self) -> Result<(), Failure> {
        loop {
            let event = self.events.next().await;
            self.on_event(event)?;
        }
    }
}

/// Asks for the greeting beside everything else.
fn greet(client: Client, patience: Duration, greetings: mpsc::UnboundedSender<Hello>) {
    tokio::spawn(async move {
        if let Ok(hello) = client.wait_for_hello(patience).await {
            // Who does not listen any more has left.
            let _ = greetings.send(hello);
        }
    });
}

/// The keys that are pressed, read by a thread, as nothing else can wait for them. It ends with the
/// program.
fn keys() -> mpsc::Receiver<KeyEvent> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let pressed = event.as_key_event().filter(|key| key.kind == KeyEventKind::Press);
            if let Some(key) = pressed
                && sender.blocking_send(key).is_err()
            {
                return;
            }
        }
    });
    receiver
}
