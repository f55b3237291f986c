//! Going on with the rights of somebody else than root.
//!
//! What only root may do is done before: listening on low ports, reading keys that others must not
//! read. What the broker makes itself is made afterwards, so that it belongs to whom it goes on as. If
//! the data directory is not there yet, it is made for that user; one that is there is left as it is,
//! since in a directory of somebody else nothing can safely be given away by its name.

use crate::options::{Auto, Config, Listener, Optional};
use crate::run::StartError;
use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use noctule_net::SocketFile;
use rustix::fs::{Access, Mode, OFlags, access};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown};
use std::path::Path;
use std::sync::OnceLock;
use tracing::warn;

/// Whom Mosquitto goes on as when root starts it and nobody says otherwise.
const MOSQUITTO: &str = "mosquitto";

/// The user that a `mosquitto.conf` means which names none, if there is such a user and anything to
/// give up.
pub(crate) fn usual_user() -> Optional<String> {
    // Asked once: when the file is read again, there is nothing to give up any more.
    static USUAL: OnceLock<bool> = OnceLock::new();
    let is_there = || is_root() && User::from_name(MOSQUITTO).is_ok_and(|user| user.is_some());
    if *USUAL.get_or_init(is_there) { Optional::Set(MOSQUITTO.to_owned()) } else { Optional::None }
}

/// The user to go on as, found but not yet become.
#[derive(Debug)]
pub(crate) struct Successor(User);

impl Successor {
    /// The user that the configuration names; none if there is none, or nothing to give up.
    ///
    /// # Errors
    /// [`StartError::User`] if there is no such user.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(name) = config.user.get() else {
            return Ok(None);
        };
        if !is_root() {
            warn!(user = name, "`user` has no effect: only root can go on as somebody else");
            return Ok(None);
        }
        let failed = |error| StartError::User { name: name.clone(), error };
        match User::from_name(name).map_err(|error| failed(error.into()))? {
            // There is nothing to give up.
            Some(user) if user.uid.is_root() => Ok(None),
            Some(user) => Ok(Some(Self(user))),
            None => {
                let unknown = io::Error::new(io::ErrorKind::NotFound, "there is no such user");
                Err(failed(unknown))
            }
        }
    }

    /// Becomes that user, for good: every thread of the process.
    ///
    /// # Errors
    /// [`StartError`] if that cannot be done, or if the user could not write where it has to.
    pub(crate) fn succeed(self, config: &Config, sockets: &[SocketFile]) -> Result<(), StartError> {
        let Self(User { name, uid, gid, .. }) = self;
        let failed = |error| StartError::User { name: name.clone(), error };
        for socket in sockets {
            socket.give_to(uid.as_raw(), gid.as_raw()).map_err(failed)?;
        }
        if let Some(path) = config.log_file.get() {
            give_log(path, uid, gid).map_err(failed)?;
        }
        if needs_directory(config) {
            make_for(&config.data_dir, uid, gid).map_err(failed)?;
        }
        become_user(&name, uid, gid).map_err(failed)?;
        let directory = &config.data_dir;
        if needs_directory(config) && access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err()
        {
            return Err(StartError::NotWritable { name, directory: directory.clone() });
        }
        Ok(())
    }
}

/// Whether anything will be written there: the store, or the broker's own certificate.
fn needs_directory(config: &Config) -> bool {
    let makes_certificate = |listener: &Listener| {
        listener.transport().is_tls() && matches!(listener.config.cert, Auto::Auto)
    };
    !config.in_memory || config.all_listeners().iter().any(makes_certificate)
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Gives away the file that root has opened for the log, so that it can be opened again: a file, and no
/// device; and none that has a second name, which may be that of something else.
fn give_log(path: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        // A link leads to it, so it is for others to say whose it is.
        return Ok(());
    };
    let found = fs::File::from(file);
    let about = found.metadata()?;
    if about.is_file() && about.nlink() == 1 {
        fchown(&found, Some(uid.as_raw()), Some(gid.as_raw()))?;
    }
    Ok(())
}

/// Makes the data directory if it is not there.
fn make_for(directory: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    if fs::symlink_metadata(directory).is_ok() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(directory)?;
    chown_new(directory, uid, gid)
}

/// What lies there is given away and not where a link might lead to.
fn chown_new(directory: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(directory, flags, Mode::empty())?;
    fchown(&handle, Some(uid.as_raw()), Some(gid.as_raw()))
}

fn become_user(name: &str, uid: Uid, gid: Gid) -> io::Result<()> {
    let name = CString::new(name)?;
    // In this order: who has become somebody else may change no group any more.
    initgroups(&name, gid)?;
    setgid(gid)?;
    setuid(uid)?;
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the rights of root would come back"));
    }
    Ok(())
}
