//! Records in the bytes of a file, and what is between them where the file is damaged.

use std::ops::Range;

use crate::frame::checksum;

/// What each record begins with, so that it is found behind bytes that are damaged.
const MARK: [u8; 4] = [0xd7, b'G', b'R', 0x1a];
/// Mark, length and checksum.
const HEAD: usize = 12;

/// Puts a record's mark, length and checksum before it.
pub(crate) fn framed(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::with_capacity(HEAD + record.len());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&sum(length, record).to_le_bytes());
    out.extend_from_slice(record);
    out
}

fn sum(length: [u8; 4], record: &[u8]) -> u32 {
    checksum(record) ^ checksum(&length)
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A record is here.
    Record(Range<usize>),
    /// These bytes are no record, and there is one behind them, or they look like a whole one.
    Damaged(Range<usize>),
    /// The end is the beginning of a record whose writing was cut off.
    Torn(Range<usize>),
}

enum At {
    Record(Range<usize>),
    Short,
    Wrong,
}

/// The pieces of a file from an offset on, in order.
pub(crate) fn pieces(bytes: &[u8], from: usize) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut at = from;
    while at < bytes.len() {
        match look(bytes, at) {
            At::Record(record) => {
                at = record.end;
                found.push(Piece::Record(record));
            }
            other => {
                let Some(next) = next(bytes, at + 1) else {
                    let rest = at..bytes.len();
                    found.push(if matches!(other, At::Short) { Piece::Torn(rest) } else { Piece::Damaged(rest) });
                    break;
                };
                found.push(Piece::Damaged(at..next));
                at = next;
            }
        }
    }
    found
}

/// Where the next record begins.
fn next(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.windows(MARK.len()).position(|window| window == MARK)?;
        if matches!(look(bytes, at), At::Record(_)) {
            return Some(at);
        }
        at += 1;
    }
}

fn look(bytes: &[u8], at: usize) -> At {
    let rest = &bytes[at..];
    let common = rest.len().min(MARK.len());
    if rest[..common] != MARK[..common] {
        return At::Wrong;
    }
    let Some((head, body)) = rest.split_first_chunk::<HEAD>() else { return At::Short };
    let [_, _, _, _, l0, l1, l2, l3, s0, s1, s2, s3] = *head;
    let length = [l0, l1, l2, l3];
    let count = u32::from_le_bytes(length) as usize;
    let Some(record) = body.get(..count) else { return At::Short };
    if sum(length, record) != u32::from_le_bytes([s0, s1, s2, s3]) {
        return At::Wrong;
    }
    let from = at + HEAD;
    At::Record(from..from + count)
}
