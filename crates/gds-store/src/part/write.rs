//! Writes a part: the series of one metric after those of another, each once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::source::{Column, Samples};

use super::index::IndexWriter;
use super::page::{BlockHandle, Page, Values};
use super::{DATA, INDEX, PartInfo};
use crate::codec::histogram::HistogramChunk;
use crate::codec::values::{self, Form};
use crate::codec::{PAGE, times};
use crate::error::{Error, OnPath};
use crate::frame::{FileKind, HEADER, put_block};
use crate::fs::{Fs, Writing};

/// Values of a metric that are encoded together.
const TOGETHER: usize = 1 << 18;
/// Bytes that are gathered before they are written.
const GATHERED: usize = 1 << 20;
/// Columns of times that are remembered, because other series may have the same.
const REMEMBERED: usize = 4_096;

/// A part that is being written, in a folder that is not yet its own.
#[derive(Debug)]
pub(crate) struct PartWriter {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    data: Blocks,
    times: HashMap<Vec<u8>, BlockHandle>,
    index: IndexWriter,
    metric: String,
    waiting: Vec<Waiting>,
    waiting_values: usize,
    info: PartInfo,
}

/// A series whose values wait for others of its metric.
#[derive(Debug)]
struct Waiting {
    labels: Labels,
    pages: Vec<Page>,
    /// The values of its pages of numbers, which come first.
    values: Vec<Vec<f64>>,
}

impl PartWriter {
    /// Begins in a new folder. The rest of `info` is filled in.
    pub(crate) fn new(fs: Arc<dyn Fs>, folder: &Path, info: PartInfo) -> Result<Self, Error> {
        fs.make_dir(folder).on("cannot make", folder)?;
        let path = folder.join(DATA);
        let file = fs.create(&path).on("cannot create", &path)?;
        let data = Blocks { path, file, written: 0, gathered: FileKind::Data.header().to_vec() };
        let info = PartInfo { oldest: i64::MAX, newest: i64::MIN, series: 0, samples: 0, bytes: 0, ..info };
        Ok(Self {
            fs,
            folder: folder.to_owned(),
            data,
            times: HashMap::new(),
            index: IndexWriter::default(),
            metric: String::new(),
            waiting: Vec::new(),
            waiting_values: 0,
            info,
        })
    }

    /// Adds a series, with samples by time, each time once.
    pub(crate) fn push(&mut self, labels: &Labels, samples: &Samples) -> Result<(), Error> {
        if samples.is_empty() {
            return Ok(());
        }
        if labels.metric_name() != self.metric || self.waiting_values >= TOGETHER {
            self.flush()?;
            labels.metric_name().clone_into(&mut self.metric);
        }
        let mut waiting = Waiting { labels: labels.clone(), pages: Vec::new(), values: Vec::new() };
        let floats = &samples.floats;
        for from in (0..floats.times.len()).step_by(PAGE) {
            let to = floats.times.len().min(from + PAGE);
            let times = self.shared(times::encode(&floats.times[from..to]))?;
            let starts = floats.starts.get(from..to).map(times::encode_starts);
            let starts = starts.map(|starts| self.shared(starts)).transpose()?;
            let range = (floats.times[from], floats.times[to - 1]);
            let values = Values::None;
            waiting.pages.push(Page::Numbers {
                range,
                count: to - from,
                times,
                starts,
                not_numbers: Vec::new(),
                values,
            });
            waiting.values.push(floats.values[from..to].to_vec());
        }
        self.waiting_values += floats.times.len();
        let histograms = &samples.histograms;
        for from in (0..histograms.times.len()).step_by(PAGE) {
            let to = histograms.times.len().min(from + PAGE);
            let mut chunk = HistogramChunk::default();
            for at in from..to {
                chunk.push(histograms.times[at], start_of(histograms, at), &histograms.values[at]);
            }
            let block = self.data.put(chunk.bytes())?;
            let range = (histograms.times[from], histograms.times[to - 1]);
            waiting.pages.push(Page::Histograms { range, count: to - from, block });
        }
        for (oldest, newest) in waiting.pages.iter().map(Page::range) {
            self.info.oldest = self.info.oldest.min(oldest);
            self.info.newest = self.info.newest.max(newest);
        }
        self.info.samples += samples.len() as u64;
        self.waiting.push(waiting);
        Ok(())
    }

    /// Ends it, with all on the disk but the name of the folder.
    pub(crate) fn finish(mut self) -> Result<PartInfo, Error> {
        self.flush()?;
        self.data.write()?;
        self.data.file.sync().on("cannot sync", &self.data.path)?;
        self.info.series = self.index.series();
        let index = self.index.finish();
        let path = self.folder.join(INDEX);
        let file = self.fs.create(&path).on("cannot create", &path)?;
        file.append(&index).on("cannot write", &path)?;
        file.sync().on("cannot sync", &path)?;
        self.fs.sync_dir(&self.folder).on("cannot sync", &self.folder)?;
        self.info.bytes = self.data.written + index.len() as u64;
        Ok(self.info)
    }

    /// A block that other series may have, too.
    fn shared(&mut self, bytes: Vec<u8>) -> Result<BlockHandle, Error> {
        if let Some(block) = self.times.get(&bytes) {
            return Ok(*block);
        }
        let block = self.data.put(&bytes)?;
        if self.times.len() >= REMEMBERED {
            self.times.clear();
        }
        self.times.insert(bytes, block);
        Ok(block)
    }

    /// Encodes the values of the series that wait.
    fn flush(&mut self) -> Result<(), Error> {
        let columns: Vec<&[f64]> =
            self.waiting.iter().flat_map(|waiting| waiting.values.iter().map(Vec::as_slice)).collect();
        let group = values::encode(&columns);
        let numbers_shared = self.data.put_some(&group.numbers)?;
        let integers_shared = self.data.put_some(&group.integers)?;
        let mut forms = group.forms.into_iter();
        for waiting in self.waiting.drain(..) {
            let mut pages = waiting.pages;
            for page in &mut pages {
                let Page::Numbers { not_numbers, values, .. } = page else { continue };
                let Some((others, form)) = forms.next() else { continue };
                *not_numbers = others;
                *values = match form {
                    Form::None => Values::None,
                    Form::Same(bits) => Values::Same(bits),
                    Form::Linear(first, distance) => Values::Linear(first, distance),
                    Form::Xor(bytes) => Values::Xor(self.data.put(&bytes)?),
                    Form::Numbers(bytes) => Values::Numbers { shared: numbers_shared, page: self.data.put(&bytes)? },
                    Form::Decimal(digits, bytes) => {
                        Values::Decimal { digits, shared: integers_shared, page: self.data.put(&bytes)? }
                    }
                };
            }
            self.index.push(&waiting.labels, pages);
        }
        self.waiting_values = 0;
        Ok(())
    }
}

fn start_of<T>(column: &Column<T>, at: usize) -> i64 {
    column.starts.get(at).copied().unwrap_or(0)
}

/// Blocks that are written one after the other.
#[derive(Debug)]
struct Blocks {
    path: PathBuf,
    file: Arc<dyn Writing>,
    written: u64,
    gathered: Vec<u8>,
}

impl Blocks {
    fn put(&mut self, bytes: &[u8]) -> Result<BlockHandle, Error> {
        let offset = self.written + self.gathered.len() as u64;
        put_block(&mut self.gathered, bytes);
        if self.gathered.len() >= GATHERED {
            self.write()?;
        }
        Ok(BlockHandle { offset, length: u32::try_from(bytes.len()).unwrap_or(u32::MAX) })
    }

    /// A handle that nothing asks for, where there is nothing.
    fn put_some(&mut self, bytes: &[u8]) -> Result<BlockHandle, Error> {
        if bytes.is_empty() { Ok(BlockHandle { offset: HEADER as u64, length: 0 }) } else { self.put(bytes) }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.append(&self.gathered).on("cannot write", &self.path)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}
