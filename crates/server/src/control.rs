//! Orders to a loop from other threads.

use mio::Waker;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a loop can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Tell the clients, let their output drain, and end.
    Stop,
}

/// The end of the line that gives orders.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

/// A line to a loop that sleeps in the poll of `waker`.
pub(crate) fn line(waker: Waker) -> (Controller, Receiver<Order>) {
    let (orders, inbox) = channel();
    (Controller { orders, waker: Arc::new(waker) }, inbox)
}

impl Controller {
    /// Gives an order and wakes the loop. One that has ended does not mind.
    pub(crate) fn give(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
