//! The sockets of a loop, each in the slot of its connection.

use crate::arrivals::Visit;
use crate::event_loop::{Length, Taps};
use crate::gate::Begun;
use noctule_broker::ConnectionHandle;
use noctule_net::{AnnouncedCertificate, Peer, Pipe};
use std::net::{SocketAddr, SocketAddrV4};

/// A connection's socket and what is known of it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) pipe: Pipe,
    pub(crate) connection: ConnectionHandle,
    whose: Whose,
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
    /// Bytes to read at once.
    pub(crate) appetite: u32,
    /// What few have, if it has any of it.
    rare: Option<Box<Rare>>,
    pub(crate) ending: Ending,
    /// Has it counted with its address.
    pub(crate) visit: Option<Visit>,
    /// It is only kept to be told that it may not come in.
    pub(crate) turned_away: bool,
}

/// What few sockets have.
#[derive(Debug, Default)]
struct Rare {
    /// If its packets are logged.
    taps: Option<Box<Taps>>,
    /// If its client is on the way of proving who it is.
    begun: Begun,
    /// The certificate that the client has shown to a proxy.
    certificate: Option<Box<AnnouncedCertificate>>,
}

/// A [`Peer`] that takes half as much where it is one of most.
#[derive(Debug)]
enum Whose {
    V4(SocketAddrV4),
    Other(Box<Peer>),
}

impl From<Peer> for Whose {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Address(SocketAddr::V4(address)) => Self::V4(address),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl Socket {
    /// A socket of which nothing is known but whose it is, and that is as good as new.
    pub(crate) fn new(
        pipe: Pipe,
        connection: ConnectionHandle,
        peer: Peer,
        announced: Announced,
        visit: Option<Visit>,
    ) -> Self {
        Self {
            pipe,
            connection,
            whose: peer.into(),
            announced,
            readable: false,
            read_closed: false,
            heard: false,
            writable: true,
            left: false,
            listed: false,
            says_much: false,
            appetite: APPETITE,
            rare: None,
            ending: Ending::No,
            visit,
            turned_away: false,
        }
    }

    /// In which line it stands to be read.
    pub(crate) fn length(&self) -> Length {
        if self.says_much { Length::Long } else { Length::Short }
    }

    /// Whose it is: the socket's other end, or whom a proxy has named.
    pub(crate) fn peer(&self) -> Peer {
        match &self.whose {
            Whose::V4(address) => Peer::Address((*address).into()),
            Whose::Other(peer) => **peer,
        }
    }

    /// It is found out whose it is.
    pub(crate) fn set_peer(&mut self, peer: Peer) {
        self.whose = peer.into();
    }

    /// Where its packets are logged, if they are.
    pub(crate) fn taps(&mut self) -> Option<&mut Taps> {
        self.rare.as_mut()?.taps.as_deref_mut()
    }

    /// Has its packets logged from now on, or not any more.
    pub(crate) fn set_taps(&mut self, taps: Option<Box<Taps>>) {
        if taps.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().taps = taps;
            self.shed();
        }
    }

    /// Takes what its packets are logged with, to go on with elsewhere.
    pub(crate) fn take_taps(&mut self) -> Option<Box<Taps>> {
        self.rare.as_mut()?.taps.take()
    }

    /// Goes on with the proof of who its client is.
    pub(crate) fn proceed<T>(&mut self, step: impl FnOnce(&Self, &mut Begun) -> T) -> T {
        let mut begun = self.rare.as_mut().and_then(|rare| rare.begun.take());
        let outcome = step(self, &mut begun);
        if begun.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().begun = begun;
            self.shed();
        }
        outcome
    }

    /// A proxy has said whose it is, and which certificate its client has shown there, if any.
    pub(crate) fn set_announced(&mut self, certificate: Option<Box<AnnouncedCertificate>>) {
        self.announced = Announced::By;
        if certificate.is_some() {
            self.rare.get_or_insert_default().certificate = certificate;
        }
    }

    /// The certificate that the client has shown to a proxy.
    pub(crate) fn certificate(&self) -> Option<&AnnouncedCertificate> {
        self.rare.as_ref()?.certificate.as_deref()
    }

    /// Takes that certificate, to go on with elsewhere.
    pub(crate) fn take_certificate(&mut self) -> Option<Box<AnnouncedCertificate>> {
        self.rare.as_mut()?.certificate.take()
    }

    /// Gives back the memory for what few have if nothing of it is left.
    fn shed(&mut self) {
        self.rare.take_if(|rare| {
            rare.taps.is_none() && rare.begun.is_none() && rare.certificate.is_none()
        });
    }
}

/// Bytes to read at once from a new socket.
const APPETITE: u32 = 4 * 1_024;

/// Whether a proxy says whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// It is its other end's own.
    No,
    /// It has to, before anything else is read.
    Awaited,
    /// It did.
    By,
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

/// Slots of a page.
const PAGE: usize = 64;

/// Sockets by slot, in pages: one is made when it is needed, and given back when no socket is in it.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pages: Vec<Page>,
    len: usize,
}

#[derive(Debug, Default)]
struct Page {
    slots: Box<[Option<Socket>]>,
    used: usize,
}

impl Sockets {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, socket: Socket) {
        let slot = socket.connection.slot();
        if self.pages.len() <= slot / PAGE {
            self.pages.resize_with(slot / PAGE + 1, Page::default);
        }
        let page = &mut self.pages[slot / PAGE];
        if page.slots.is_empty() {
            page.slots = std::iter::repeat_with(|| None).take(PAGE).collect();
        }
        let before = page.slots[slot % PAGE].replace(socket);
        debug_assert!(before.is_none(), "{slot} is the slot of another socket");
        let added = usize::from(before.is_none());
        page.used += added;
        self.len += added;
    }

    /// The socket in a slot, whosever it is now.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Socket> {
        self.pages.get_mut(slot / PAGE)?.slots.get_mut(slot % PAGE)?.as_mut()
    }

    /// The socket of a connection, unless it is gone.
    pub(crate) fn of(&mut self, connection: ConnectionHandle) -> Option<&mut Socket> {
        self.at(connection.slot()).filter(|socket| socket.connection == connection)
    }

    pub(crate) fn all(&self, is: impl Fn(&Socket) -> bool) -> bool {
        self.pages.iter().flat_map(|page| &page.slots).flatten().all(is)
    }

    pub(crate) fn remove(&mut self, connection: ConnectionHandle) -> Option<Socket> {
        self.of(connection)?;
        let page = self.pages.get_mut(connection.slot() / PAGE)?;
        let socket = page.slots.get_mut(connection.slot() % PAGE)?.take();
        page.used -= 1;
        self.len -= 1;
        // The first page is used again and again where few come and go.
        if page.used == 0 && connection.slot() >= PAGE {
            page.slots = Box::default();
            self.drop_last_pages();
        }
        socket
    }

    fn drop_last_pages(&mut self) {
        while self.pages.last().is_some_and(|last| last.slots.is_empty()) {
            self.pages.pop();
        }
        if self.pages.capacity() / 4 > self.pages.len() {
            self.pages.shrink_to(2 * self.pages.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_broker::{Now, Settings, Shard};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_socket_is_small() {
        // As with connections of the broker.
        assert!(size_of::<Option<Socket>>() <= 96, "{}", size_of::<Option<Socket>>());
    }

    #[test]
    fn the_pages_of_a_burst_are_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer: SocketAddr = listener.local_addr().unwrap();
        let now = Now { mono_ms: 0, wall_ms: 0 };
        let mut shard = Shard::new(Settings::default(), now);
        let mut sockets = Sockets::default();
        let handles: Vec<_> = (0..3 * PAGE).map(|_| shard.open(now)).collect();
        for handle in &handles {
            let stream = TcpStream::connect(peer).unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = mio::net::TcpStream::from_std(stream);
            let pipe = Pipe::Plain(stream.into());
            let peer = Peer::Address(peer);
            sockets.insert(Socket::new(pipe, *handle, peer, Announced::No, None));
            listener.accept().unwrap();
        }
        assert_eq!((sockets.len(), sockets.pages.len()), (3 * PAGE, 3));
        for handle in handles.iter().skip(1) {
            let socket = sockets.remove(*handle).unwrap();
            assert_eq!((socket.connection, socket.peer()), (*handle, Peer::Address(peer)));
            assert!(sockets.remove(*handle).is_none());
        }
        assert_eq!((sockets.len(), sockets.pages.len()), (1, 1));
        assert!(sockets.of(handles[0]).is_some() && sockets.of(handles[1]).is_none());
    }
}
