//! Opens a store: the list of parts, the parts, then the log.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use gds_process::sync::{Mutex, RwLock};
use gds_promql::labels::Labels;

use super::aside::set_aside;
use super::maintain::Upkeep;
use super::state::State;
use super::stats::Counters;
use super::{LOG, PARTS, QUARANTINE, Store};
use crate::error::{Error, OnPath};
use crate::finding::{FindingKind, Findings};
use crate::frame::{FileKind, HEADER};
use crate::head::limits::Counts;
use crate::head::series::hash;
use crate::head::shard::Shard;
use crate::log::file::Name;
use crate::log::record;
use crate::log::scan::{Piece, pieces};
use crate::manifest::{self, Manifest};
use crate::options::Options;
use crate::part::read::Part;

/// How often a store is looked at whose files are removed meanwhile.
const LOOKS: usize = 10;

pub(super) fn writing(folder: &Path, options: Options) -> Result<Store, Error> {
    options.check()?;
    let fs = Arc::clone(&options.fs);
    for folder in [folder.to_owned(), folder.join(LOG), folder.join(PARTS)] {
        fs.make_dir(&folder).on("cannot make", &folder)?;
    }
    let lock = fs.lock(folder).on("cannot lock", folder)?;
    let Some(lock) = lock else { return Err(Error::Locked { path: folder.to_owned() }) };
    let mut store = load(folder, options, false)?;
    store.lock = Some(lock);
    store.tidy()?;
    Ok(store)
}

pub(super) fn reading(folder: &Path, options: Options) -> Result<Store, Error> {
    options.check()?;
    for _ in 1..LOOKS {
        match load(folder, options.clone(), true) {
            // A file that the list named is gone: there is another list now.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Ok(store) if !store.is_as_listed()? => {}
            loaded => return loaded,
        }
    }
    let store = load(folder, options, true)?;
    let busy = || Error::io("cannot keep up with", folder, io::ErrorKind::ResourceBusy.into());
    if store.is_as_listed()? { Ok(store) } else { Err(busy()) }
}

fn load(folder: &Path, options: Options, read_only: bool) -> Result<Store, Error> {
    let fs = Arc::clone(&options.fs);
    let findings = Findings::default();
    let found = manifest::read(&*fs, folder)?;
    for error in found.damaged {
        findings.add(FindingKind::DamagedManifest, folder, error, 0);
    }
    let parts = open_parts(folder, &options, &found.manifest, read_only, &findings)?;
    let log = folder.join(LOG);
    let names: Vec<Name> = match fs.list(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && read_only => Vec::new(),
        names => names.on("cannot list", &log)?.iter().filter_map(|name| Name::parse(name)).collect(),
    };
    let manifest = found.manifest;
    let known = [manifest.flushed].into_iter().chain(names.iter().map(|name| name.generation));
    let known = known.chain(manifest.deletions.iter().map(|deletion| deletion.generation)).max().unwrap_or(0);
    let generation = known + 1;
    let shards: Box<[_]> =
        (0..options.shards).map(|number| Mutex::new(Shard::new(Arc::clone(&fs), &log, number, generation))).collect();
    let upkeep = Upkeep { version: manifest.version, next: manifest.next.max(1), flushed_at: (options.clock)() };
    let counts = Counts::new(options.limits.clone());
    let mut store = Store {
        folder: folder.to_owned(),
        options,
        read_only,
        shards,
        counts,
        generation: AtomicU64::new(generation),
        head_bytes: AtomicUsize::new(0),
        state: RwLock::new(Arc::new(State::new(manifest, parts))),
        upkeep: Mutex::new(upkeep),
        findings,
        counters: Counters::default(),
        lock: None,
    };
    store.replay(names)?;
    Ok(store)
}

fn open_parts(
    folder: &Path,
    options: &Options,
    manifest: &Manifest,
    read_only: bool,
    findings: &Findings,
) -> Result<Vec<Arc<Part>>, Error> {
    let mut parts = Vec::new();
    for info in &manifest.parts {
        let path = folder.join(PARTS).join(info.folder());
        match Part::open(&*options.fs, &path, info.clone()) {
            Ok(part) => parts.push(Arc::new(part)),
            Err(Error::Damaged { path: file, what }) => {
                findings.add(FindingKind::DamagedPart, file, what, 0);
                if !read_only {
                    set_aside(folder, options, &path, &info.folder())?;
                }
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !read_only => {
                findings.add(FindingKind::DamagedPart, path, "it is not there", 0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parts)
}

impl Store {
    /// Whether the list of parts is the one that was read: else what went from the log to parts meanwhile may be in neither.
    fn is_as_listed(&self) -> Result<bool, Error> {
        let now = manifest::read(&*self.options.fs, &self.folder)?.manifest.version;
        Ok(self.state.read().manifest.version == now)
    }

    /// Reads the log, file by file.
    fn replay(&mut self, mut names: Vec<Name>) -> Result<(), Error> {
        names.sort_unstable();
        let flushed = self.state.read().manifest.flushed;
        let mut series: HashMap<u32, (Labels, u64)> = HashMap::new();
        let mut of = None;
        for name in names.into_iter().filter(|name| name.generation > flushed) {
            if of != Some((name.generation, name.shard)) {
                of = Some((name.generation, name.shard));
                series.clear();
            }
            self.replay_file(name, &mut series)?;
        }
        let bytes = self.shards.iter().map(|shard| shard.lock().bytes).sum();
        self.head_bytes = AtomicUsize::new(bytes);
        Ok(())
    }

    fn replay_file(&self, name: Name, series: &mut HashMap<u32, (Labels, u64)>) -> Result<(), Error> {
        let path = self.folder.join(LOG).join(name.to_string());
        let bytes = self.options.fs.read(&path).on("cannot read", &path)?;
        if bytes.len() < HEADER {
            return Ok(()); // it was just being made
        }
        match FileKind::Log.check(&path, &bytes) {
            Err(Error::Damaged { what, .. }) => {
                // Its records may be whole.
                self.findings.add(FindingKind::DamagedLog, &path, what, HEADER);
                self.keep_damaged(&path, &bytes[..HEADER], 0);
            }
            checked => checked?,
        }
        let mut nameless = 0;
        for piece in pieces(&bytes, HEADER) {
            match piece {
                Piece::Record(at) => match record::decode(&bytes[at.clone()]) {
                    Ok(said) => {
                        for (number, labels) in said.series {
                            let hash = hash(&labels);
                            series.insert(number, (labels, hash));
                        }
                        for (number, point) in said.points {
                            let Some((labels, hash)) = series.get(&number) else {
                                nameless += 1;
                                continue;
                            };
                            let mut shard = self.shards[self.shard_of(*hash)].lock();
                            shard.replay(labels, *hash, name.generation, point, &self.options, &self.counts);
                        }
                    }
                    Err(error) => {
                        self.findings.add(FindingKind::DamagedLog, &path, error, at.len());
                        self.keep_damaged(&path, &bytes[at.clone()], at.start);
                    }
                },
                Piece::Damaged(at) => {
                    let detail = format!("bytes {} to {} are no record", at.start, at.end);
                    self.findings.add(FindingKind::DamagedLog, &path, detail, at.len());
                    self.keep_damaged(&path, &bytes[at.clone()], at.start);
                }
                Piece::Torn(at) => {
                    self.findings.add(FindingKind::TornLog, &path, "its end was cut off", at.len());
                }
            }
        }
        if nameless > 0 {
            self.findings.add(FindingKind::NamelessSamples, &path, "their series is not known", nameless);
        }
        Ok(())
    }

    /// Keeps bytes for somebody to look at. Where that fails, the finding says enough.
    fn keep_damaged(&self, path: &Path, bytes: &[u8], offset: usize) {
        if self.read_only {
            return;
        }
        let keep = || -> io::Result<()> {
            let quarantine = self.folder.join(QUARANTINE);
            self.options.fs.make_dir(&quarantine)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.options.fs.create(&quarantine.join(format!("{name}-{offset}")))?.append(bytes)
        };
        let _ = keep();
    }

    /// Removes what no list names: what was being written when the process ended, and what was being removed.
    fn tidy(&self) -> Result<(), Error> {
        let fs = &self.options.fs;
        let state = self.state.read().clone();
        let known: HashSet<String> = state.manifest.parts.iter().map(crate::part::PartInfo::folder).collect();
        let folder = self.parts_folder();
        for name in fs.list(&folder).on("cannot list", &folder)?.into_iter().filter(|name| !known.contains(name)) {
            let path = folder.join(name);
            fs.remove_dir(&path).on("cannot remove", &path)?;
        }
        self.remove_log(state.manifest.flushed)
    }

    /// Removes the files of generations up to one.
    pub(super) fn remove_log(&self, generation: u64) -> Result<(), Error> {
        let fs = &self.options.fs;
        let folder = self.folder.join(LOG);
        let names = fs.list(&folder).on("cannot list", &folder)?;
        for name in names.iter().filter_map(|name| Name::parse(name)).filter(|name| name.generation <= generation) {
            let path = folder.join(name.to_string());
            fs.remove_file(&path).on("cannot remove", &path)?;
        }
        Ok(())
    }
}
