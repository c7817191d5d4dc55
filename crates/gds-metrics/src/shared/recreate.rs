//! Making this process's file anew where somebody removed it: a cleaner of old files, an over-eager script.
//!
//! The process goes on counting in the removed file, which nobody else can open any more. Its content is copied to a
//! new one, and the new one is mapped where the old one was, so that series need not know of it. Nothing that is counted
//! meanwhile is lost: the cells of the new file start empty, take what is counted from the moment it is mapped, and are
//! then given what the old ones had in the end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::HEADER_LEN;
use super::mapped::Segment;
use super::process_file::{self, ProcessFile};
use super::reader::{Item, Reader, Torn, read_exemplars};
use crate::cells::{self, add_f64};
use crate::exemplar;
use crate::key::MetricKind;

/// The cells of one record.
struct Row<'a> {
    /// Where they are in the file.
    at: usize,
    old: &'a [AtomicU64],
    content: CellContent,
}

enum CellContent {
    /// Of a counter or a distribution.
    Sums(MetricKind),
    /// Of a gauge, with the bits that the new file starts with.
    Level(u64),
    Exemplars,
}

/// Makes `old` anew at `path`, and has `segments` (each with its offset) map the new file. The caller keeps further
/// records from being added meanwhile.
pub(super) fn recreate(path: &Path, old: &File, segments: &[(usize, Arc<Segment>)]) -> io::Result<ProcessFile> {
    let torn = |Torn| io::Error::new(io::ErrorKind::InvalidData, "this process's own file makes no sense");
    let reader = Reader::open(old).map_err(torn)?;
    let rows = rows(&reader).map_err(torn)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(process_file::TEMPORARY);
    let process_file = ProcessFile::create(&temporary)?;
    let made = fill(&process_file, old, reader.used(), &rows, segments).and_then(|()| {
        hand_over(&rows, segments);
        fs::rename(&temporary, path)
    });
    made.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(process_file)
}

fn rows(reader: &Reader) -> Result<Vec<Row<'_>>, Torn> {
    let (mut kinds, mut rows) = (Vec::new(), Vec::new());
    reader.for_each(|item| {
        match item {
            // Numbered from zero in the order they come: this process wrote the file.
            Item::Family { kind, .. } => kinds.push(kind),
            Item::Series { family, cells, .. } => {
                let kind = usize::try_from(family).ok().and_then(|number| kinds.get(number)).ok_or(Torn)?;
                let content = match kind {
                    MetricKind::Gauge => {
                        CellContent::Level(cells.get(cells::VALUE).ok_or(Torn)?.load(Ordering::Relaxed))
                    }
                    kind => CellContent::Sums(*kind),
                };
                rows.push(Row { at: reader.offset_of(cells), old: cells, content });
            }
            Item::Exemplars { cells, .. } => {
                rows.push(Row { at: reader.offset_of(cells), old: cells, content: CellContent::Exemplars });
            }
            Item::Folded(_) | Item::Carry { .. } => {}
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Writes the new file, cells aside, and maps it.
fn fill(
    process_file: &ProcessFile,
    old: &File,
    used: usize,
    rows: &[Row<'_>],
    segments: &[(usize, Arc<Segment>)],
) -> io::Result<()> {
    let len = segments.last().map_or(HEADER_LEN, |(start, segment)| start + segment.len());
    process_file::reserve(&process_file.file, 0, len)?;
    let mut bytes = vec![0; used];
    old.read_exact_at(&mut bytes, 0)?;
    for row in rows {
        let cells = &mut bytes[row.at..row.at + row.old.len() * 8];
        cells.fill(0);
        if let CellContent::Level(bits) = row.content {
            cells[cells::VALUE * 8..][..8].copy_from_slice(&bits.to_ne_bytes());
        }
    }
    process_file.file.write_all_at(&bytes, 0)?;
    // Whatever keeps the file from being mapped shows here, before anything is replaced.
    drop(Segment::map(&process_file.file, 0, len)?);
    segments.iter().try_for_each(|(start, segment)| segment.map_instead(&process_file.file, *start as u64))
}

/// Gives the new cells what the old ones, which nobody changes any more, had in the end.
fn hand_over(rows: &[Row<'_>], segments: &[(usize, Arc<Segment>)]) {
    for row in rows {
        let Some((start, segment)) = segments.iter().rev().find(|(start, _)| *start <= row.at) else { continue };
        let new = segment.words(row.at - start, row.old.len());
        let old = |cell: usize| row.old[cell].load(Ordering::Relaxed);
        match row.content {
            CellContent::Exemplars => read_exemplars(row.old).for_each(|one| exemplar::store(new, &one)),
            CellContent::Level(before) => {
                // What was set in the new one already is newer.
                let _ =
                    new[cells::VALUE].compare_exchange(before, old(cells::VALUE), Ordering::Relaxed, Ordering::Relaxed);
            }
            CellContent::Sums(MetricKind::Counter | MetricKind::Gauge) => {
                add_f64(&new[cells::VALUE], f64::from_bits(old(cells::VALUE)));
            }
            CellContent::Sums(MetricKind::Histogram | MetricKind::Timing) => {
                add_f64(&new[cells::SUM], f64::from_bits(old(cells::SUM)));
                for (cell, count) in
                    new.iter().enumerate().filter(|(cell, _)| ![cells::UPDATED, cells::SUM].contains(cell))
                {
                    count.fetch_add(old(cell), Ordering::Relaxed);
                }
            }
        }
        if !matches!(row.content, CellContent::Exemplars) {
            new[cells::UPDATED].fetch_max(old(cells::UPDATED), Ordering::Relaxed);
        }
    }
}
