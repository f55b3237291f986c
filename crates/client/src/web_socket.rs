//! WebSocket over a stream of bytes: the upgrade, and then a stream of bytes again. No MQTT here.
//!
//! What frames are is `noctule-ws`'s matter: binary ones `[MQTT3-6.0.0-1]` `[MQTT5-6.0.0-1]`, and packets
//! begin wherever they like in them `[MQTT3-6.0.0-2]` `[MQTT5-6.0.0-2]`. One write becomes one frame; what
//! is read is left where it was read to. Pings are answered whenever something is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use noctule_ws::{
    BadRequestPart, ClientStream, ClientUpgrade, CloseCode, Subprotocol, UpgradeFailure, good_end,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::reason::Reason;

/// Why there is no WebSocket.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not upgrade.
    Refused(UpgradeFailure),
    /// Host or path cannot be asked for.
    Request(BadRequestPart),
    /// The connection broke meanwhile.
    Io(io::Error),
    /// It was closed.
    Closed,
}

impl Failure {
    /// The same, as the end of an attempt to connect.
    pub(crate) fn into_reason(self) -> Reason {
        match self {
            Self::Refused(failure) => {
                let status = match &failure {
                    UpgradeFailure::Status(status, _) => Some(*status),
                    _ => None,
                };
                Reason::Upgrade { status, words: failure.to_string() }
            }
            Self::Request(part) => Reason::Upgrade { status: None, words: part.to_string() },
            Self::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Self::Closed.into_reason()
            }
            Self::Io(error) => {
                Reason::Network(format!("the upgrade to WebSocket broke off: {error}"))
            }
            Self::Closed => Reason::Network(
                "the server closed the connection when WebSocket was asked for; is this another port?"
                    .to_owned(),
            ),
        }
    }
}

/// A stream in frames.
pub(crate) struct WebSocket<S> {
    inner: S,
    frames: ClientStream,
    /// Read with the answer to the upgrade, and not looked at yet.
    early: Vec<u8>,
    end: Option<Result<(), String>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Asks for the upgrade and waits for it. `host` is host and port, as the server is known by them.
    /// The subprotocol `mqtt` is offered, and has to be chosen `[MQTT3-6.0.0-3]` `[MQTT5-6.0.0-3]`.
    pub(crate) async fn upgrade(mut inner: S, host: &str, path: &str) -> Result<Self, Failure> {
        let no_chance = |_| Failure::Io(io::Error::other("there are no random numbers"));
        let upgrade = ClientUpgrade::new(Subprotocol::Mqtt).map_err(no_chance)?;
        let request = upgrade.request(host, path, &[]).map_err(Failure::Request)?;
        inner.write_all(&request).await.map_err(Failure::Io)?;
        inner.flush().await.map_err(Failure::Io)?;
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let count = inner.read(&mut piece).await.map_err(Failure::Io)?;
            if count == 0 {
                return Err(Failure::Closed);
            }
            answer.extend_from_slice(&piece[..count]);
            // An answer that does not end is found to be too large here.
            if let Some(head) = upgrade.read_response(&answer).map_err(Failure::Refused)? {
                let early = answer.split_off(head);
                return Ok(Self { inner, frames: ClientStream::default(), early, end: None });
            }
        }
    }

    /// What has come, in frames, at the front of `bytes`: how many bytes are to be read.
    fn take_in(&mut self, bytes: &mut [u8]) -> usize {
        let taken = self.frames.take_in(bytes);
        if let Some(end) = taken.end {
            self.end = Some(good_end(end));
        }
        taken.payload
    }

    /// Writes what waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.frames.to_send().is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, self.frames.to_send()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.frames.sent(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Lets answers leave as far as that goes at once; what is in the way is told to who writes.
    fn send_answers(&mut self, cx: &mut Context<'_>) {
        if !self.frames.to_send().is_empty() && matches!(self.poll_send(cx), Poll::Ready(Ok(()))) {
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.send_answers(cx);
        loop {
            match &this.end {
                Some(Ok(())) => return Poll::Ready(Ok(())),
                Some(Err(words)) => return Poll::Ready(Err(io::Error::other(words.clone()))),
                None if buffer.remaining() == 0 => return Poll::Ready(Ok(())),
                None => {}
            }
            let space = buffer.initialize_unfilled();
            let count = if this.early.is_empty() {
                let mut read = ReadBuf::new(space);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
                read.filled().len()
            } else {
                let count = this.early.len().min(space.len());
                space[..count].copy_from_slice(&this.early[..count]);
                this.early.drain(..count);
                count
            };
            if count == 0 {
                // Without a close frame: MQTT knows by itself what is whole.
                return Poll::Ready(Ok(()));
            }
            let payload = this.take_in(&mut space[..count]);
            this.send_answers(cx);
            if payload > 0 {
                buffer.advance(payload);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.frames.is_closing() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = this.frames.say(bytes).map_err(io::Error::other)?;
        // What does not leave at once leaves with the next write, or is flushed.
        if let Poll::Ready(Err(error)) = this.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.frames.close(CloseCode::NORMAL);
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}
