//! What is written to the log at once: series that it has not named yet, and samples.

use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::value::Sample;

use crate::codec::{Damaged, Input, histogram, put_bytes, put_signed, put_varint};
use crate::samples::Point;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
/// A record that is shorter is not compressed.
const WORTHWHILE: usize = 512;
/// The most that LZ4 makes of one byte.
const GREATEST_RATIO: usize = 256;

const NUMBER: u8 = 0;
const HISTOGRAM: u8 = 1;

/// A record being written.
#[derive(Debug, Default)]
pub(crate) struct Record {
    series: Vec<u8>,
    series_count: u64,
    samples: Vec<u8>,
    samples_count: u64,
    last: (i64, i64, i64),
}

impl Record {
    /// Names a series.
    pub(crate) fn name(&mut self, number: u32, labels: &Labels) {
        self.series_count += 1;
        put_varint(&mut self.series, u64::from(number));
        put_varint(&mut self.series, labels.len() as u64);
        for (name, value) in labels.iter() {
            put_bytes(&mut self.series, name.as_bytes());
            put_bytes(&mut self.series, value.as_bytes());
        }
    }

    /// Adds a sample of a series that is named here or in a record before.
    pub(crate) fn sample(&mut self, number: u32, time: i64, start: i64, value: &Sample) {
        self.samples_count += 1;
        let out = &mut self.samples;
        let number = i64::from(number);
        put_signed(out, number.wrapping_sub(self.last.0));
        put_signed(out, time.wrapping_sub(self.last.1));
        put_signed(out, start.wrapping_sub(self.last.2));
        self.last = (number, time, start);
        match value {
            Sample::Float(value) => {
                out.push(NUMBER);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Sample::Histogram(value) => {
                out.push(HISTOGRAM);
                histogram::write(out, None, value);
            }
        }
    }

    /// The bytes of the record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.series.len() + self.samples.len() + 20);
        body.push(PLAIN);
        put_varint(&mut body, self.series_count);
        body.extend_from_slice(&self.series);
        put_varint(&mut body, self.samples_count);
        body.extend_from_slice(&self.samples);
        if body.len() > WORTHWHILE {
            let mut out = vec![COMPRESSED];
            put_varint(&mut out, body.len() as u64);
            out.extend_from_slice(&lz4_flex::block::compress(&body));
            if out.len() < body.len() {
                return out;
            }
        }
        body
    }
}

/// What a record says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// Series by their numbers.
    pub(crate) series: Vec<(u32, Labels)>,
    /// Samples of numbered series, in the order in which they came.
    pub(crate) points: Vec<(u32, Point)>,
}

/// What [`Record::encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<Said, Damaged> {
    let mut input = Input(bytes);
    match input.u8()? {
        PLAIN => plain(input),
        COMPRESSED => {
            let length = input.at_most(input.0.len().saturating_mul(GREATEST_RATIO))?;
            let body = lz4_flex::block::decompress(input.0, length).map_err(|_| Damaged("it does not decompress"))?;
            let mut input = Input(&body);
            if input.u8()? == PLAIN { plain(input) } else { Err(Damaged("a record has an unknown form")) }
        }
        _ => Err(Damaged("a record has an unknown form")),
    }
}

fn plain(mut input: Input<'_>) -> Result<Said, Damaged> {
    let mut said = Said::default();
    for _ in 0..input.count()? {
        let number = input.small()?;
        let mut pairs = Vec::new();
        for _ in 0..input.count()? {
            pairs.push((input.text()?, input.text()?));
        }
        said.series.push((number, Labels::from_pairs(pairs)));
    }
    let (mut number, mut time, mut start) = (0i64, 0i64, 0i64);
    for _ in 0..input.count()? {
        number = number.wrapping_add(input.signed()?);
        time = time.wrapping_add(input.signed()?);
        start = start.wrapping_add(input.signed()?);
        let value = match input.u8()? {
            NUMBER => Sample::Float(input.f64()?),
            HISTOGRAM => Sample::Histogram(Arc::new(histogram::read(&mut input, None)?)),
            _ => return Err(Damaged("a sample has an unknown type")),
        };
        let number = u32::try_from(number).map_err(|_| Damaged("a series has no such number"))?;
        said.points.push((number, Point { time, start, value }));
    }
    input.end()?;
    Ok(said)
}
