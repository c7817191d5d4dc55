//! Reads a part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::matcher::Matcher;
use gds_promql::source::Samples;
use roaring::RoaringBitmap;

use super::index::Index;
use super::page::{BlockHandle, Entry, Page, Values};
use super::{DATA, INDEX, PartInfo};
use crate::codec::packed::Unpacker;
use crate::codec::{Damaged, histogram, integers, times, values, xor};
use crate::error::{Error, OnPath};
use crate::frame::{FileKind, HEADER, block};
use crate::fs::{Fs, Reading};
use crate::samples::{Range, push, within};

/// A part that is open. Its files may be removed meanwhile: it can be read on.
pub(crate) struct Part {
    pub(crate) info: PartInfo,
    pub(crate) folder: PathBuf,
    index: Index,
    data: Arc<dyn Reading>,
    length: u64,
}

/// The decoders of the chunks that were read last: pages of a metric share one, and are read one after the other.
#[derive(Default)]
pub(crate) struct ChunkDecoders {
    numbers: Option<(u64, Unpacker<f64>)>,
    integers: Option<(u64, Unpacker<i64>)>,
}

/// A place of a part that cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) path: PathBuf,
    pub(crate) error: Error,
}

impl Part {
    /// Opens the part in a folder.
    pub(crate) fn open(fs: &dyn Fs, folder: &Path, info: PartInfo) -> Result<Self, Error> {
        let path = folder.join(INDEX);
        let index = Index::read(&path, &fs.read(&path).on("cannot read", &path)?)?;
        let path = folder.join(DATA);
        let data = fs.open(&path).on("cannot open", &path)?;
        let length = data.length().on("cannot read", &path)?;
        let mut header = [0; HEADER];
        if length >= HEADER as u64 {
            data.read_at(&mut header, 0).on("cannot read", &path)?;
        }
        FileKind::Data.check(&path, &header)?;
        Ok(Self { info, folder: folder.to_owned(), index, data, length })
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.index.size()
    }

    /// The numbers of the series that all matchers choose.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, Error> {
        self.index.select(matchers).on("cannot read", &self.folder.join(INDEX))
    }

    /// A series and its labels.
    pub(crate) fn series(&self, number: u32) -> Result<(Labels, Entry), Error> {
        let read = || -> Result<_, Damaged> {
            let entry = self.index.entry(number)?;
            Ok((self.index.labels(&entry)?, entry))
        };
        read().on("cannot read", &self.folder.join(INDEX))
    }

    /// The samples of a series within a time; what cannot be read is left out and said. Of a series with histograms all of
    /// them, because what a histogram says of a reset depends on what is before it.
    pub(crate) fn samples(&self, entry: &Entry, range: Range, decoders: &mut ChunkDecoders) -> (Samples, Vec<Broken>) {
        let (mut samples, mut broken) = (Samples::default(), Vec::new());
        let whole = entry.pages.iter().any(|page| matches!(page, Page::Histograms { .. }));
        let range = if whole { (i64::MIN, i64::MAX) } else { range };
        for page in &entry.pages {
            let (oldest, newest) = page.range();
            if oldest > range.1 || newest < range.0 {
                continue;
            }
            let mut read = Samples::default();
            match self.page(page, decoders, &mut read) {
                Ok(()) => {
                    let read = if oldest < range.0 || newest > range.1 { within(&read, range) } else { read };
                    append(&mut samples, read);
                }
                Err(error) => broken.push(Broken { path: self.folder.join(DATA), error }),
            }
        }
        (samples, broken)
    }

    fn page(&self, page: &Page, decoders: &mut ChunkDecoders, into: &mut Samples) -> Result<(), Error> {
        let path = || self.folder.join(DATA);
        match page {
            Page::Numbers { count, times, starts, not_numbers, values, .. } => {
                let times = times::decode(&self.block(*times)?, *count).on("cannot read", &path())?;
                let starts = match starts {
                    Some(starts) => times::decode_starts(&self.block(*starts)?, *count).on("cannot read", &path())?,
                    None => Vec::new(),
                };
                let numbers = self.numbers(values, count.saturating_sub(not_numbers.len()), decoders)?;
                into.floats.values = values::restore(not_numbers, numbers, *count).on("cannot read", &path())?;
                into.floats.times = times;
                into.floats.starts = starts;
                Ok(())
            }
            Page::Histograms { count, block, .. } => {
                histogram::decode(&self.block(*block)?, *count, &mut into.histograms).on("cannot read", &path())
            }
        }
    }

    fn numbers(&self, values: &Values, count: usize, decoders: &mut ChunkDecoders) -> Result<Vec<f64>, Error> {
        let path = || self.folder.join(DATA);
        match values {
            Values::None => Ok(Vec::new()),
            Values::Same(bits) => Ok(vec![f64::from_bits(*bits); count]),
            Values::Linear(first, distance) => Ok(values::linear(*first, *distance, count)),
            Values::Xor(page) => xor::decode(&self.block(*page)?, count).on("cannot read", &path()),
            Values::Numbers { shared: head, page } => {
                let page = self.block(*page)?;
                let unpacker = self.unpacker(*head, &mut decoders.numbers)?;
                unpacker.read(&page, count).on("cannot read", &path())
            }
            Values::Decimal { digits, shared: head, page } => {
                let page = self.block(*page)?;
                let unpacker = self.unpacker(*head, &mut decoders.integers)?;
                let integers = unpacker.read(&page, count).on("cannot read", &path())?;
                Ok(integers.into_iter().map(|integer| integers::restored(integer, *digits)).collect())
            }
        }
    }

    fn unpacker<'a, T: pco::data_types::Number>(
        &self,
        head: BlockHandle,
        last: &'a mut Option<(u64, Unpacker<T>)>,
    ) -> Result<&'a mut Unpacker<T>, Error> {
        if last.as_ref().is_none_or(|(offset, _)| *offset != head.offset) {
            let unpacker = Unpacker::new(&self.block(head)?).on("cannot read", &self.folder.join(DATA))?;
            *last = Some((head.offset, unpacker));
        }
        match last {
            Some((_, unpacker)) => Ok(unpacker),
            None => Err(Error::damaged(&self.folder.join(DATA), &Damaged("a chunk has no head"))),
        }
    }

    /// A block whose checksum is right.
    fn block(&self, handle: BlockHandle) -> Result<Vec<u8>, Error> {
        let path = self.folder.join(DATA);
        let length = u64::from(handle.length) + 4;
        if handle.offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(Error::damaged(&path, &Damaged("a block is beyond its end")));
        }
        let mut bytes = vec![0; handle.length as usize + 4];
        self.data.read_at(&mut bytes, handle.offset).on("cannot read", &path)?;
        let length = block(&bytes).on("cannot read", &path)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Appends samples that are all later, of their type.
fn append(samples: &mut Samples, read: Samples) {
    if samples.is_empty() {
        *samples = read;
        return;
    }
    crate::samples::points(read).for_each(|point| push(samples, point));
}
