//! Which series a part has: their labels as numbers of texts, and for each label and value the series that have it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use fst::{IntoStreamer, Map, MapBuilder, Streamer};
use gds_promql::labels::Labels;
use gds_promql::matcher::{MatchOp, Matcher};
use roaring::RoaringBitmap;

use super::page::{Entry, Page};
use crate::codec::{Damaged, Input, put_bytes, put_varint};
use crate::error::{Error, OnPath};
use crate::frame::{FileKind, HEADER, block, put_block};

/// Between name and value in a key: no text has it.
const BETWEEN: u8 = 0xff;
/// Behind the values of a name.
const BEHIND: u8 = 0xff;
/// The most that LZ4 makes of one byte.
const GREATEST_RATIO: usize = 256;

/// An index being written.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    postings: HashMap<(u32, u32), RoaringBitmap>,
    offsets: Vec<u8>,
    entries: Vec<u8>,
    series: u32,
}

impl IndexWriter {
    /// Adds a series.
    pub(crate) fn push(&mut self, labels: &Labels, pages: Vec<Page>) {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (self.number(name), self.number(value))).collect();
        for pair in &pairs {
            self.postings.entry(*pair).or_default().insert(self.series);
        }
        self.series += 1;
        self.offsets.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        Entry { labels: pairs, pages }.put(&mut self.entries);
    }

    pub(crate) fn series(&self) -> u64 {
        u64::from(self.series)
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = Arc::from(text);
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The file: sections, how long each is, and the checksum of that.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut texts = Vec::new();
        put_varint(&mut texts, self.texts.len() as u64);
        self.texts.iter().for_each(|text| put_bytes(&mut texts, text.as_bytes()));
        let mut compressed = Vec::new();
        put_varint(&mut compressed, texts.len() as u64);
        compressed.extend_from_slice(&lz4_flex::block::compress(&texts));

        let mut sorted = BTreeMap::new();
        for ((name, value), series) in self.postings {
            let (name, value) = (&self.texts[name as usize], &self.texts[value as usize]);
            sorted.insert(key(name, value), series);
        }
        let (mut keys, mut postings) = (MapBuilder::memory(), Vec::new());
        for (key, series) in sorted {
            // Keys are in order, and memory takes all of them.
            let _ = keys.insert(&key, postings.len() as u64);
            let mut bytes = Vec::with_capacity(series.serialized_size());
            let _ = series.serialize_into(&mut bytes);
            put_bytes(&mut postings, &bytes);
        }
        let keys = keys.into_inner().unwrap_or_default();

        let mut out = FileKind::Index.header().to_vec();
        let mut lengths = Vec::new();
        for section in [&compressed, &self.offsets, &self.entries, &keys, &postings] {
            put_block(&mut out, section);
            lengths.extend_from_slice(&(section.len() as u64).to_le_bytes());
        }
        put_block(&mut out, &lengths);
        out
    }
}

fn key(name: &str, value: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + value.len() + 1);
    key.extend_from_slice(name.as_bytes());
    key.push(BETWEEN);
    key.extend_from_slice(value.as_bytes());
    key
}

/// The map of keys, once its own checksum is right, too: the crate believes each byte behind that, and panics where one
/// leads nowhere.
fn checked_map(keys: Vec<u8>) -> Result<Map<Vec<u8>>, Damaged> {
    let damaged = |_| Damaged("labels are not in an index");
    let map = Map::new(keys).map_err(damaged)?;
    map.as_fst().verify().map_err(damaged)?;
    Ok(map)
}

/// An index that is read.
pub(crate) struct Index {
    texts: Vec<Arc<str>>,
    offsets: Vec<u64>,
    entries: Vec<u8>,
    keys: Map<Vec<u8>>,
    postings: Vec<u8>,
}

impl Index {
    /// Reads a file.
    pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        FileKind::Index.check(path, bytes)?;
        Self::sections(bytes).on("cannot read", path)
    }

    fn sections(bytes: &[u8]) -> Result<Self, Damaged> {
        const LENGTHS: usize = 5 * 8 + 4;
        let body = bytes.get(HEADER..).ok_or(Damaged("it is too short"))?;
        let at = body.len().checked_sub(LENGTHS).ok_or(Damaged("it is too short"))?;
        let (body, lengths) = body.split_at(at);
        let mut lengths = Input(block(lengths)?);
        let mut body = Input(body);
        let mut section = || {
            let length = usize::try_from(lengths.u64()?).ok().and_then(|length| length.checked_add(4));
            block(body.take(length.ok_or(Damaged("a section is too long"))?)?)
        };
        let (texts, offsets, entries, keys, postings) = (section()?, section()?, section()?, section()?, section()?);
        body.end()?;

        let mut texts = Input(texts);
        let length = texts.at_most(texts.0.len().saturating_mul(GREATEST_RATIO))?;
        let texts = lz4_flex::block::decompress(texts.0, length).map_err(|_| Damaged("texts do not decompress"))?;
        let mut texts = Input(&texts);
        let count = texts.count()?;
        let texts = (0..count).map(|_| texts.text().map(Arc::from)).collect::<Result<_, _>>()?;
        let (offsets, []) = offsets.as_chunks() else { return Err(Damaged("an offset is cut off")) };
        Ok(Self {
            texts,
            offsets: offsets.iter().map(|offset| u64::from_le_bytes(*offset)).collect(),
            entries: entries.to_vec(),
            keys: checked_map(keys.to_vec())?,
            postings: postings.to_vec(),
        })
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len() + 32).sum();
        texts + 8 * self.offsets.len() + self.entries.len() + self.keys.as_fst().as_bytes().len() + self.postings.len()
    }

    /// A series by its number.
    pub(crate) fn entry(&self, number: u32) -> Result<Entry, Damaged> {
        let offset = self.offsets.get(number as usize).and_then(|offset| usize::try_from(*offset).ok());
        let bytes = offset.and_then(|offset| self.entries.get(offset..)).ok_or(Damaged("a series is not there"))?;
        Entry::read(&mut Input(bytes))
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, entry: &Entry) -> Result<Labels, Damaged> {
        let text = |number: u32| self.texts.get(number as usize).cloned().ok_or(Damaged("a text is not there"));
        let pairs = entry.labels.iter().map(|(name, value)| Ok((text(*name)?, text(*value)?)));
        let pairs = pairs.collect::<Result<Vec<_>, Damaged>>()?;
        if pairs.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(Damaged("labels are not in order"));
        }
        Ok(Labels::from_sorted(pairs))
    }

    /// The series that all matchers choose.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, Damaged> {
        let mut chosen: Option<RoaringBitmap> = None;
        // What chooses few comes first.
        let exact = |matcher: &&Matcher| matcher.op() == MatchOp::Equal && !matcher.value().is_empty();
        for matcher in matchers.iter().filter(exact) {
            let found = match self.keys.get(key(matcher.name(), matcher.value())) {
                Some(offset) => self.series_at(offset)?,
                None => RoaringBitmap::new(),
            };
            chosen = Some(match chosen {
                Some(chosen) => chosen & found,
                None => found,
            });
        }
        let mut chosen = chosen.unwrap_or_else(|| (0..self.len()).collect());
        for matcher in matchers.iter().filter(|matcher| !exact(matcher)) {
            if chosen.is_empty() {
                break;
            }
            // A series without the label has the value "": where that matches, those go that have another one.
            if matcher.matches("") {
                chosen -= self.with_value(matcher.name(), |value| !matcher.matches(value))?;
            } else {
                chosen &= self.with_value(matcher.name(), |value| matcher.matches(value))?;
            }
        }
        Ok(chosen)
    }

    fn with_value(&self, name: &str, passes: impl Fn(&str) -> bool) -> Result<RoaringBitmap, Damaged> {
        let from = key(name, "");
        let mut to = from.clone();
        to.push(BEHIND);
        let mut values = self.keys.range().ge(&from).lt(&to).into_stream();
        let mut found = RoaringBitmap::new();
        while let Some((key, offset)) = values.next() {
            let value = std::str::from_utf8(&key[from.len()..]).map_err(|_| Damaged("a text is not UTF-8"))?;
            if passes(value) {
                found |= self.series_at(offset)?;
            }
        }
        Ok(found)
    }

    fn series_at(&self, offset: u64) -> Result<RoaringBitmap, Damaged> {
        let offset = usize::try_from(offset).ok();
        let bytes = offset.and_then(|offset| self.postings.get(offset..)).ok_or(Damaged("a label has no series"))?;
        let bytes = Input(bytes).bytes()?;
        RoaringBitmap::deserialize_from(bytes).map_err(|_| Damaged("the series of a label cannot be read"))
    }
}
