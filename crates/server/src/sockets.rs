//! The sockets of a loop, each in the slot of its connection.

use crate::arrivals::Visit;
use crate::event_loop::Taps;
use crate::gate::Begun;
use noctule_broker::ConnectionHandle;
use noctule_net::{AnnouncedCertificate, Peer, Pipe};

/// A connection's socket and what is known of it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) pipe: Pipe,
    pub(crate) connection: ConnectionHandle,
    /// Whose it is: the socket's other end, or whom a proxy has named.
    pub(crate) peer: Peer,
    pub(crate) announced: Announced,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// The peer has closed its side: reading ends with that, and not with "nothing there".
    pub(crate) read_closed: bool,
    /// Something was read from it.
    pub(crate) heard: bool,
    /// Something may be written.
    pub(crate) writable: bool,
    /// The client has said DISCONNECT, and what it has to close is the connection.
    pub(crate) left: bool,
    /// It is in line to be read.
    pub(crate) listed: bool,
    /// Much came when it was read last.
    pub(crate) says_much: bool,
    /// If its packets are logged.
    pub(crate) taps: Option<Box<Taps>>,
    /// If its client is on the way of proving who it is.
    pub(crate) begun: Begun,
    /// Bytes to read at once.
    pub(crate) appetite: usize,
    pub(crate) ending: Ending,
    /// Has it counted with its address.
    pub(crate) visit: Option<Visit>,
    /// It is only kept to be told that it may not come in.
    pub(crate) turned_away: bool,
}

/// Whether a proxy says whose a connection is.
#[derive(Debug)]
pub(crate) enum Announced {
    /// It is its other end's own.
    No,
    /// It has to, before anything else is read.
    Awaited,
    /// It did, with the certificate that the client has shown there, if any.
    By { certificate: Option<Box<AnnouncedCertificate>> },
}

impl Announced {
    /// The certificate that the client has shown to a proxy.
    pub(crate) fn certificate(&self) -> Option<&AnnouncedCertificate> {
        match self {
            Self::By { certificate } => certificate.as_deref(),
            Self::No | Self::Awaited => None,
        }
    }
}

/// How far a socket is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is in use.
    No,
    /// The broker is done with it; its last output is being written.
    Flushing,
    /// All is written and the peer has been told. What it still sends is thrown away, because
    /// closing with unread input would make the peer lose what it has not read.
    Lingering,
}

/// Sockets by slot.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    len: usize,
}

impl Sockets {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, socket: Socket) {
        let slot = socket.connection.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(socket);
        self.len += 1;
    }

    /// The socket in a slot, whosever it is now.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The socket of a connection, unless it is gone.
    pub(crate) fn of(&mut self, connection: ConnectionHandle) -> Option<&mut Socket> {
        self.at(connection.slot()).filter(|socket| socket.connection == connection)
    }

    pub(crate) fn all(&self, is: impl Fn(&Socket) -> bool) -> bool {
        self.slots.iter().flatten().all(is)
    }

    pub(crate) fn remove(&mut self, connection: ConnectionHandle) -> Option<Socket> {
        self.of(connection)?;
        self.len -= 1;
        self.slots[connection.slot()].take()
    }
}
