//! What the store is made of, in a file that takes the place of the one before: the parts, what is deleted in them, and
//! which generations of the log are in them.
//!
//! There are two copies, written one after the other. What an older copy still names is removed only when both are
//! written: whichever is whole, all it names is there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use gds_promql::api::Metadata;
use gds_promql::matcher::{MatchOp, Matcher};
use serde::{Deserialize, Serialize};

use crate::codec::Damaged;
use crate::error::{Error, OnPath};
use crate::frame::{FileKind, HEADER, block, put_block};
use crate::fs::Fs;
use crate::part::PartInfo;
use crate::samples::Range;

/// The copies, the first written first.
pub(crate) const COPIES: [&str; 2] = ["manifest", "manifest.copy"];
const NEXT: &str = "manifest.next";

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Grows with each one that is written.
    pub(crate) version: u64,
    /// Generations of the log up to this one are in parts.
    pub(crate) flushed: u64,
    /// No part and no deletion has this number yet, or a greater one.
    pub(crate) next: u64,
    /// The parts.
    pub(crate) parts: Vec<PartInfo>,
    /// What is deleted and may still be in a part or in the log.
    pub(crate) deletions: Vec<Deletion>,
    /// What metrics are, by name. Stores of before have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, Metadata>,
}

/// Samples that are deleted: those that matchers choose, within a time, of generations up to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Label, operator and value of each matcher.
    matchers: Vec<(String, String, String)>,
}

const OPERATORS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

impl Deletion {
    pub(crate) fn new(number: u64, generation: u64, matchers: &[Matcher], (start, end): Range) -> Self {
        let text =
            |matcher: &Matcher| (matcher.name().to_owned(), matcher.op().text().to_owned(), matcher.value().to_owned());
        Self { number, generation, start, end, matchers: matchers.iter().map(text).collect() }
    }

    /// What chooses the series.
    pub(crate) fn matchers(&self) -> Result<Vec<Matcher>, Damaged> {
        let matcher = |(name, operator, value): &(String, String, String)| {
            let operator = OPERATORS.into_iter().find(|known| known.text() == operator);
            let operator = operator.ok_or(Damaged("a matcher has an unknown operator"))?;
            Matcher::new(name, operator, value).map_err(|_| Damaged("a matcher has no regular expression"))
        };
        self.matchers.iter().map(matcher).collect()
    }

    pub(crate) fn range(&self) -> Range {
        (self.start, self.end)
    }
}

/// What reading the copies found.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    /// What is wrong with a copy.
    pub(crate) damaged: Vec<Error>,
}

/// The newest whole copy; an empty one where there is no copy at all.
pub(crate) fn read(fs: &dyn Fs, folder: &Path) -> Result<Found, Error> {
    let mut newest: Option<Manifest> = None;
    let mut damaged = Vec::new();
    for name in COPIES {
        let path = folder.join(name);
        let bytes = match fs.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.on("cannot read", &path)?,
        };
        match decode(&path, &bytes) {
            Ok(manifest) => {
                newest = newest.into_iter().chain([manifest]).max_by_key(|manifest| manifest.version);
            }
            Err(error @ Error::Damaged { .. }) => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    match newest {
        Some(manifest) => Ok(Found { manifest, damaged }),
        None => match damaged.pop() {
            Some(error) => Err(error),
            None => Ok(Found { manifest: Manifest::default(), damaged }),
        },
    }
}

pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Manifest, Error> {
    FileKind::Manifest.check(path, bytes)?;
    let text = block(&bytes[HEADER..]).on("cannot read", path)?;
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|_| Damaged("it is no list of parts")).on("cannot read", path)?;
    manifest.deletions.iter().try_for_each(|deletion| deletion.matchers().map(drop)).on("cannot read", path)?;
    Ok(manifest)
}

pub(crate) fn encode(manifest: &Manifest) -> Vec<u8> {
    let mut out = FileKind::Manifest.header().to_vec();
    // Numbers and texts: nothing of it can fail.
    put_block(&mut out, &serde_json::to_vec(manifest).unwrap_or_default());
    out
}

/// Writes a manifest: when it fails, the one before or this one is what is read, and the store has to keep what both
/// name.
pub(crate) fn write(fs: &Arc<dyn Fs>, folder: &Path, manifest: &Manifest) -> Result<(), Error> {
    let bytes = encode(manifest);
    for name in COPIES {
        let (next, path) = (folder.join(NEXT), folder.join(name));
        let file = fs.create(&next).on("cannot create", &next)?;
        file.append(&bytes).on("cannot write", &next)?;
        file.sync().on("cannot sync", &next)?;
        fs.rename(&next, &path).on("cannot rename", &next)?;
        fs.sync_dir(folder).on("cannot sync", folder)?;
    }
    Ok(())
}
