//! The live view of topics: what is known of each, which of them are wanted, and how they look.
//!
//! `rows` and `choice` know neither terminal nor network; `view` draws what they say.

mod choice;
mod controls;
mod rows;
mod view;

pub(crate) use choice::Choice;
pub(crate) use controls::Controls;
pub(crate) use rows::Rows;
pub(crate) use view::{Frame, draw};
