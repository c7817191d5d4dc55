//! Folders and files for their owner alone: what is kept in them is a program's data, and the umask is for others.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes a folder and those above it that are missing. One that is there stays as whoever made it wanted it.
pub(crate) fn make_dirs(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// For opening a file that is made if there is none.
pub(crate) fn options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).read(true).write(true).mode(0o600);
    options
}

/// As [`make_dirs`], and tells which folders have a new name in them that a power cut may take.
pub(crate) fn make_dirs_noting(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let mut changed: Vec<_> = missing.filter_map(Path::parent).map(Path::to_owned).collect();
    for parent in &mut changed {
        if parent.as_os_str().is_empty() {
            parent.push(".");
        }
    }
    make_dirs(dir)?;
    Ok(changed)
}

/// Has the names in a folder on the disk.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let synced = File::open(dir)?.sync_all();
    #[cfg(test)]
    let synced = synced.inspect(|()| synced::note(dir));
    synced
}

/// Has what was written to a file on the disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    #[cfg(test)]
    synced::first()?;
    file.sync_data()
}

/// Which folders were synced, for tests, and what comes before a file is: what a power cut would take cannot be seen
/// otherwise.
#[cfg(test)]
pub(crate) mod synced {
    use std::cell::RefCell;
    use std::io;
    use std::path::{Path, PathBuf};

    type First = Box<dyn Fn() -> io::Result<()>>;

    thread_local! {
        static DIRS: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
        static FIRST: RefCell<Option<First>> = const { RefCell::new(None) };
    }

    /// From now on this thread calls `first` before it syncs a file, which fails if that says so.
    pub(crate) fn call_first(first: impl Fn() -> io::Result<()> + 'static) {
        FIRST.set(Some(Box::new(first)));
    }

    pub(super) fn first() -> io::Result<()> {
        FIRST.with_borrow(|first| first.as_ref().map_or(Ok(()), |first| first()))
    }

    pub(super) fn note(dir: &Path) {
        DIRS.with_borrow_mut(|dirs| dirs.push(dir.to_owned()));
    }

    /// Those of this thread since the last call.
    pub(crate) fn take() -> Vec<PathBuf> {
        DIRS.take()
    }
}
