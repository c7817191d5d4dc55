//! Fuzz targets: every decoder, on any bytes. What it understands is encoded again and has to come back the same. The
//! tree's folder `fuzz/` has programs of them, and tests run them, too.
//!
//! Where a count is not in the bytes themselves, the first two bytes are it.

// A panic is how each of them says that it has found a fault.
#![allow(clippy::missing_panics_doc)]

use std::path::Path;
use std::sync::Arc;

use gds_fuzz::Target;
use gds_promql::histogram::{Buckets, CounterResetHint, FloatHistogram};
use gds_promql::labels::Labels;
use gds_promql::matcher::{MatchOp, Matcher};
use gds_promql::source::Column;
use gds_promql::value::{STALE_NAN, Sample};

use crate::codec::chunk::{self, Chunk};
use crate::codec::histogram::{self, HistogramChunk};
use crate::codec::packed::{self, Unpacker};
use crate::codec::values::{self, NotNumbers};
use crate::codec::{Input, integers, times, xor};
use crate::frame::{FileKind, HEADER, put_block};
use crate::log::file::Name;
use crate::log::record::{self, Record};
use crate::log::scan::{Piece, framed, pieces};
use crate::manifest;
use crate::part::index::{Index, IndexWriter};
use crate::part::page::{BlockHandle, Entry, Page, Values};

/// All targets of the crate.
pub const TARGETS: [Target; 9] = [
    Target { name: "chunk", run: chunk, seeds: chunk_seeds, words: &[] },
    Target { name: "histogram", run: histogram, seeds: histogram_seeds, words: &[] },
    Target { name: "times", run: times, seeds: times_seeds, words: &[] },
    Target { name: "values", run: values, seeds: values_seeds, words: &[] },
    Target { name: "packed", run: packed, seeds: packed_seeds, words: &[] },
    Target { name: "log", run: log, seeds: log_seeds, words: &["\u{d7}GR\u{1a}"] },
    Target { name: "index_entry", run: index_entry, seeds: index_entry_seeds, words: &[] },
    Target { name: "index", run: index, seeds: index_seeds, words: &["__name__", "up", "job"] },
    Target { name: "manifest", run: manifest, seeds: manifest_seeds, words: MANIFEST_WORDS },
];

/// Numbers as they are measured, and some that are none.
fn numbers() -> Vec<f64> {
    let mut numbers: Vec<f64> = (0..60u32).map(|at| f64::from(at * at % 37) / 4.0).collect();
    numbers.extend([f64::NAN, f64::from_bits(STALE_NAN), f64::INFINITY, -0.0, f64::MAX, 5e-324, 1e300 / 3.0]);
    numbers
}

/// Times of so many samples, not all at one distance.
fn growing(count: usize) -> Vec<i64> {
    (0i64..).take(count).map(|at| 1_700_000_000_000 + at * 15_000 + at % 3).collect()
}

fn a_histogram(at: u32) -> FloatHistogram {
    FloatHistogram {
        counter_reset_hint: if at == 3 { CounterResetHint::Reset } else { CounterResetHint::Unknown },
        schema: if at > 4 { 2 } else { 0 },
        zero_threshold: 0.001,
        count: f64::from(at) + 3.0,
        sum: f64::from(at) * 0.25,
        positive: Buckets::from_offset(-2, vec![f64::from(at), 2.0, 1.0]),
        negative: Buckets::from_offset(5, vec![1.0]),
        custom_values: if at == 2 { vec![0.5, 1.0].into() } else { Vec::new().into() },
        ..FloatHistogram::default()
    }
}

fn labels() -> Labels {
    Labels::from_pairs([("__name__", "up"), ("instance", "a:1"), ("job", "\u{e9}")])
}

/// A count, and what is counted.
fn counted(count: usize, bytes: &[u8]) -> Vec<u8> {
    let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    count.into_iter().chain(bytes.iter().copied()).collect()
}

/// What [`counted`] put together. A count beyond what a decoder believes is among them.
fn split(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    Some((if count == usize::from(u16::MAX) { usize::MAX } else { count }, rest))
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn chunk_seeds() -> Vec<Vec<u8>> {
    let numbers = numbers();
    let mut chunk = Chunk::default();
    for (at, (time, number)) in growing(numbers.len()).into_iter().zip(&numbers).enumerate() {
        chunk.push(time, if at > 30 { 7 } else { 0 }, *number);
    }
    let mut flat = Chunk::default();
    (0..100).for_each(|at| flat.push(at * 15_000, 0, 1.0));
    [&chunk, &flat].map(|chunk| counted(chunk.len(), chunk.bytes())).to_vec()
}

/// Samples of an open chunk of memory.
pub fn chunk(bytes: &[u8]) {
    let Some((count, bytes)) = split(bytes) else { return };
    let mut read = Column::default();
    if chunk::decode(bytes, count, &mut read).is_err() {
        return;
    }
    assert_eq!(read.times.len(), count);
    assert!(read.times.windows(2).all(|pair| pair[0] < pair[1]));
    let (mut again, mut chunk) = (Column::default(), Chunk::default());
    for (at, value) in read.values.iter().enumerate() {
        chunk.push(read.times[at], read.starts.get(at).copied().unwrap_or(0), *value);
    }
    assert_eq!(chunk::decode(chunk.bytes(), count, &mut again), Ok(()));
    assert_eq!((read.times, read.starts, bits(&read.values)), (again.times, again.starts, bits(&again.values)));
}

fn histogram_seeds() -> Vec<Vec<u8>> {
    let mut chunk = HistogramChunk::default();
    (0..8u32).for_each(|at| chunk.push(i64::from(at) * 15_000, 0, &Arc::new(a_histogram(at))));
    vec![counted(chunk.len(), chunk.bytes())]
}

/// Native histograms, in memory and in parts.
pub fn histogram(bytes: &[u8]) {
    let Some((count, bytes)) = split(bytes) else { return };
    let mut read = Column::default();
    if histogram::decode(bytes, count, &mut read).is_err() {
        return;
    }
    let (mut again, mut chunk) = (Column::default(), HistogramChunk::default());
    for (at, value) in read.values.iter().enumerate() {
        chunk.push(read.times[at], read.starts.get(at).copied().unwrap_or(0), value);
        // What somebody may ask of it holds whatever it is.
        let _ = (value.check(), value.buckets().count());
    }
    assert_eq!(histogram::decode(chunk.bytes(), count, &mut again), Ok(()));
    assert_eq!(format!("{:?}", read.values), format!("{:?}", again.values));
}

fn times_seeds() -> Vec<Vec<u8>> {
    let times = growing(40);
    let starts: Vec<i64> = times.iter().map(|time| time / 200_000 * 200_000).collect();
    vec![
        counted(40, &times::encode(&times)),
        counted(3, &times::encode(&[10, 20, 30])),
        counted(40, &times::encode_starts(&starts)),
    ]
}

/// Times and starts of a page.
pub fn times(bytes: &[u8]) {
    let Some((count, bytes)) = split(bytes) else { return };
    if let Ok(read) = times::decode(bytes, count) {
        assert_eq!(read.len(), count);
        assert_eq!(times::decode(&times::encode(&read), count), Ok(read));
    }
    if let Ok(read) = times::decode_starts(bytes, count) {
        assert_eq!(times::decode_starts(&times::encode_starts(&read), count), Ok(read));
    }
}

fn values_seeds() -> Vec<Vec<u8>> {
    let numbers = numbers();
    let mut others = Vec::new();
    values::put_not_numbers(&mut others, &vec![(0, STALE_NAN), (5, f64::NAN.to_bits()), (39, STALE_NAN)]);
    vec![counted(numbers.len(), &xor::encode(&numbers)), counted(40, &others)]
}

/// Numbers by their bits, and what is no number.
pub fn values(bytes: &[u8]) {
    let Some((count, bytes)) = split(bytes) else { return };
    if let Ok(read) = xor::decode(bytes, count) {
        let again = xor::decode(&xor::encode(&read), count).expect("it was just encoded");
        assert_eq!(bits(&read), bits(&again));
    }
    let mut input = Input(bytes);
    let Ok(others) = values::read_not_numbers(&mut input, count) else { return };
    let mut again = Vec::new();
    values::put_not_numbers(&mut again, &others);
    assert_eq!(values::read_not_numbers(&mut Input(&again), count), Ok(NotNumbers::clone(&others)));
    let rest = count.min(1_000).saturating_sub(others.len());
    let _ = values::restore(&others, vec![1.0; rest], count.min(1_000));
}

fn packed_seeds() -> Vec<Vec<u8>> {
    let integers: Vec<i64> = (0..200i64).map(|at| at * at % 1_009 - 40).collect();
    let numbers: Vec<f64> = integers.iter().map(|integer| 1.0 / (*integer as f64 + 0.5)).collect();
    let seed = |packed: Option<packed::Packed>, count: usize| {
        let packed = packed.expect("pco takes them");
        let mut bytes = u16::try_from(packed.shared.len()).unwrap_or(0).to_le_bytes().to_vec();
        bytes.extend_from_slice(&packed.shared);
        bytes.extend_from_slice(&packed.pages[0]);
        counted(count, &bytes)
    };
    vec![seed(packed::encode(&[&integers[..]]), 200), seed(packed::encode(&[&numbers[..]]), 200)]
}

/// Pages of pco: after the count, how long what pages share is.
pub fn packed(bytes: &[u8]) {
    let Some((count, bytes)) = split(bytes) else { return };
    let Some((length, bytes)) = split(bytes) else { return };
    let Some((shared, page)) = bytes.split_at_checked(length) else { return };
    if let Ok(mut unpacker) = Unpacker::<i64>::new(shared)
        && let Ok(read) = unpacker.read(page, count)
    {
        assert_eq!(read.len(), count);
        let _: Vec<f64> = read.iter().map(|integer| integers::restored(*integer, bytes[0])).collect();
    }
    if let Ok(mut unpacker) = Unpacker::<f64>::new(shared)
        && let Ok(read) = unpacker.read(page, count)
    {
        assert_eq!(read.len(), count);
    }
}

fn a_record(values: &[Sample]) -> Record {
    let mut record = Record::default();
    record.name(7, &labels());
    for (at, value) in (0i64..).zip(values) {
        record.sample(7, at * 15_000, at % 2, value);
    }
    record
}

fn log_seeds() -> Vec<Vec<u8>> {
    let few = [Sample::Float(1.5), Sample::Histogram(Arc::new(a_histogram(1))), Sample::Float(f64::NAN)];
    let many: Vec<Sample> = (0..200u32).map(|at| Sample::Float(f64::from(at % 3))).collect();
    let records = [a_record(&few).encode(), a_record(&many).encode()];
    let whole: Vec<u8> = records.iter().flat_map(|record| framed(record)).collect();
    let torn = whole[..whole.len() - 5].to_vec();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    [whole, torn, damaged].into_iter().chain(records).collect()
}

/// A file of the log, its name, and a record by itself.
pub fn log(bytes: &[u8]) {
    let mut next = 0;
    for piece in pieces(bytes, 0) {
        let (Piece::Record(at) | Piece::Damaged(at) | Piece::Torn(at)) = &piece;
        assert!(at.start >= next && at.end >= at.start && at.end <= bytes.len(), "{piece:?} is behind {next}");
        next = at.end;
        if matches!(piece, Piece::Record(_)) {
            let _ = record::decode(&bytes[at.clone()]);
        }
    }
    assert_eq!(next, bytes.len(), "the pieces are all of it");
    if let Ok(said) = record::decode(bytes) {
        let mut record = Record::default();
        said.series.iter().for_each(|(number, labels)| record.name(*number, labels));
        said.points.iter().for_each(|(number, point)| record.sample(*number, point.time, point.start, &point.value));
        let again = record::decode(&record.encode()).expect("it was just encoded");
        assert_eq!(format!("{said:?}"), format!("{again:?}"));
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(Name::parse) {
        assert_eq!(Name::parse(&name.to_string()), Some(name));
    }
}

fn an_entry() -> Entry {
    let block = |offset| BlockHandle { offset, length: 100 };
    let range = (1_000, 601_000);
    let of_numbers = |values, not_numbers| Page::Numbers {
        range,
        count: 41,
        times: block(8),
        starts: Some(block(112)),
        not_numbers,
        values,
    };
    let pages = vec![
        of_numbers(Values::Same(1.0f64.to_bits()), vec![(40, STALE_NAN)]),
        of_numbers(Values::Linear(-5, 3), Vec::new()),
        of_numbers(Values::Xor(block(300)), Vec::new()),
        of_numbers(Values::Decimal { digits: 2, shared: block(500), page: block(700) }, Vec::new()),
        of_numbers(Values::Numbers { shared: block(500), page: block(700) }, Vec::new()),
        Page::Histograms { range, count: 12, block: block(900) },
    ];
    Entry { labels: vec![(0, 1), (2, 3)], pages }
}

fn index_entry_seeds() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    an_entry().put(&mut out);
    vec![out]
}

/// A series in the index of a part.
pub fn index_entry(bytes: &[u8]) {
    let Ok(entry) = Entry::read(&mut Input(bytes)) else { return };
    let mut out = Vec::new();
    entry.put(&mut out);
    assert_eq!(Entry::read(&mut Input(&out)), Ok(entry));
}

/// How long the sections of an index are that is made of bytes, each as two of them.
const SECTIONS: usize = 5;

fn index_seeds() -> Vec<Vec<u8>> {
    let mut writer = IndexWriter::default();
    for job in ["a", "b", "\u{e9}"] {
        writer.push(&labels().with("job", job), an_entry().pages);
    }
    let file = writer.finish();
    let lengths = &file[file.len() - 4 - 8 * SECTIONS..file.len() - 4];
    let (lengths, _) = lengths.as_chunks::<8>();
    let mut at = HEADER;
    let mut seed = Vec::new();
    for length in lengths {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(0);
        seed.extend(counted(length, &file[at..at + length]));
        at += length + 4;
    }
    vec![seed]
}

/// An index whose checksums are right.
pub fn index(mut bytes: &[u8]) {
    let (mut file, mut lengths) = (FileKind::Index.header().to_vec(), Vec::new());
    for _ in 0..SECTIONS {
        let Some((length, rest)) = split(bytes) else { return };
        let (section, rest) = rest.split_at(length.min(rest.len()));
        put_block(&mut file, section);
        lengths.extend_from_slice(&(section.len() as u64).to_le_bytes());
        bytes = rest;
    }
    put_block(&mut file, &lengths);
    let Ok(index) = Index::read(Path::new("index"), &file) else { return };
    for number in 0..index.len().min(100) {
        if let Ok(entry) = index.entry(number) {
            let _ = index.labels(&entry);
        }
    }
    let matcher = |operator, value: &str| Matcher::new("job", operator, value).expect("it is one");
    for matchers in [
        vec![],
        vec![Matcher::equal("__name__", "up")],
        vec![Matcher::equal("__name__", "up"), matcher(MatchOp::NotEqual, "a")],
        vec![matcher(MatchOp::Regex, "a|b|")],
    ] {
        let _ = index.select(&matchers);
    }
}

const MANIFEST_WORDS: &[&str] = &[
    "\"version\":",
    "\"parts\":",
    "\"deletions\":",
    "\"matchers\":",
    "[\"job\",\"=~\",\"(\"]",
    "null",
    "{}",
    "[]",
    "1e9",
    "-1",
];

fn manifest_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"version":3,"flushed":2,"next":9,"parts":[{"id":1,"generation":2,"day":19675,"class":"default","oldest":1,
            "newest":2,"series":3,"samples":4,"bytes":5,"deletion":0}],"deletions":[{"number":4,"generation":1,"start":-5,
            "end":9,"matchers":[["job","=~","a.*"]]}],"metadata":{"up":{"type":"gauge","help":"x","unit":""}}}"#,
        r#"{"version":0,"flushed":0,"next":0,"parts":[],"deletions":[]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A list of parts whose checksum is right.
pub fn manifest(bytes: &[u8]) {
    let mut file = FileKind::Manifest.header().to_vec();
    put_block(&mut file, bytes);
    if let Ok(read) = manifest::decode(Path::new("manifest"), &file) {
        let again = manifest::decode(Path::new("manifest"), &manifest::encode(&read)).expect("it was just encoded");
        assert_eq!(read, again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_a_decoder_panic_and_what_is_understood_comes_back() {
        for target in TARGETS {
            target.check(3_000);
        }
    }
}
