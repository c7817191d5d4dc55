//! Many processes, one page: each process keeps its series in a mapped file of its own in a shared folder.
//!
//! * A process updates its file as it updates memory; nothing is sent, and SIGKILL loses nothing that was counted.
//! * A file is alive as long as its process holds a lock on it, which the kernel lets go at any kind of death.
//! * A scrape, from any process, merges the living files with one archive. Before that it folds the files of the dead
//!   into the archive (counters, distributions, gauges described as `last`) and removes them, so that a scrape costs
//!   what the living cost. The archive names what it has folded, so a crash between the two steps counts nothing twice.
//! * A file that makes no sense is skipped and counted.
//!
//! The folder must be on a local file system: it relies on `mmap` and `flock`. Nobody else may shorten its files.

mod archive;
mod format;
mod mapped;
mod merge;
mod port;
mod process_file;
mod reader;
mod recreate;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{Folder, Merge};
pub use mapped::MappedCells;
pub use merge::{Merged, MergedFamily, MergedSeries};
pub use port::PortClaim;
pub use writer::{LOOK_EVERY, Writer};
