//! The torture of a broker: it is killed again and again under load, and every message that it has
//! acknowledged is accounted for.
//!
//! # The model
//!
//! **Lives.** A broker is started on an empty directory, and after each kill again on what the kill
//! has left. All clients have sessions that never expire, and keep their own half of them: packet
//! identifiers, what is in flight, which QoS 2 messages they hold. So both ends keep their state, as
//! exactly-once needs.
//!
//! **Lanes** ([`lane`]). Each publisher numbers the messages of each of its topics; all messages of a
//! topic have one publisher and one QoS. What is not acknowledged when the broker dies is sent again,
//! with DUP and the old identifier, in its old order and before anything new `[MQTT5-4.4.0-1]`
//! `[MQTT5-4.6.0-1]`. A message is *acknowledged* with its PUBACK or PUBREC (without an error), and
//! never by one of a later message. Bytes that the broker had sent when it died are read to their end.
//!
//! **What subscribers may hear** ([`hearing`]), for each lane and each subscriber:
//!
//! - What was acknowledged is *owed*. It is **lost** if it has not come when the broker had all the
//!   time it wanted: nothing was published, and nothing came, for a while.
//! - What was not acknowledged may come or not: it may have arrived and its acknowledgement been lost.
//! - At QoS 1 a message may come again. At QoS 2 it must not be new twice: **doubled**, whether it
//!   was acknowledged or not. A repetition of a message whose identifier the subscriber still holds is
//!   not new.
//! - The first deliveries of a lane come in the order in which the broker got the messages
//!   `[MQTT5-4.6.0-6]`; else they are **reordered**. One exception: a broker may have forgotten a
//!   message in a crash that it had not acknowledged, kept a later one, and got the forgotten one
//!   again. So a message that comes late is reordered only if it was sent for the last time in a life
//!   not later than that in which the other one was sent first; what is excepted is counted as
//!   *overtaken*.
//!
//! **What is retained** ([`shelf`]) on a topic must be the last acknowledged value or a later one,
//! also where a value is a deletion; else it is **stale**. At QoS 2 a value must be there when PUBCOMP
//! has come, as a broker may wait for PUBREL. A new client looks after each start, before
//! anybody writes, and whenever everything has come to rest.
//!
//! **What is handed out** (`newcomer`). A client with a session that is kept subscribes to many retained
//! messages at QoS 2, and again when all have come. For each SUBSCRIBE that was granted each comes once,
//! else it is **doubled** or **lost**, however often the broker dies meanwhile. Some are deleted while they
//! are handed out: these may come or not, and what is handed out of them later is **stale**.
//!
//! **Sessions.** CONNACK must say "session present" to every client that has had a CONNACK before;
//! else the session is **gone**. What it was owed counts as lost then; from there on it is a new
//! session that is owed nothing older. A publisher whose session is gone does not repeat what was in
//! flight, as the standard demands `[MQTT5-3.2.2-5]`. If a session is there and nothing at all comes
//! for one of its filters though messages were acknowledged in this life, its **subscription** is
//! gone.
//!
//! **A broker that ends** without having been killed, or does not start again, is a finding as well.
//!
//! What the model does not see: whether anything survives the loss of power. A killed process loses
//! what it had not handed to the operating system, and nothing else.
//!
//! # The parts
//!
//! [`plan`] says what is to be, [`victim`] is the broker, `course` moves everybody, and the accounts
//! ([`lane`], [`hearing`], [`shelf`], [`findings`]) know of no connection, so that tests feed them
//! with histories in which something is wrong. [`profile`] knows brokers by name.

mod books;
mod course;
pub mod findings;
pub mod hearing;
mod inbox;
pub mod lane;
mod looker;
mod newcomer;
mod outbox;
mod packet;
pub mod plan;
pub mod profile;
mod publisher;
pub mod report;
pub mod shelf;
mod station;
mod subscriber;
pub mod victim;

use std::sync::atomic::AtomicBool;

use course::{Course, End};

use crate::LoadError;

pub use books::Tally;
pub use plan::Plan;
pub use report::{Progress, Report, Verdict};

/// Carries a plan out. It ends early when `stop` becomes true; `each` hears of every round.
///
/// The broker is killed by the kernel when the thread that calls this is gone, so call it on the
/// main thread.
///
/// # Errors
/// If it could not be carried out: a plan that cannot work, a broker that does not start the first
/// time, answers that no broker may give. The directory is kept then and named.
pub fn run(
    plan: &Plan,
    stop: &AtomicBool,
    mut each: impl FnMut(&Progress<'_>),
) -> Result<Report, LoadError> {
    if let Some(complaint) = plan.complaint() {
        return Err(LoadError::new(complaint));
    }
    let mut course = Course::new(plan, stop)?;
    let done = course.run(|books| {
        each(&Progress {
            round: books.life(),
            rounds: plan.rounds,
            elapsed: books.elapsed(),
            tally: &books.tally,
            findings: &books.findings,
        });
    });
    course.add_up();
    course.end()?;
    let stopped = match done {
        Ok(()) | Err(End::Broker) => false,
        Err(End::Stopped) => true,
        Err(End::Failed(error)) => {
            let directory = course.victim.directory().display();
            return Err(LoadError::new(format!("{error} (its files are in {directory})")));
        }
    };
    let verdict = match (course.books.findings.is_clean(), stopped) {
        (false, _) => Verdict::Broken,
        (true, true) => Verdict::Stopped,
        (true, false) => Verdict::Kept,
    };
    Ok(Report::new(plan, &course, verdict))
}
