//! Who has the folder: one process at a time, for as long as one of its clients is there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use gds_process::PerProcess;
use gds_process::lock::Lock;
use gds_process::sync::Mutex;

use super::serve::Server;
use super::{Core, EmbeddedOptions, socket, unusable};
use crate::error::Result;
use crate::private;

/// The hub in the process that has the folder, and what serves it to the others.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) core: Arc<Core>,
    /// None where the folder has no room for a socket.
    server: Option<Server>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        if self.core.is_here() {
            server.stop(&self.core);
        } else {
            mem::forget(server); // its threads and locks are the parent's
        }
    }
}

type Opened = Mutex<HashMap<PathBuf, (Weak<Owner>, Weak<Core>)>>;

/// The hubs that this process has.
static OPENED: PerProcess<Opened> = PerProcess::new();

/// The hub in `path`, if this process has it.
pub(super) fn here(path: &Path) -> Option<Arc<Owner>> {
    OPENED.get()?.lock().get(path)?.0.upgrade()
}

/// Whether this process is about to let go of the folder.
pub(super) fn ends_here(path: &Path) -> bool {
    let ends = |(owner, core): &(Weak<Owner>, Weak<Core>)| owner.strong_count() == 0 && core.strong_count() > 0;
    OPENED.get().is_some_and(|opened| opened.lock().get(path).is_some_and(ends))
}

/// The hub in `path`, if this process has it or nobody does; none if another process has it.
pub(super) fn enter(path: &Path, options: EmbeddedOptions, made_dirs: &mut Vec<PathBuf>) -> Result<Option<Arc<Owner>>> {
    let mut opened = OPENED.get_or_init(Opened::default).lock();
    if let Some(owner) = opened.get(path).and_then(|(owner, _)| owner.upgrade()) {
        return Ok(Some(owner));
    }
    let Some(lock) = try_lock(path).map_err(|error| unusable(path, &error))? else { return Ok(None) };
    // Before the logs are read, which may take a while: who comes meanwhile waits.
    let listener = socket::listen(path).ok();
    fs::write(lock_path(path), std::process::id().to_string()).map_err(|error| unusable(path, &error))?;
    let core = Arc::new(Core::open(path, options, mem::take(made_dirs), lock)?);
    let server = listener.and_then(|listener| Server::start(listener, &core).ok());
    if server.is_none() {
        let _ = socket::remove(path); // else others would wait for an answer
    }
    let owner = Arc::new(Owner { core, server });
    opened.retain(|_, (_, core)| core.strong_count() > 0);
    opened.insert(path.to_owned(), (Arc::downgrade(&owner), Arc::downgrade(&owner.core)));
    Ok(Some(owner))
}

/// Who has the folder, in words.
pub(super) fn holder(path: &Path) -> String {
    let owner = fs::read_to_string(lock_path(path)).ok().and_then(|owner| owner.trim().parse::<u32>().ok());
    owner.map_or_else(|| "another process".to_owned(), |owner| format!("process {owner}"))
}

fn lock_path(path: &Path) -> PathBuf {
    path.join("lock")
}

/// Takes the folder for this process, if nobody has it.
fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = private::options().truncate(false).open(lock_path(path))?;
    match Lock::within(file, Duration::ZERO) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
