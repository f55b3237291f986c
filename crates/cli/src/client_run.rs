//! How a client command runs: its connection from start to end, Ctrl-C, and its exit code.
//!
//! Exit codes: 0 done, also after Ctrl-C; 1 could not be done; 2 wrong usage; 27 not in time; and
//! if the broker refused, its reason code: in MQTT 5 the code itself (128 and above), before it the
//! return code of CONNACK (1 to 5) or 128.

use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ArgMatches;
use noctule_client::{Client, Error, Event, Events, Hello, ProtocolVersion, Reason};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::client_arguments::Connection;
use crate::output;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    words: String,
    code: u8,
}

/// The exit code for what did not happen in time, as mosquitto's commands have it.
const TIMED_OUT: u8 = 27;
const USAGE: u8 = 2;

impl Failure {
    /// It cannot be done.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), code: 1 }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(words: impl Into<String>) -> Self {
        Self { words: words.into(), code: USAGE }
    }

    /// It did not happen in time.
    pub(crate) fn timed_out() -> Self {
        Self { words: "timed out".into(), code: TIMED_OUT }
    }

    /// What the client library says, on a connection that spoke `version`.
    pub(crate) fn of(error: &Error, version: ProtocolVersion) -> Self {
        let refused_connection = matches!(error, Error::Ended(_)) && !version.has_reason_codes();
        let code = error.reason_code().map_or(1, |reason| {
            if refused_connection { reason.connect_return_code() } else { reason.byte() }
        });
        let words = match error {
            // That it has ended goes without saying.
            Error::Ended(reason) => reason.to_string(),
            error => error.to_string(),
        };
        Self { words, code }
    }
}

/// Runs a command to its end and says what went wrong.
pub(crate) fn run<F>(
    arguments: &ArgMatches,
    work: impl FnOnce(&ArgMatches) -> Result<F, Failure>,
) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let quiet = arguments.get_flag("quiet");
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(Failure::new(format!("cannot start: {error}"))), quiet),
    };
    let outcome = {
        let _entered = runtime.enter();
        work(arguments)
    };
    let outcome = outcome.and_then(|work| runtime.block_on(work));
    // Standard input may be being read by a thread that nothing can wake.
    runtime.shutdown_background();
    report(outcome, quiet)
}

fn report(outcome: Result<(), Failure>, quiet: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !quiet {
                output::complain(&failure.words);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Returns when the system wants the command to end.
pub(crate) async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Returns when the user or the system wants the command to end. That they do so is noticed from the
/// call on, not only from the first wait.
pub(crate) fn interrupted() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// A client that has not started, whose troubles are told once each.
pub(crate) fn prepare(connection: &Connection) -> Result<Client, Failure> {
    let (quiet, debug) = (connection.quiet, connection.debug);
    let away = AtomicBool::new(false);
    let tell = move |event: &Event| {
        let text = words(event, debug, &away);
        if let Some(text) = text.filter(|_| !quiet) {
            output::complain(text);
        }
    };
    Client::prepare(connection.options.clone().on_event(tell))
        .map_err(|error| Failure::new(error.to_string()))
}

/// What there is to say of an event. That the connection is gone is said once, and once that it is
/// back.
fn words(event: &Event, debug: bool, away: &AtomicBool) -> Option<String> {
    match event {
        Event::Connected(granted) if away.swap(false, Ordering::Relaxed) => {
            let kept = if granted.session_present { ", the session was kept" } else { "" };
            Some(format!("connected again{kept}"))
        }
        Event::Connected(granted) if debug => Some(format!("connected: {granted:?}")),
        Event::Disconnected(reason) if **reason != Reason::Asked => {
            away.store(true, Ordering::Relaxed);
            Some(format!("connection lost: {reason}; trying to connect again"))
        }
        Event::Reconnecting { attempt, delay, reason } if debug => {
            Some(format!("attempt {attempt} in {delay:?}: {reason}"))
        }
        Event::SubscriptionLost { filter, code } => {
            Some(format!("the broker refuses to restore the subscription to {filter:?}: {code}"))
        }
        _ => None,
    }
}

/// Starts to connect and returns when there is a connection. A first attempt that fails is the end,
/// unless the user wants to wait for the broker.
pub(crate) async fn connect(client: &Client, connection: &Connection) -> Result<(), Failure> {
    let mut events = client.events();
    client.start();
    first_connection(&mut events, connection).await?;
    if let Some(patience) = connection.hello {
        greet(client, connection, patience).await?;
    }
    Ok(())
}

async fn first_connection(events: &mut Events, connection: &Connection) -> Result<(), Failure> {
    let mut said = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Connected(_) => return Ok(()),
            Event::Ended(reason) => {
                return Err(Failure::of(&Error::Ended(reason), connection.version));
            }
            Event::Reconnecting { reason, .. } if !connection.wait => {
                return Err(Failure::of(&Error::Ended(reason), connection.version));
            }
            Event::Reconnecting { reason, .. } => {
                if !std::mem::replace(&mut said, true) && !connection.quiet {
                    output::complain(format!("{reason}; will keep trying to connect"));
                }
            }
            Event::Disconnected(_) | Event::SubscriptionLost { .. } => {}
        }
    }
    Err(Failure::new("the client ended"))
}

async fn greet(
    client: &Client,
    connection: &Connection,
    patience: Duration,
) -> Result<(), Failure> {
    let answer = client.wait_for_hello(patience).await;
    let warning = match answer.map_err(|error| Failure::of(&error, connection.version))? {
        Hello::Confirmed if connection.debug => "the broker has greeted: authenticated".to_owned(),
        Hello::Confirmed => return Ok(()),
        Hello::TimedOut => format!("warning: no greeting within {patience:?}; going on"),
        Hello::Impossible => "warning: this client identifier cannot be greeted; going on".into(),
    };
    if !connection.quiet {
        output::complain(warning);
    }
    Ok(())
}

/// Does a command's work until it is done, not done in time, or no longer wanted, and leaves the
/// broker in good order.
pub(crate) async fn attend(
    client: &Client,
    connection: &Connection,
    timeout: Option<Duration>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (outcome, by_user) = tokio::select! {
        outcome = work => (outcome, false),
        () = interrupted() => (Ok(()), true),
        () = after(timeout) => (Err(Failure::timed_out()), false),
    };
    leave(client).await;
    if by_user && !connection.quiet {
        output::say_goodbye();
    }
    outcome
}

/// Returns after this time, or never.
async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Ends the connection in good order. An earlier end has been told elsewhere.
pub(crate) async fn leave(client: &Client) {
    let _ = client.disconnect().await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use noctule_client::{ReasonCode, Refusal};

    use super::*;

    fn code(code: ReasonCode, version: ProtocolVersion) -> u8 {
        let refusal = Refusal { version, code, words: None, server_reference: None };
        let error = Error::Ended(Arc::new(Reason::Refused(refusal)));
        Failure::of(&error, version).code
    }

    #[test]
    fn the_exit_code_is_the_number_that_was_on_the_wire() {
        assert_eq!(code(ReasonCode::NotAuthorized, ProtocolVersion::V5), 0x87);
        assert_eq!(code(ReasonCode::NotAuthorized, ProtocolVersion::V311), 5);
        let refused = Error::Refused { code: ReasonCode::UnspecifiedError, words: None };
        assert_eq!(Failure::of(&refused, ProtocolVersion::V311).code, 128);
        assert_eq!(Failure::of(&Error::ConnectionLost, ProtocolVersion::V5).code, 1);
    }

    #[test]
    fn a_loss_is_told_once_and_so_is_the_return() {
        let away = AtomicBool::new(false);
        let lost = Event::Disconnected(Arc::new(Reason::Closed));
        let again = Event::Reconnecting {
            attempt: 1,
            delay: Duration::ZERO,
            reason: Arc::new(Reason::Closed),
        };
        assert!(words(&lost, false, &away).unwrap().contains("trying to connect again"));
        assert_eq!(words(&again, false, &away), None);
        assert!(words(&again, true, &away).unwrap().contains("attempt 1"));
        let left = Event::Disconnected(Arc::new(Reason::Asked));
        assert_eq!(words(&left, false, &away), None);
    }
}
