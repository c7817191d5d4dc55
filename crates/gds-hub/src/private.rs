//! Folders and files for their owner alone: what is kept in them is a program's data, and the umask is for others.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

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
