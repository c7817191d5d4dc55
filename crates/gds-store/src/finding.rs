//! What the store found wrong and went on without.

use std::fmt::Display;
use std::path::PathBuf;

use gds_process::sync::Mutex;

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// The end of the log was cut off while it was written: nothing that was accepted, unless the power failed.
    TornLog,
    /// Bytes of the log are not what was written; what was in them is lost.
    DamagedLog,
    /// Samples of the log have no series, because the record that names it is lost.
    NamelessSamples,
    /// A part cannot be opened; it is set aside.
    DamagedPart,
    /// Some samples of a part cannot be read.
    DamagedBlock,
    /// A copy of the list of parts cannot be read; the other one is used.
    DamagedManifest,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// In which file or folder.
    pub path: PathBuf,
    /// What is wrong there.
    pub detail: String,
    /// How many bytes, or samples without series, are concerned; zero where that is not known.
    pub count: u64,
}

/// The most that are kept: a broken disk finds no end.
const KEPT: usize = 1_000;

/// Findings since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<Vec<Finding>>);

impl Findings {
    /// Keeps one, once.
    pub(crate) fn add(&self, kind: FindingKind, path: impl Into<PathBuf>, detail: impl Display, count: usize) {
        let finding = Finding { kind, path: path.into(), detail: detail.to_string(), count: count as u64 };
        let mut all = self.0.lock();
        if all.len() < KEPT && !all.contains(&finding) {
            all.push(finding);
        }
    }

    pub(crate) fn all(&self) -> Vec<Finding> {
        self.0.lock().clone()
    }
}
