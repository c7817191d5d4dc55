//! The socket in the folder, through which the process that has the hub serves the others.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

const NAME: &str = "socket";
/// An address has room for this much everywhere (104 to 108 bytes).
const LONGEST: usize = 100;

/// Calls `with` a name of the socket that is short enough for an address.
fn at<T>(folder: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(NAME);
    if path.as_os_str().len() <= LONGEST {
        return with(&path);
    }
    let opened = File::open(folder)?;
    with(&Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(NAME))
}

/// Listens, for the user alone, in the place of whoever did before. Only for who has the folder.
pub(super) fn listen(folder: &Path) -> io::Result<UnixListener> {
    remove(folder)?;
    let listener = at(folder, |path| UnixListener::bind(path))?;
    fs::set_permissions(folder.join(NAME), Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the socket away: others see that nobody serves.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Connects to whoever listens.
pub(super) fn connect(folder: &Path) -> io::Result<UnixStream> {
    at(folder, |path| UnixStream::connect(path))
}

/// Refuses what runs as another user: the mode of the socket does so too, but not in the moment in which it is made.
#[cfg(target_os = "linux")]
pub(super) fn check_user(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if peer.uid == rustix::process::geteuid() {
        return Ok(());
    }
    let message = format!("process {} of user {} is at the other end", peer.pid.as_raw_nonzero(), peer.uid.as_raw());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Elsewhere the mode of the socket has to do.
#[cfg(not(target_os = "linux"))]
pub(super) fn check_user(_: &UnixStream) -> io::Result<()> {
    Ok(())
}
