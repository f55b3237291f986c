//! Telling systemd how the broker does, if it was started by one that wants to know.
//!
//! That is one datagram to the socket that `NOTIFY_SOCKET` names. What is not heard is no failure of
//! the broker.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says `state`, such as `READY=1`, to whoever has started this process.
pub(crate) fn tell(state: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        // There is nobody to complain to who does not see it by himself.
        let _ = send(&name, state);
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        // Of the kind that has no file.
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let read = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    #[test]
    fn a_state_arrives_at_either_kind_of_socket() {
        let name = format!("noctule-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "READY=1").unwrap();
        assert_eq!(heard(&socket), "READY=1");
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "STOPPING=1").unwrap();
        assert_eq!(heard(&socket), "STOPPING=1");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_socket_that_is_not_there_is_said_and_not_waited_for() {
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
