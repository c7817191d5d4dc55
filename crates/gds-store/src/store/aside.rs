//! Where what is damaged goes.

use std::path::Path;

use super::QUARANTINE;
use crate::error::{Error, OnPath};
use crate::options::Options;

/// Moves what is damaged to where nobody removes it.
pub(super) fn set_aside(folder: &Path, options: &Options, path: &Path, name: &str) -> Result<(), Error> {
    let quarantine = folder.join(QUARANTINE);
    options.fs.make_dir(&quarantine).on("cannot make", &quarantine)?;
    options.fs.rename(path, &quarantine.join(name)).on("cannot rename", path)
}
