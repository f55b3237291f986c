//! The interactive client: what is typed becomes an order, an order becomes a request to the client
//! library, and what comes back is written beside the line that is being typed.
//!
//! Nothing here waits for the network while a person could be typing.

mod completion;
mod orders;
mod screen;
mod session;
mod words;

pub(crate) use completion::Completion;
pub(crate) use orders::{Order, read, summary};
pub(crate) use screen::Screen;
pub(crate) use session::Session;
#[cfg(test)]
pub(crate) use words::split;
