//! The times of a page, and the starts of what its values count.
//!
//! Series of one target have the same times: what is encoded is compared as bytes, and kept once in a part.

use super::input::{unzigzag, zigzag};
use super::{Damaged, Input, PAGE, put_signed, put_varint};

const REGULAR: u8 = 0;
const CHANGING: u8 = 1;

/// Times that grow.
pub(crate) fn encode(times: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(first) = times.first() else { return out };
    let distances = || times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let distance = distances().next().unwrap_or(0);
    let regular = distances().all(|other| other == distance);
    out.push(if regular { REGULAR } else { CHANGING });
    put_signed(&mut out, *first);
    put_varint(&mut out, distance.cast_unsigned());
    if !regular {
        let mut last = distance;
        for distance in distances().skip(1) {
            put_signed(&mut out, distance.wrapping_sub(last));
            last = distance;
        }
    }
    out
}

/// `count` times that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    if count > PAGE {
        return Err(Damaged("a page has too many times"));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut input = Input(bytes);
    let kind = input.u8()?;
    let mut time = input.signed()?;
    let mut distance = input.varint()?.cast_signed();
    let mut times = Vec::with_capacity(count);
    times.push(time);
    for at in 1..count {
        if kind == CHANGING && at > 1 {
            distance = distance.wrapping_add(input.signed()?);
        }
        let next = time.wrapping_add(distance);
        if next <= time {
            return Err(Damaged("times do not grow"));
        }
        time = next;
        times.push(time);
    }
    if kind > CHANGING {
        return Err(Damaged("times are encoded in an unknown way"));
    }
    input.end()?;
    Ok(times)
}

/// Numbers that stay the same for long.
pub(crate) fn encode_starts(starts: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0i64;
    for run in starts.chunk_by(|one, other| one == other) {
        put_varint(&mut out, run.len() as u64);
        put_varint(&mut out, zigzag(run[0].wrapping_sub(last)));
        last = run[0];
    }
    out
}

/// `count` numbers that [`encode_starts`] wrote.
pub(crate) fn decode_starts(bytes: &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    if count > PAGE {
        return Err(Damaged("a page has too many starts"));
    }
    let mut input = Input(bytes);
    let mut starts = Vec::with_capacity(count);
    let mut last = 0i64;
    while starts.len() < count {
        let run = input.at_most(count - starts.len())?;
        if run == 0 {
            return Err(Damaged("a run is empty"));
        }
        last = last.wrapping_add(unzigzag(input.varint()?));
        starts.resize(starts.len() + run, last);
    }
    input.end()?;
    Ok(starts)
}
