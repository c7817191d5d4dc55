//! Text as a JSON string: what needs no escape is copied in runs.

/// Whether a byte cannot stand in a JSON string as it is: a control character, a quote or a backslash.
#[inline]
fn special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// As [`special`], for any of eight bytes at once.
#[inline]
fn any_special(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of a byte of `x - ones * n & !x` is set where that byte is below n. A borrow can set more of them,
    // but only beside one that is rightly set: "any" is exact.
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let zero = (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
    (low | zero) & HIGHS != 0
}

/// How many bytes at the start can be copied as they are.
#[inline]
pub(super) fn plain_length(text: &[u8]) -> usize {
    let mut at = 0;
    let (blocks, rest) = text.as_chunks::<16>();
    for block in blocks {
        // Written so that the compiler makes one vector comparison of it.
        if block.iter().fold(false, |any, &byte| any | special(byte)) {
            return at + block.iter().position(|&byte| special(byte)).unwrap_or(0);
        }
        at += 16;
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        if any_special(u64::from_le_bytes(*word)) {
            return at + word.iter().position(|&byte| special(byte)).unwrap_or(0);
        }
        at += 8;
    }
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

/// Appends `text` in quotes. The rest of a key (`":`) or nothing follows in the same go.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 3);
    out.push(b'"');
    let plain = plain_length(bytes);
    if plain == bytes.len() {
        out.extend_from_slice(bytes);
    } else {
        write_escaped(out, bytes, plain);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, mut bytes: &[u8], mut plain: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    loop {
        let (run, rest) = bytes.split_at(plain);
        out.extend_from_slice(run);
        let Some((&byte, rest)) = rest.split_first() else { return };
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
        plain = plain_length(bytes);
    }
}
