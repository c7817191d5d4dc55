//! What the model in `tests/log.rs` cannot reach: single faults, and disks that fail.

use super::*;
use tempfile::TempDir;

/// A disk with room for some bytes more.
pub(super) mod faults {
    use std::cell::Cell;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    thread_local! {
        static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// From now on only `bytes` can be written by this thread.
    pub(in super::super) fn leave_room(bytes: usize) {
        ROOM.set(bytes);
    }

    pub(in super::super) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let room = ROOM.get();
        if bytes.len() <= room {
            ROOM.set(room - if room == usize::MAX { 0 } else { bytes.len() });
            return file.write_all_at(bytes, position);
        }
        ROOM.set(0);
        file.write_all_at(&bytes[..room], position)?;
        Err(io::ErrorKind::StorageFull.into())
    }
}
