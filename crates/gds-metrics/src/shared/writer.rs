//! This process's file: series are appended once, their cells are then updated in place.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gds_process::sync::Mutex;

use super::format::{self, FamilyText, HEADER_LEN, RECORD_LEN};
use super::mapped::{MappedCells, Segment};
use super::process_file::{EXTENSION, ProcessFile, TEMPORARY, reserve};
use super::recreate;
use crate::cells::Cells;
use crate::family::Family;

/// The first mapping; each further one doubles the file up to a step of [`MAX_STEP`].
const FIRST_STEP: usize = 64 * 1024;
const MAX_STEP: usize = 4 * 1024 * 1024;

/// The end of each mapping, kept for what the registry says about itself: where the file grows no more, there is still
/// room to count what is dropped.
const SPARE: usize = 2 * 1024;
const OWN_PREFIX: &str = "gds_metrics_";

/// How often a process should look whether its file is in its place.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whoever removes the files of a folder removes them all. A page that is asked for right after that waits until each
/// process has looked and made its own anew: were their counts missing on it, a server would take it for a restart.
const MADE_ANEW_BY_ALL: Duration = Duration::from_secs(2);

/// This process's file in a shared folder.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    header: Arc<Segment>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process_file: ProcessFile,
    /// Every mapping with its offset in the file; the last one is added to.
    segments: Vec<(usize, Arc<Segment>)>,
    /// Offset in the last segment of its free part.
    free: usize,
    families: HashMap<Arc<str>, u64>,
    made_anew: Option<Instant>,
    /// Whether it was not in its place and could not be made anew, and what is to be said of that or of the contrary.
    is_lost: bool,
    news: Option<String>,
}

/// Distinguishes several writers of one process in one nanosecond.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Writer {
    /// Makes this process's file in `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let nanos = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
            .unwrap_or(u64::MAX);
        let pid = std::process::id();
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{pid}-{nanos}-{sequence}.{EXTENSION}"));
        // The file gets its real name only with its lock held and its header written: nobody ever sees it unlocked.
        let temporary = path.with_extension(TEMPORARY);
        let process_file = ProcessFile::create(&temporary)?;
        let header = Self::write_header(&process_file.file, u64::from(pid), nanos)
            .and_then(|header| std::fs::rename(&temporary, &path).map(|()| header))
            .inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
        let state = State {
            process_file,
            segments: vec![(0, Arc::clone(&header))],
            free: HEADER_LEN,
            families: HashMap::new(),
            made_anew: None,
            is_lost: false,
            news: None,
        };
        Ok(Self { path, header, state: Mutex::new(state) })
    }

    fn write_header(file: &File, pid: u64, nanos: u64) -> io::Result<Arc<Segment>> {
        reserve(file, 0, FIRST_STEP)?;
        let header = Segment::map(file, 0, FIRST_STEP)?;
        header.write(0, &format::MAGIC.to_ne_bytes());
        header.write(format::PID_AT, &pid.to_ne_bytes());
        header.write(format::CREATED_AT, &nanos.to_ne_bytes());
        header.words(format::USED_AT, 1)[0].store(HEADER_LEN as u64, Ordering::Release);
        Ok(Arc::new(header))
    }

    /// Whether the file is where other processes look for it.
    pub fn is_in_place(&self) -> bool {
        self.state.lock().process_file.lock.is_at(&self.path)
    }

    /// Makes the file anew, with all that was counted, where it is not in its place any more: somebody removed it, or the
    /// whole folder. To be called every [`LOOK_EVERY`].
    pub fn keep_in_place(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.process_file.lock.is_at(&self.path) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match recreate::recreate(&self.path, &state.process_file.file, &state.segments) {
            Ok(process_file) => {
                state.process_file = process_file;
                state.made_anew = Some(Instant::now());
                state.is_lost = false;
                state.news = Some(format!(
                    "the files of multiprocess_dir={folder} were removed while this program runs: process {} made its own \
                     anew with all that it had counted; what ended processes had counted is gone; keep the folder where \
                     nothing is cleaned, not below /tmp",
                    std::process::id()
                ));
                Ok(())
            }
            Err(error) => {
                if !state.is_lost {
                    state.is_lost = true;
                    state.news = Some(format!(
                        "multiprocess_dir={folder} was removed while this program runs and cannot be made anew: {error}; \
                         counts of process {} are kept, and shown again when it can",
                        std::process::id()
                    ));
                }
                Err(error)
            }
        }
    }

    /// What is to be said in the user's log, once.
    pub fn take_news(&self) -> Option<String> {
        self.state.lock().news.take()
    }

    /// How long other processes may yet take to notice what this one noticed.
    pub(crate) fn others_are_ready_in(&self) -> Duration {
        let made_anew = self.state.lock().made_anew;
        made_anew.map_or(Duration::ZERO, |made| MADE_ANEW_BY_ALL.saturating_sub(made.elapsed()))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a series of `family`; the family too if it is new here.
    pub(crate) fn series(&self, family: &Family, text: &str) -> io::Result<Cells> {
        let mut state = self.state.lock();
        let spare = if family.name.starts_with(OWN_PREFIX) { 0 } else { SPARE };
        let number = if let Some(number) = state.families.get(&family.name) {
            *number
        } else {
            let number = state.families.len() as u64;
            let meta = family.meta.read().clone();
            let described = FamilyText {
                name: &family.name,
                help: &meta.help,
                unit: &meta.unit,
                bounds: family.shape.bounds.to_vec(),
            };
            let way = u64::from(family.shape.kind as u8) | u64::from(family.aggregation as u8) << 8;
            self.append(&mut state, spare, format::FAMILY, number, way, &described.encode(), 0)?;
            state.families.insert(Arc::clone(&family.name), number);
            number
        };
        let len = family.shape.cells_len();
        self.append(&mut state, spare, format::SERIES, number, len as u64, text.as_bytes(), len)
            .map(|cells| Cells::Mapped(Box::new(cells)))
    }

    /// Adds room for the exemplars of a series.
    pub(crate) fn exemplars(&self, series: &MappedCells, len: usize) -> io::Result<Cells> {
        let mut state = self.state.lock();
        self.append(&mut state, SPARE, format::EXEMPLARS, series.record, len as u64, &[], len)
            .map(|cells| Cells::Mapped(Box::new(cells)))
    }

    /// Appends a record, leaving `spare` bytes of the mapping free.
    #[allow(clippy::too_many_arguments)] // the parts of a record
    fn append(
        &self,
        state: &mut State,
        spare: usize,
        kind: u32,
        a: u64,
        b: u64,
        text: &[u8],
        cells: usize,
    ) -> io::Result<MappedCells> {
        let text_end = RECORD_LEN + format::padded(text.len());
        let length = text_end + cells * 8;
        let (Ok(length_word), Ok(text_len)) = (u32::try_from(length), u32::try_from(text.len())) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a series of more than 4 GiB"));
        };
        if state.free + length + spare > state.last().1.len() {
            self.grow(state, length + spare)?;
        }
        let at = state.free;
        let (start, segment) = state.last();
        segment.write(at, &length_word.to_ne_bytes());
        segment.write(at + 4, &format::checksum(kind, a, b, text).to_ne_bytes());
        segment.write(at + 8, &kind.to_ne_bytes());
        segment.write(at + 12, &text_len.to_ne_bytes());
        segment.write(at + 16, &a.to_ne_bytes());
        segment.write(at + 24, &b.to_ne_bytes());
        segment.write(at + RECORD_LEN, text);
        let record = start + at;
        let made = MappedCells::new(Arc::clone(segment), at + text_end, cells, record as u64);
        state.free += length;
        self.publish(record + length);
        Ok(made)
    }

    /// Maps the next part of the file, after filling up the present one.
    fn grow(&self, state: &mut State, needed: usize) -> io::Result<()> {
        let (before, last) = state.last();
        let start = before + last.len();
        let len = needed.max(start.min(MAX_STEP)).next_multiple_of(FIRST_STEP);
        reserve(&state.process_file.file, start, len)?;
        let segment = Segment::map(&state.process_file.file, start as u64, len)?;
        let rest = last.len() - state.free;
        if rest > 0 {
            let rest = u32::try_from(rest).unwrap_or(u32::MAX); // a mapping is at most a record longer than MAX_STEP
            last.write(state.free, &rest.to_ne_bytes());
            last.write(state.free + 4, &format::PADDING.to_ne_bytes());
            self.publish(start);
        }
        state.segments.push((start, Arc::new(segment)));
        state.free = 0;
        Ok(())
    }

    fn publish(&self, used: usize) {
        self.header.words(format::USED_AT, 1)[0].store(used as u64, Ordering::Release);
    }
}

impl State {
    /// The segment that is added to, with its offset in the file.
    fn last(&self) -> (usize, &Arc<Segment>) {
        let (start, segment) = self.segments.last().expect("the first is never taken out");
        (*start, segment)
    }
}
