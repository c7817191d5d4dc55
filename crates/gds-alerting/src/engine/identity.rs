//! Names of things: series as bytes, and without samples; transitions as hashes.

use sha2::{Digest, Sha256};

use crate::rules::{Composite, Rule};
use crate::sample::{Sample, Tags};

/// Writes what makes a series: each text behind its length, so that no two are alike.
pub(super) fn write(into: &mut Vec<u8>, sample: &Sample) {
    into.clear();
    let mut put = |text: &str| {
        into.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    };
    put(&sample.metric);
    put(&sample.instance_id);
    put(&sample.database_type);
    for (name, value) in &sample.tags {
        put(name);
        put(value);
    }
}

/// The series as a sample without a value.
pub(super) fn read(mut bytes: &[u8]) -> Sample {
    let mut take = || -> Option<String> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let mut head = || take().unwrap_or_default();
    let (metric, instance_id, database_type) = (head(), head(), head());
    let mut tags = Tags::new();
    while let (Some(name), Some(value)) = (take(), take()) {
        tags.insert(name, value);
    }
    Sample { metric, instance_id, database_type, tags, ..Sample::default() }
}

/// The series of an instance that was never seen.
pub(super) fn expected_sample(rule: &Rule, instance: &str) -> Sample {
    let metric = rule.metric.clone().unwrap_or_default();
    Sample { metric, instance_id: instance.to_owned(), ..Sample::default() }
}

/// The series of a composite: the labels that are equal, and nothing else.
pub(super) fn composite_sample(composite: &Composite, values: &[String]) -> Sample {
    let mut sample = Sample::default();
    for (name, value) in composite.equal.iter().zip(values) {
        match name.as_str() {
            "instance_id" => sample.instance_id.clone_from(value),
            "database_type" => sample.database_type.clone_from(value),
            "metric" => sample.metric.clone_from(value),
            _ => drop(sample.tags.insert(name.clone(), value.clone())),
        }
    }
    sample
}

/// 128 bits of SHA-256 over parts, in hexadecimal digits.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let digits = b"0123456789abcdef";
    let digit = |four_bits: u8| char::from(digits[usize::from(four_bits)]);
    digest.finalize()[..16].iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A share of 1 that a text always has, for what is to be spread.
pub(super) fn share(text: &str) -> f64 {
    let digits = hash(&[text]);
    let number = u32::from_str_radix(&digits[..8], 16).unwrap_or(0);
    f64::from(number) / f64::from(u32::MAX)
}
