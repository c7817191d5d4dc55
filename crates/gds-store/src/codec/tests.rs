//! What is encoded comes back with all its bits; what is not encoded is refused.

use std::sync::Arc;

use gds_promql::histogram::{Buckets, CounterResetHint, FloatHistogram};
use gds_promql::source::Column;
use gds_promql::value::STALE_NAN;
use proptest::collection::vec;
use proptest::prelude::*;

use super::bits::{BitReader, BitWriter};
use super::chunk::{self, Chunk};
use super::histogram::{self, HistogramChunk};
use super::input::{unzigzag, zigzag};
use super::packed::Unpacker;
use super::values::{self, Form};
use super::{Input, integers, put_signed, put_varint, times, xor};
use crate::log::record::{self, Record};
use crate::log::scan::{Piece, framed, pieces};
use crate::part::page::Entry;

/// Numbers that encoders may stumble over, and what metrics are.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::from_bits(STALE_NAN)),
        Just(f64::NAN),
        Just(f64::from_bits(0x7ff8_dead_beef_0001)),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE / 8.0),
        Just(f64::MAX),
        Just(9_007_199_254_740_993.0),
        any::<u64>().prop_map(f64::from_bits),
        any::<i32>().prop_map(f64::from),
        any::<i32>().prop_map(|cents| f64::from(cents) / 100.0),
        (0..5i32).prop_map(f64::from),
    ]
}

/// Numbers that change now and then, or grow.
fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        vec(number(), 0..300),
        (number(), 0..300usize).prop_map(|(number, count)| vec![number; count]),
        (any::<i32>(), any::<i16>(), 0..300i32).prop_map(|(first, distance, count)| {
            (0..count).map(|at| f64::from(first) + f64::from(distance) * f64::from(at)).collect()
        }),
        vec((number(), 1..20usize), 0..20)
            .prop_map(|runs| runs.into_iter().flat_map(|(number, count)| vec![number; count]).collect()),
    ]
}

/// Times that grow.
fn growing(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let distances = prop_oneof![Just(15_000u64), 14_990..15_010u64, 1..3_000_000u64, 1..u64::MAX / 2_000,];
    (any::<i32>(), vec(distances, count)).prop_map(|(first, distances)| {
        let mut time = i64::from(first);
        let mut times = Vec::new();
        for distance in distances {
            times.push(time);
            time += distance.cast_signed();
        }
        times
    })
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn columns() -> impl Strategy<Value = Column<f64>> {
    numbers().prop_flat_map(|values| {
        let count = values.len();
        let starts = prop_oneof![Just(vec![0; count]), vec(prop_oneof![Just(0i64), any::<i64>()], count)];
        (growing(count), starts).prop_map(move |(times, starts)| Column { times, values: values.clone(), starts })
    })
}

fn histograms() -> impl Strategy<Value = FloatHistogram> {
    let side = || {
        (any::<i16>(), vec(number(), 0..8)).prop_map(|(offset, count)| Buckets::from_offset(i32::from(offset), count))
    };
    let hint = prop_oneof![
        Just(CounterResetHint::Unknown),
        Just(CounterResetHint::Reset),
        Just(CounterResetHint::NotReset),
        Just(CounterResetHint::Gauge),
    ];
    let numbers = (number(), number(), number(), number());
    (hint, -53..9i32, numbers, side(), side(), vec(number(), 0..4)).prop_map(
        |(counter_reset_hint, schema, (zero_threshold, zero_count, count, sum), positive, negative, custom)| {
            FloatHistogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive,
                negative,
                custom_values: custom.into(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn varints_come_back(number in any::<u64>(), signed in any::<i64>()) {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        put_signed(&mut out, signed);
        let mut input = Input(&out);
        prop_assert_eq!((input.varint().unwrap(), input.signed().unwrap()), (number, signed));
        prop_assert!(input.end().is_ok());
        prop_assert_eq!(unzigzag(zigzag(signed)), signed);
    }

    #[test]
    fn bits_come_back(pieces in vec((any::<u64>(), 1..=64u8), 0..50)) {
        let mut out = BitWriter::default();
        for (number, count) in &pieces {
            out.write(*number, *count);
        }
        let mut input = BitReader::new(out.bytes());
        for (number, count) in pieces {
            prop_assert_eq!(input.read(count).unwrap(), number & (u64::MAX >> (64 - count)));
        }
    }

    #[test]
    fn chunks_come_back_with_all_bits(column in columns()) {
        let mut chunk = Chunk::default();
        for (at, value) in column.values.iter().enumerate() {
            chunk.push(column.times[at], column.starts[at], *value);
        }
        let mut read = Column::default();
        chunk::decode(chunk.bytes(), chunk.len(), &mut read).unwrap();
        prop_assert_eq!(&read.times, &column.times);
        prop_assert_eq!(bits(&read.values), bits(&column.values));
        if read.starts.is_empty() {
            prop_assert!(column.starts.iter().all(|start| *start == 0));
        } else {
            prop_assert_eq!(&read.starts, &column.starts);
        }
    }

    #[test]
    fn histograms_come_back_with_all_bits(all in vec(histograms(), 0..12), same in any::<bool>()) {
        let mut chunk = HistogramChunk::default();
        let all: Vec<_> = if same { all.iter().take(1).cycle().take(5).cloned().collect() } else { all };
        for (at, one) in (0i64..).zip(&all) {
            chunk.push(at * 15_000, at % 2, &Arc::new(one.clone()));
        }
        let mut read = Column::default();
        histogram::decode(chunk.bytes(), chunk.len(), &mut read).unwrap();
        prop_assert_eq!(read.values.len(), all.len());
        for (read, one) in read.values.iter().zip(&all) {
            prop_assert!(read.same_data(one) || one.uses_custom_buckets(), "{read:?} {one:?}");
            prop_assert_eq!(bits(&read.custom_values), bits(&one.custom_values));
            prop_assert_eq!(bits(&read.positive.count), bits(&one.positive.count));
            prop_assert_eq!(read.counter_reset_hint, one.counter_reset_hint);
        }
    }

    #[test]
    fn times_and_starts_come_back(column in columns()) {
        let count = column.times.len();
        prop_assert_eq!(&times::decode(&times::encode(&column.times), count).unwrap(), &column.times);
        let starts = times::encode_starts(&column.starts);
        prop_assert_eq!(&times::decode_starts(&starts, count).unwrap(), &column.starts);
    }

    #[test]
    fn the_values_of_a_metric_come_back_with_all_bits(series in vec(numbers(), 0..6)) {
        let columns: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
        let group = values::encode(&columns);
        prop_assert_eq!(group.forms.len(), series.len());
        for (own, (not_numbers, form)) in series.iter().zip(group.forms) {
            let count = own.len() - not_numbers.len();
            let numbers = match form {
                Form::None => Vec::new(),
                Form::Same(bits) => vec![f64::from_bits(bits); count],
                Form::Linear(first, distance) => values::linear(first, distance, count),
                Form::Xor(bytes) => xor::decode(&bytes, count).unwrap(),
                Form::Numbers(page) => Unpacker::new(&group.numbers).unwrap().read(&page, count).unwrap(),
                Form::Decimal(digits, page) => {
                    let read = Unpacker::<i64>::new(&group.integers).unwrap().read(&page, count).unwrap();
                    read.into_iter().map(|integer| integers::restored(integer, digits)).collect()
                }
            };
            let mut out = Vec::new();
            values::put_not_numbers(&mut out, &not_numbers);
            let not_numbers = values::read_not_numbers(&mut Input(&out), own.len()).unwrap();
            prop_assert_eq!(bits(&values::restore(&not_numbers, numbers, own.len()).unwrap()), bits(own));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), count in 0..80_000usize) {
        let _ = chunk::decode(&bytes, count, &mut Column::default());
        let _ = histogram::decode(&bytes, count, &mut Column::default());
        let _ = times::decode(&bytes, count);
        let _ = times::decode_starts(&bytes, count);
        let _ = xor::decode(&bytes, count);
        let _ = values::read_not_numbers(&mut Input(&bytes), count);
        let _ = Entry::read(&mut Input(&bytes));
        let _ = record::decode(&bytes);
        let _ = pieces(&bytes, 0);
        let _ = Unpacker::<i64>::new(&bytes).and_then(|mut unpacker| unpacker.read(&bytes, count.min(1_000)));
        let _ = Unpacker::<f64>::new(&bytes).and_then(|mut unpacker| unpacker.read(&bytes, count.min(1_000)));
    }

    #[test]
    fn a_record_with_another_byte_is_found_and_those_around_it_are_read(
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
        values in vec(number(), 3),
    ) {
        let records: Vec<Vec<u8>> = values
            .iter()
            .map(|value| {
                let mut record = Record::default();
                record.name(1, &gds_promql::labels::Labels::from_pairs([("__name__", "up")]));
                record.sample(1, 5, 0, &gds_promql::value::Sample::Float(*value));
                record.encode()
            })
            .collect();
        let mut bytes: Vec<u8> = records.iter().flat_map(|record| framed(record)).collect();
        let whole: Vec<_> = pieces(&bytes, 0);
        prop_assert_eq!(whole.len(), 3);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let found = pieces(&bytes, 0);
        let read: Vec<_> = found.iter().filter(|piece| matches!(piece, Piece::Record(_))).cloned().collect();
        prop_assert_eq!(read.len(), 2);
        prop_assert!(read.iter().all(|piece| whole.contains(piece)));
        prop_assert_eq!(found.len(), 3, "what is between is said");
    }
}

#[test]
fn a_flat_line_at_one_distance_takes_a_bit_a_sample() {
    let mut chunk = Chunk::default();
    for at in 0..240 {
        chunk.push(at * 15_000, 0, 1.0);
    }
    // The first one whole, the second one for the distance, and a bit for each of the others.
    assert!(chunk.bytes().len() <= 24 + 4 + 30, "{}", chunk.bytes().len());
}

#[test]
fn a_stale_marker_leaves_a_line_a_line() {
    let mut values: Vec<f64> = (0..100).map(|at| f64::from(at) * 3.0).collect();
    values.push(f64::from_bits(STALE_NAN));
    let group = values::encode(&[&values]);
    assert_eq!(group.forms, [(vec![(100, STALE_NAN)], Form::Linear(0, 3))]);
}

#[test]
fn the_numbers_of_many_series_are_packed_together_where_that_is_less() {
    let series: Vec<Vec<f64>> = (0..20u32)
        .map(|series| (0..500u32).map(|at| f64::from((at * 7919 + series * 104_729) % 1_000) / 100.0).collect())
        .collect();
    let columns: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
    let group = values::encode(&columns);
    assert!(group.forms.iter().all(|(_, form)| matches!(form, Form::Decimal(2, _))));
    let size: usize = group.integers.len()
        + group
            .forms
            .iter()
            .map(|(_, form)| if let Form::Decimal(_, page) = form { page.len() } else { 0 })
            .sum::<usize>();
    assert!(size < 20 * 500 * 10 / 8 + 2_000, "ten bits a value are enough: {size}");
    let short = values::encode(&[&[0.5, 0.25, 0.125]]);
    assert!(matches!(short.forms[0].1, Form::Xor(_)), "a short one is not worth a head");
}
