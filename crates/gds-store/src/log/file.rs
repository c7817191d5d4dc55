//! The files of the log of one shard.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_process::sync::Mutex;

use crate::error::{Error, OnPath};
use crate::frame::{FileKind, HEADER};
use crate::fs::{Fs, Writing};

/// A file that is longer is not written to any more, so that reading one takes no more memory than this.
const LONGEST: u64 = 8 << 20;

/// What a file holds, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) generation: u64,
    pub(crate) shard: usize,
    pub(crate) sequence: u32,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".log")?.split('-');
        let (generation, shard, sequence) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none();
        Some(Self {
            generation: generation.parse().ok()?,
            shard: shard.parse().ok()?,
            sequence: sequence.parse().ok().filter(|_| whole)?,
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:012}-{:03}-{:04}.log", self.generation, self.shard, self.sequence)
    }
}

/// A file that records are appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: Arc<dyn Writing>,
    /// How much is written whole.
    written: AtomicU64,
    /// How much of it is on the disk.
    synced: Mutex<u64>,
}

impl Segment {
    /// Has all up to `end` on the disk. Those who wait while another syncs find theirs done.
    pub(crate) fn sync(&self, end: u64) -> Result<(), Error> {
        let mut synced = self.synced.lock();
        if *synced < end {
            let written = self.written.load(Ordering::Acquire);
            self.file.sync().on("cannot sync", &self.path)?;
            *synced = written;
        }
        Ok(())
    }
}

/// Where the records of a shard go.
#[derive(Debug)]
pub(crate) struct ShardLog {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    shard: usize,
    sequence: u32,
    current: Option<(u64, Arc<Segment>)>,
}

impl ShardLog {
    pub(crate) fn new(fs: Arc<dyn Fs>, folder: &Path, shard: usize) -> Self {
        Self { fs, folder: folder.to_owned(), shard, sequence: 0, current: None }
    }

    /// Appends a record with its frame to a generation. All of it is there, or nothing; in which file, and up to where.
    pub(crate) fn append(&mut self, generation: u64, framed: &[u8]) -> Result<(Arc<Segment>, u64), Error> {
        let segment = self.segment(generation)?;
        let before = segment.written.load(Ordering::Relaxed);
        if let Err(error) = segment.file.append(framed) {
            // Where not even that can be undone, another file goes on: who reads this one knows a torn end.
            if segment.file.truncate(before).is_err() {
                self.current = None;
            }
            return Err(Error::io("cannot write", &segment.path, error));
        }
        let end = before + framed.len() as u64;
        segment.written.store(end, Ordering::Release);
        Ok((segment, end))
    }

    /// The next record goes to another file: this one cannot be relied on.
    pub(crate) fn leave(&mut self) {
        self.current = None;
    }

    fn segment(&mut self, generation: u64) -> Result<Arc<Segment>, Error> {
        if let Some((own, segment)) = &self.current
            && *own == generation
            && segment.written.load(Ordering::Relaxed) < LONGEST
        {
            return Ok(Arc::clone(segment));
        }
        let name = Name { generation, shard: self.shard, sequence: self.sequence };
        let path = self.folder.join(name.to_string());
        let file = self.fs.create(&path).on("cannot create", &path)?;
        self.sequence += 1;
        file.append(&FileKind::Log.header()).on("cannot write", &path)?;
        self.fs.sync_dir(&self.folder).on("cannot sync", &self.folder)?;
        let segment = Arc::new(Segment { path, file, written: AtomicU64::new(HEADER as u64), synced: Mutex::new(0) });
        self.current = Some((generation, Arc::clone(&segment)));
        Ok(segment)
    }
}
