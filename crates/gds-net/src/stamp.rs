//! How to tell that a small file changed, and how to read one that might still be changing.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file that was written this recently may be written again within the resolution of its time stamp.
const SETTLE: Duration = Duration::from_secs(2);

/// Certificates and lists of users are far below; a path to something endless must not fill the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// What a file looked like when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// Inode and the time of the last change of any kind, which no program can set back.
    identity: (u64, i64, i64),
}

impl Stamp {
    /// Whether `path` is still the file that was read, as far as its metadata tell.
    ///
    /// False for a file that was read soon after it was written: two writes within one tick of the file system's
    /// clock look the same, so such a file has to be read again.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        let settled = self.modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > SETTLE);
        settled && std::fs::metadata(path).is_ok_and(|metadata| Self::of(&metadata) == *self)
    }

    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let identity = (0, 0, 0);
        Self { modified: metadata.modified().ok(), len: metadata.len(), identity }
    }
}

/// The content of a small regular file. The stamp is taken before the content, so that a write in between is
/// seen as a change the next time.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    // Asked of the path first: opening a pipe would wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok((content, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_file_is_never_taken_as_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "a").unwrap();
        assert!(!read(&path).unwrap().1.is_current(&path));
    }

    #[test]
    fn a_settled_file_is_current_until_it_is_written_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "a").unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        let (_, stamp) = read(&path).unwrap();
        assert!(stamp.is_current(&path));
        std::fs::write(&path, "ab").unwrap();
        assert!(!stamp.is_current(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(!stamp.is_current(&path));
    }

    #[test]
    fn folders_and_endless_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_err());
        let large = folder.path().join("large");
        std::fs::write(&large, vec![0; 1024 * 1024 + 1]).unwrap();
        assert_eq!(read(&large).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
