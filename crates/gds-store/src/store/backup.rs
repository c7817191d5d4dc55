//! Copies of a store that share its files: those of parts never change, nor do those of the log whose generation ended.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::{LOG, PARTS, Store};
use crate::error::{Error, OnPath};
use crate::finding::{Finding, FindingKind};
use crate::fs::Fs;
use crate::log::file::Name;
use crate::manifest::{self, Manifest};
use crate::options::Options;
use crate::part::read::ChunkDecoders;
use crate::part::{DATA, INDEX, PartInfo};

/// What a backup consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Parts in it.
    pub parts: u64,
    /// Of these, parts that were not in it before.
    pub new_parts: u64,
    /// Files of the log in it.
    pub log_files: u64,
}

impl Store {
    /// Makes a folder a copy of all that was accepted before; writers go on meanwhile. What the folder has of a backup
    /// before is not copied again, and what is in the store no more is removed from it. Files are links where the folder is
    /// on the same disk.
    pub fn backup(&self, folder: impl AsRef<Path>) -> Result<BackedUp, Error> {
        self.writable()?;
        let folder = folder.as_ref();
        let fs = &*self.options.fs;
        let mut upkeep = self.upkeep.lock();
        let generation = self.end_generation();
        let state = self.state.read().clone();
        make_folders(fs, folder)?;
        let mut done = BackedUp::default();
        for part in &state.parts {
            done.parts += 1;
            done.new_parts += u64::from(link_part(fs, &part.folder, &folder.join(PARTS), &part.info)?);
        }
        let (log, to) = (self.folder.join(LOG), folder.join(LOG));
        let flushed = state.manifest.flushed;
        let names = fs.list(&log).on("cannot list", &log)?;
        let wanted: Vec<String> = (names.iter().filter_map(|name| Name::parse(name)))
            .filter(|name| name.generation > flushed && name.generation <= generation)
            .map(|name| name.to_string())
            .collect();
        for name in &wanted {
            link(fs, &log.join(name), &to.join(name))?;
            done.log_files += 1;
        }
        fs.sync_dir(&to).on("cannot sync", &to)?;
        upkeep.version += 1;
        let manifest = Manifest { version: upkeep.version, next: upkeep.next, ..state.manifest.clone() };
        manifest::write(&self.options.fs, folder, &manifest)?;

        let known: HashSet<String> = state.parts.iter().map(|part| part.info.folder()).collect();
        let parts = folder.join(PARTS);
        for name in fs.list(&parts).on("cannot list", &parts)?.into_iter().filter(|name| !known.contains(name)) {
            fs.remove_dir(&parts.join(name)).on("cannot remove", &parts)?;
        }
        for name in fs.list(&to).on("cannot list", &to)?.into_iter().filter(|name| !wanted.contains(name)) {
            fs.remove_file(&to.join(name)).on("cannot remove", &to)?;
        }
        Ok(done)
    }

    /// Makes a new store of a backup, in a folder that is empty or not there, once all of the backup is read and found
    /// whole.
    pub fn restore(backup: impl AsRef<Path>, folder: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let (backup, folder) = (backup.as_ref(), folder.as_ref());
        let fs = std::sync::Arc::clone(&options.fs);
        match fs.list(folder) {
            Ok(names) if names.is_empty() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Err(Error::NotEmpty { path: folder.to_owned() }),
            Err(error) => return Err(Error::io("cannot list", folder, error)),
        }
        let source = Self::open_read_only(backup, options.clone())?;
        let found = source.verify()?.into_iter().find(|finding| finding.kind != FindingKind::TornLog);
        if let Some(finding) = found {
            return Err(Error::Damaged { path: finding.path, what: finding.detail });
        }
        let manifest = source.state.read().manifest.clone();
        make_folders(&*fs, folder)?;
        for info in &manifest.parts {
            link_part(&*fs, &backup.join(PARTS).join(info.folder()), &folder.join(PARTS), info)?;
        }
        let (from, to) = (backup.join(LOG), folder.join(LOG));
        for name in fs.list(&from).on("cannot list", &from)?.iter().filter(|name| Name::parse(name).is_some()) {
            link(&*fs, &from.join(name), &to.join(name))?;
        }
        fs.sync_dir(&to).on("cannot sync", &to)?;
        manifest::write(&fs, folder, &manifest)?;
        Self::open(folder, options)
    }

    /// Reads everything, and says what is wrong: with what was found since the store was opened.
    pub fn verify(&self) -> Result<Vec<Finding>, Error> {
        let state = self.state.read().clone();
        for part in &state.parts {
            let mut decoders = ChunkDecoders::default();
            for number in part.select(&[])? {
                let broken = match part.series(number) {
                    Ok((_, entry)) => part.samples(&entry, (i64::MIN, i64::MAX), &mut decoders).1,
                    Err(error) => {
                        self.findings.add(FindingKind::DamagedBlock, &part.folder, error, 0);
                        continue;
                    }
                };
                for one in broken {
                    self.findings.add(FindingKind::DamagedBlock, one.path, one.error, 0);
                }
            }
        }
        Ok(self.findings())
    }
}

fn make_folders(fs: &dyn Fs, folder: &Path) -> Result<(), Error> {
    for folder in [folder.to_owned(), folder.join(LOG), folder.join(PARTS)] {
        fs.make_dir(&folder).on("cannot make", &folder)?;
    }
    Ok(())
}

/// Links the files of a part into a folder of parts; whether they were not there.
fn link_part(fs: &dyn Fs, part: &Path, parts: &Path, info: &PartInfo) -> Result<bool, Error> {
    let (new, to) = (parts.join(format!("{}.new", info.folder())), parts.join(info.folder()));
    if fs.list(&to).is_ok() {
        return Ok(false);
    }
    fs.make_dir(&new).on("cannot make", &new)?;
    for name in [DATA, INDEX] {
        link(fs, &part.join(name), &new.join(name))?;
    }
    fs.sync_dir(&new).on("cannot sync", &new)?;
    fs.rename(&new, &to).on("cannot rename", &new)?;
    fs.sync_dir(parts).on("cannot sync", parts)?;
    Ok(true)
}

fn link(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), Error> {
    match fs.link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.on("cannot link", from),
    }
}
