//! Text as a JSON string: what needs no escape is copied in runs.
#![allow(unsafe_code)]

/// Whether a byte cannot stand in a JSON string as it is: a control character, a quote or a backslash.
#[inline]
fn special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that is [`special`]; above the lowest of them there may be more.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of a byte of `x - ones * n & !x` is set where that byte is below n; a borrow sets more of them, but
    // only above one that is rightly set.
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let zero = (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
    (low | zero) & HIGHS
}

/// As [`special`], for any of sixteen bytes at once.
#[inline]
fn any_special_of_16(block: &[u8; 16]) -> bool {
    // Written so that the compiler makes vector instructions of it.
    block.iter().fold(0, |any, &byte| any | u8::from(special(byte))) != 0
}

/// How many bytes at the start can be copied as they are.
#[inline]
pub fn plain_length(text: &[u8]) -> usize {
    let mut at = 0;
    // The usual string of a message is short: eight bytes at a time find its end soonest.
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let specials = specials(u64::from_le_bytes(*word));
        if specials != 0 {
            return at + specials.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

/// Appends `text` in quotes, and what is to stand behind.
#[inline]
pub fn write<const BEHIND: u8>(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let length = bytes.len();
    out.reserve(length + 3);
    let before = out.len();
    // SAFETY: there is room for this many bytes, as reserved above; all of them are written before they count.
    unsafe {
        let to = out.as_mut_ptr().add(before);
        if copy::<true>(bytes, to.add(1)) {
            to.write(b'"');
            to.add(1 + length).cast::<[u8; 2]>().write_unaligned([b'"', BEHIND]);
            out.set_len(before + length + 3);
            return;
        }
    }
    write_escaped(out, bytes);
    out.push(BEHIND);
}

/// Appends what needs no quotes, and a comma.
#[inline]
pub fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    let length = text.len();
    out.reserve(length + 1);
    let before = out.len();
    // SAFETY: as in `write`.
    unsafe {
        let to = out.as_mut_ptr().add(before);
        copy::<false>(text, to);
        to.add(length).write(b',');
        out.set_len(before + length + 1);
    }
}

/// Copies what is mostly short, without a call. With `CHECK`, it says whether all of it can stand as it is; if not,
/// anything may have been copied.
///
/// # Safety
/// There is room for all of `from` at `to`, which is no part of it.
#[inline(always)]
#[allow(clippy::inline_always)] // the innermost of all loops
unsafe fn copy<const CHECK: bool>(from: &[u8], to: *mut u8) -> bool {
    let length = from.len();
    // Two pieces that may overlap make any length between one of them and both.
    // SAFETY: the caller's promise; every piece lies within the first and the last byte of both.
    unsafe {
        if length > 32 {
            to.copy_from_nonoverlapping(from.as_ptr(), length);
            let last = from.last_chunk::<16>();
            !CHECK || !(from.as_chunks::<16>().0.iter().any(any_special_of_16) || last.is_some_and(any_special_of_16))
        } else if let (Some(first), Some(last)) = (from.first_chunk::<16>(), from.last_chunk::<16>()) {
            to.cast::<[u8; 16]>().write_unaligned(*first);
            to.add(length - 16).cast::<[u8; 16]>().write_unaligned(*last);
            !CHECK || !(any_special_of_16(first) || any_special_of_16(last))
        } else if let (Some(first), Some(last)) = (from.first_chunk::<8>(), from.last_chunk::<8>()) {
            to.cast::<[u8; 8]>().write_unaligned(*first);
            to.add(length - 8).cast::<[u8; 8]>().write_unaligned(*last);
            !CHECK || specials(u64::from_le_bytes(*first)) | specials(u64::from_le_bytes(*last)) == 0
        } else if let (Some(first), Some(last)) = (from.first_chunk::<4>(), from.last_chunk::<4>()) {
            to.cast::<[u8; 4]>().write_unaligned(*first);
            to.add(length - 4).cast::<[u8; 4]>().write_unaligned(*last);
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            !CHECK || specials(u64::from(first) << 32 | u64::from(last)) == 0
        } else if let (Some(first), Some(last)) = (from.first_chunk::<2>(), from.last_chunk::<2>()) {
            to.cast::<[u8; 2]>().write_unaligned(*first);
            to.add(length - 2).cast::<[u8; 2]>().write_unaligned(*last);
            !CHECK || !(special(first[0]) || special(first[1]) || special(last[1]))
        } else if let [byte] = from {
            to.write(*byte);
            !CHECK || !special(*byte)
        } else {
            true
        }
    }
}

/// Appends `text` in quotes.
#[cold]
pub fn write_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    loop {
        let (run, rest) = bytes.split_at(plain_length(bytes));
        out.extend_from_slice(run);
        let Some((&byte, rest)) = rest.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        bytes = rest;
    }
    out.push(b'"');
}
