//! Numbers of many series of a metric, packed together by pco: one chunk for all, of which each series is a page. The
//! chunk says once how numbers are spread; a page is read without the others.

use pco::data_types::Number;
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use super::{Damaged, PAGE};

/// A chunk: what all pages share, and the pages.
pub(crate) struct Packed {
    pub(crate) shared: Vec<u8>,
    pub(crate) pages: Vec<Vec<u8>>,
}

impl Packed {
    /// Bytes of all of it.
    pub(crate) fn size(&self) -> usize {
        self.shared.len() + self.pages.iter().map(Vec::len).sum::<usize>()
    }
}

/// Packs the numbers of series, none of which is empty; nothing where pco refuses them.
pub(crate) fn encode<T: Number>(series: &[&[T]]) -> Option<Packed> {
    let numbers: Vec<T> = series.iter().flat_map(|numbers| numbers.iter().copied()).collect();
    let mut config = ChunkConfig::default();
    config.paging_spec = PagingSpec::Exact(series.iter().map(|numbers| numbers.len()).collect());
    let file = FileCompressor::default();
    let mut shared = Vec::new();
    file.write_header(&mut shared).ok()?;
    let mut chunk = file.chunk_compressor(&numbers, &config).ok()?;
    chunk.write_meta(&mut shared).ok()?;
    let mut pages = Vec::with_capacity(series.len());
    for at in 0..series.len() {
        let mut page = Vec::new();
        chunk.write_page(at, &mut page).ok()?;
        pages.push(page);
    }
    Some(Packed { shared, pages })
}

/// What all pages of a chunk share, ready to read them.
pub(crate) struct Unpacker<T: Number>(ChunkDecompressor<T>);

impl<T: Number> Unpacker<T> {
    pub(crate) fn new(shared: &[u8]) -> Result<Self, Damaged> {
        let damaged = |_| Damaged("the head of a chunk is not one of pco");
        let (file, rest) = FileDecompressor::new(shared).map_err(damaged)?;
        let (chunk, _) = file.chunk_decompressor(rest).map_err(damaged)?;
        Ok(Self(chunk))
    }

    /// The numbers of a page.
    pub(crate) fn read(&mut self, page: &[u8], count: usize) -> Result<Vec<T>, Damaged> {
        if count > PAGE {
            return Err(Damaged("a page has too many numbers"));
        }
        let damaged = |_| Damaged("a page is not one of pco");
        let mut numbers = vec![T::default(); count];
        let mut reader = self.0.page_decompressor(page, count).map_err(damaged)?;
        let progress = reader.read(&mut numbers).map_err(damaged)?;
        if progress.n_processed == count { Ok(numbers) } else { Err(Damaged("a page has too few numbers")) }
    }
}
