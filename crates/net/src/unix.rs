//! Listening on a Unix socket: a file that only those may connect to who may write to it.
//!
//! The file has its mode from the moment it exists. One that an earlier process has left behind is
//! replaced; one that somebody listens on, or that is no socket, is left alone.

use crate::Listener;
use crate::tcp::BACKLOG;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, open};
use rustix::process::umask;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The file of a listening Unix socket, which goes when this is dropped; unless it is another one
/// by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Gives the file to a user and group: this file, and not what somebody has put in its place.
    ///
    /// # Errors
    /// What the operating system says; mostly that only root may.
    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(&self.path, flags, Mode::empty())?;
        let found = fstat(&file)?;
        if (found.st_dev, found.st_ino) != self.identity {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        Ok(chownat(&file, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if is_ours {
            // What cannot be removed is found to be left behind at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a Unix socket with this path, for those whom the permissions `mode` let write to it.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if somebody listens there, [`io::ErrorKind::AlreadyExists`] if there
/// is something that is no socket, or what the operating system says.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<(Listener, SocketFile)> {
    remove_if_left_behind(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    // The file is made with the mode of its socket, less what the umask forbids. To change it afterwards
    // by its name would change whatever has that name then.
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    let umask = umask(Mode::empty());
    let bound = socket.bind(&address);
    rustix::process::umask(umask);
    bound?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((Listener::unix(socket.into(), path.to_owned()), file))
}

fn remove_if_left_behind(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Somebody listens, or has done so until now.
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    /// A directory that goes with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("noctule-unix-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("mqtt.sock")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_file_has_its_mode_and_goes_at_the_end() {
        let directory = Directory::new("mode");
        let path = directory.socket();
        let (_listener, file) = bind_unix(&path, 0o622).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o622);
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_left_behind_is_replaced_and_one_in_use_is_not() {
        let directory = Directory::new("stale");
        let path = directory.socket();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "it is left behind");
        let (listener, file) = bind_unix(&path, 0o600).unwrap();
        let error = bind_unix(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        // Somebody has put another one there.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop((listener, file));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays_what_it_is() {
        let directory = Directory::new("other");
        let path = directory.socket();
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind_unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        // Whatever a link points to was not meant to be removed.
        let target = directory.0.join("target.sock");
        drop(UnixListener::bind(&target).unwrap());
        let link = directory.0.join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(bind_unix(&link, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(target.exists());
        let long = directory.0.join("x".repeat(120));
        assert!(bind_unix(&long, 0o600).is_err(), "longer than a socket's name may be");
    }
}
