//! The stream of messages that a subscription gives.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::driver::Control;
use crate::machine::ReceiverId;
use crate::message::Message;

/// The messages of a subscription, in their order, across reconnects.
///
/// It ends when the client ends, when the subscription is ended with
/// [`Client::unsubscribe`](crate::Client::unsubscribe), and when the broker refuses to restore it.
/// While it exists the client stays connected. Dropping it discards its messages and does *not* end
/// the subscription, which may be one of a persistent session.
///
/// Messages that are not taken out hold up the others: when
/// [`stream_count_max`](crate::Limits::stream_count_max) of them wait, nothing more is read from
/// the broker.
#[derive(Debug)]
pub struct Messages {
    pub(crate) receiver: mpsc::Receiver<Message>,
    pub(crate) id: ReceiverId,
    pub(crate) controls: mpsc::UnboundedSender<Control>,
}

impl Messages {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    /// The next message, if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    /// The next message; for threads outside of the runtime.
    pub(crate) fn next_blocking(&mut self) -> Option<Message> {
        self.receiver.blocking_recv()
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_recv(context)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // A client that has ended needs no telling.
        let _ = self.controls.send(Control::Forget(self.id));
    }
}
