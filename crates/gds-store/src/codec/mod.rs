//! Bytes of samples, and samples of bytes.
//!
//! Every decoder takes any bytes: those that it does not understand are [`Damaged`], and no count in them makes it take
//! more memory than a page of samples or a small multiple of the bytes themselves.

pub(crate) mod bits;
pub(crate) mod chunk;
pub(crate) mod histogram;
pub(crate) mod input;
pub(crate) mod integers;
pub(crate) mod packed;
pub(crate) mod times;
pub(crate) mod values;
pub(crate) mod xor;

#[cfg(test)]
mod tests;

pub(crate) use input::{Damaged, Input, put_bytes, put_signed, put_varint};

/// The most samples that are encoded together: a decoder believes no greater count.
pub(crate) const PAGE: usize = 65_536;
