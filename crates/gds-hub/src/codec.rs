//! Records as bytes: one form for the queue in memory, the spool and the embedded log.
//!
//! ```text
//! record   i64 timestamp, i32 partition or -1, u16 topic length, u16 headers, key, value, topic, headers
//! key      u32 length + 1, or 0 for none; bytes (value the same)
//! header   u16 length and name, u32 length + 1 or 0 for none; bytes
//! ```
//!
//! All numbers are little-endian. A record does not say where it ends; it does not know of checksums: what stores
//! it frames it.

use crate::headers::{Headers, Source, read_header, take, take_optional, write_header, write_optional};
pub use crate::headers::{MAX_HEADER_NAME, Malformed};
use crate::record::Record;

/// Longest topic name; Kafka's is 249.
pub const MAX_TOPIC: usize = u16::MAX as usize;
/// Most headers of a record.
pub const MAX_HEADERS: usize = u16::MAX as usize;
/// Longest record. Kafka's is less, and no part of it needs a limit of its own.
pub const MAX_RECORD: usize = 1 << 30;

const HEAD: usize = 16;

/// Appends `record`. Longer names and more headers than fit are the caller's to refuse: they are cut off here.
pub fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    let draft = begin(out, record.key);
    match record.value {
        None => end(out, draft, false, record, None),
        Some(value) => {
            out.extend_from_slice(value);
            end(out, draft, true, record, None);
        }
    }
}

/// A record whose value is being written straight to its place.
#[derive(Clone, Copy, Debug)]
#[must_use = "the record is not whole before `end`"]
pub struct Draft {
    start: usize,
    value: usize,
}

impl Draft {
    /// Where the value begins.
    pub fn value_at(&self) -> usize {
        self.value
    }
}

/// Begins a record: whatever is appended to `out` from here to [`end`] is its value.
pub fn begin(out: &mut Vec<u8>, key: Option<&[u8]>) -> Draft {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    write_optional(out, key);
    out.extend_from_slice(&0_u32.to_le_bytes());
    Draft { start, value: out.len() }
}

/// Ends a record that [`begin`] began; of `record`, key and value are not looked at. `header` comes after its headers.
#[allow(clippy::cast_possible_truncation)] // cut to what fits just before; a longer value is refused as a whole
pub fn end(out: &mut Vec<u8>, draft: Draft, has_value: bool, record: &Record<'_>, header: Option<(&str, &[u8])>) {
    let length = if has_value { ((out.len() - draft.value) as u32).wrapping_add(1) } else { 0 };
    out[draft.value - 4..draft.value].copy_from_slice(&length.to_le_bytes());
    let topic = &record.topic.as_bytes()[..record.topic.len().min(MAX_TOPIC)];
    let room = MAX_HEADERS - usize::from(header.is_some());
    let given = record.headers.len().min(room);
    let head = &mut out[draft.start..draft.start + HEAD];
    head[..8].copy_from_slice(&record.timestamp.to_le_bytes());
    head[8..12].copy_from_slice(&record.partition.unwrap_or(-1).to_le_bytes());
    head[12..14].copy_from_slice(&(topic.len() as u16).to_le_bytes());
    head[14..].copy_from_slice(&((given + usize::from(header.is_some())) as u16).to_le_bytes());
    out.extend_from_slice(topic);
    match record.headers.0 {
        Source::Written(count, bytes) if usize::from(count) == given => out.extend_from_slice(bytes),
        _ => record.headers.iter().take(given).for_each(|(name, value)| write_header(out, name, value)),
    }
    if let Some((name, value)) = header {
        write_header(out, name, Some(value));
    }
}

/// Whether the record at the start of `bytes` has a key, without reading all of it.
pub fn has_key(bytes: &[u8]) -> bool {
    bytes.get(HEAD..HEAD + 4).is_some_and(|length| length != [0; 4])
}

/// The record at the start of `bytes`, and the number of bytes it takes.
pub fn read(bytes: &[u8]) -> Result<(Record<'_>, usize), Malformed> {
    let mut rest = bytes;
    let head: &[u8; HEAD] = take(&mut rest, HEAD)?.try_into().map_err(|_| Malformed)?;
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let timestamp = i64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]]);
    let partition = i32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let key = take_optional(&mut rest)?;
    let value = take_optional(&mut rest)?;
    let topic = std::str::from_utf8(take(&mut rest, usize::from(number(12)))?).map_err(|_| Malformed)?;
    let count = number(14);
    let start = rest;
    for _ in 0..count {
        read_header(&mut rest).ok_or(Malformed)?;
    }
    let headers = Headers(Source::Written(count, &start[..start.len() - rest.len()]));
    let record = Record { topic, partition: (partition >= 0).then_some(partition), timestamp, key, value, headers };
    Ok((record, bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        for (character, length) in [("n", 65_535), ("\u{fc}", 65_534), ("\u{20ac}", 65_535), ("\u{1f600}", 65_532)] {
            let headers = [(character.repeat(65_536), Some(b"v".to_vec()))];
            let mut bytes = Vec::new();
            write(&mut bytes, &Record { headers: Headers::new(&headers), ..Record::default() });
            let (back, _) = read(&bytes).expect("a record");
            let read: Vec<_> = back.headers.iter().collect();
            assert_eq!(read, [(&headers[0].0[..length], Some(&b"v"[..]))], "{character}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            topic in ".{0,20}", partition in of(0..1000_i32), timestamp: i64, key in of(vec(any::<u8>(), 0..20)),
            value in of(vec(any::<u8>(), 0..200)), headers in vec((".{0,10}", of(vec(any::<u8>(), 0..20))), 0..5),
            tail in vec(any::<u8>(), 0..20),
        ) {
            let record = Record {
                topic: &topic, partition, timestamp, key: key.as_deref(), value: value.as_deref(),
                headers: Headers::new(&headers),
            };
            let mut bytes = Vec::new();
            write(&mut bytes, &record);
            let length = bytes.len();
            bytes.extend(tail);
            let (back, taken) = read(&bytes).expect("a record");
            prop_assert_eq!(taken, length);
            prop_assert_eq!((back.topic, back.partition, back.timestamp), (&*topic, partition, timestamp));
            prop_assert_eq!((back.key, back.value), (key.as_deref(), value.as_deref()));
            let given: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
            prop_assert_eq!(back.headers.iter().collect::<Vec<_>>(), given);
            let mut again = Vec::new();
            write(&mut again, &back);
            prop_assert_eq!(&again[..], &bytes[..length]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok((record, taken)) = read(&bytes) {
                prop_assert!(taken <= bytes.len());
                prop_assert_eq!(record.headers.iter().count(), record.headers.len());
            }
        }
    }
}
