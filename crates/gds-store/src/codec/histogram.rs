//! Native histograms: each as what changed since the one before.

use std::sync::Arc;

use gds_promql::histogram::{Buckets, CounterResetHint, FloatHistogram};
use gds_promql::source::Column;

use super::{Damaged, Input, PAGE, put_signed, put_varint};

/// The histogram has the layout of the one before.
const SAME_LAYOUT: u8 = 4;

/// Histograms as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistogramChunk {
    bytes: Vec<u8>,
    count: usize,
    last: Option<(i64, i64, Arc<FloatHistogram>)>,
}

impl HistogramChunk {
    pub(crate) fn push(&mut self, time: i64, start: i64, histogram: &Arc<FloatHistogram>) {
        let (last_time, last_start) = self.last.as_ref().map_or((0, 0), |(time, start, _)| (*time, *start));
        put_signed(&mut self.bytes, time.wrapping_sub(last_time));
        put_signed(&mut self.bytes, start.wrapping_sub(last_start));
        let previous = self.last.as_ref().map(|(_, _, histogram)| &**histogram);
        write(&mut self.bytes, previous, histogram);
        self.last = Some((time, start, Arc::clone(histogram)));
        self.count += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Appends the histograms of a chunk to a column.
pub(crate) fn decode(bytes: &[u8], count: usize, into: &mut Column<Arc<FloatHistogram>>) -> Result<(), Damaged> {
    if count > PAGE {
        return Err(Damaged("a page has too many histograms"));
    }
    let mut input = Input(bytes);
    let (mut time, mut start) = (0i64, 0i64);
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for at in 0..count {
        let next = time.wrapping_add(input.signed()?);
        if at > 0 && next <= time {
            return Err(Damaged("times do not grow"));
        }
        time = next;
        start = start.wrapping_add(input.signed()?);
        let histogram = Arc::new(read(&mut input, previous.as_deref())?);
        into.push(time, start, Arc::clone(&histogram));
        previous = Some(histogram);
    }
    input.end()
}

/// One histogram after another; or the first.
pub(crate) fn write(out: &mut Vec<u8>, previous: Option<&FloatHistogram>, histogram: &FloatHistogram) {
    let previous = previous.filter(|previous| same_layout(previous, histogram));
    let hint = match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    };
    out.push(hint | if previous.is_some() { SAME_LAYOUT } else { 0 });
    if previous.is_none() {
        put_signed(out, i64::from(histogram.schema));
        put_number(out, 0, histogram.zero_threshold);
        put_varint(out, histogram.custom_values.len() as u64);
        for bound in histogram.custom_values.iter() {
            put_number(out, 0, *bound);
        }
        for buckets in [&histogram.positive, &histogram.negative] {
            put_varint(out, buckets.index.len() as u64);
            let mut last = 0;
            for index in &buckets.index {
                put_signed(out, i64::from(*index) - last);
                last = i64::from(*index);
            }
        }
    }
    let before = previous.map(numbers);
    let mut before = before.into_iter().flatten();
    for number in numbers(histogram) {
        put_number(out, before.next().map_or(0, f64::to_bits), number);
    }
}

/// What [`write`] wrote, after the same one.
pub(crate) fn read(input: &mut Input<'_>, previous: Option<&FloatHistogram>) -> Result<FloatHistogram, Damaged> {
    let flags = input.u8()?;
    let counter_reset_hint = match flags & 3 {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        _ => CounterResetHint::Gauge,
    };
    let mut histogram = match flags & !3 {
        0 => read_layout(input)?,
        SAME_LAYOUT => previous.ok_or(Damaged("the first histogram has the layout of none"))?.clone(),
        _ => return Err(Damaged("a histogram has unknown flags")),
    };
    histogram.counter_reset_hint = counter_reset_hint;
    let FloatHistogram { zero_count, count, sum, positive, negative, .. } = &mut histogram;
    for number in [zero_count, count, sum].into_iter().chain(&mut positive.count).chain(&mut negative.count) {
        *number = read_number(input, number.to_bits())?;
    }
    Ok(histogram)
}

fn read_layout(input: &mut Input<'_>) -> Result<FloatHistogram, Damaged> {
    let mut histogram = FloatHistogram {
        schema: i32::try_from(input.signed()?).map_err(|_| Damaged("a schema is too great"))?,
        zero_threshold: read_number(input, 0)?,
        ..FloatHistogram::default()
    };
    let bounds = input.count()?;
    histogram.custom_values = (0..bounds).map(|_| read_number(input, 0)).collect::<Result<_, _>>()?;
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let count = input.count()?;
        let mut index = Vec::with_capacity(count);
        let mut last = 0i64;
        for _ in 0..count {
            last = last.checked_add(input.signed()?).ok_or(Damaged("an index is too great"))?;
            index.push(i32::try_from(last).map_err(|_| Damaged("an index is too great"))?);
        }
        *buckets = Buckets { index, count: vec![0.0; count] };
    }
    Ok(histogram)
}

fn same_layout(one: &FloatHistogram, other: &FloatHistogram) -> bool {
    let bounds = || one.custom_values.iter().zip(other.custom_values.iter());
    one.schema == other.schema
        && one.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && one.custom_values.len() == other.custom_values.len()
        && bounds().all(|(one, other)| one.to_bits() == other.to_bits())
        && one.positive.index == other.positive.index
        && one.negative.index == other.negative.index
}

fn numbers(histogram: &FloatHistogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive.count.iter().chain(&histogram.negative.count);
    [histogram.zero_count, histogram.count, histogram.sum].into_iter().chain(buckets.copied())
}

/// What changed in the bits, those that change the least first: integers end in many zeros.
fn put_number(out: &mut Vec<u8>, before: u64, number: f64) {
    put_varint(out, (number.to_bits() ^ before).swap_bytes());
}

fn read_number(input: &mut Input<'_>, before: u64) -> Result<f64, Damaged> {
    Ok(f64::from_bits(input.varint()?.swap_bytes() ^ before))
}
