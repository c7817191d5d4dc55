//! A page as a file, for the textfile collector of Prometheus' `node_exporter`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Makes `path` a file that holds `bytes`: readers see what was there before or all of this, after a crash as well.
/// Everybody may read it (mode 0644), since the exporter runs as another user.
///
/// Fails with setting `path` when its folder is missing or cannot be written to; what was at `path` is untouched.
pub fn write_to_textfile(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source: io::Error| {
        let remedy = match source.kind() {
            io::ErrorKind::NotFound => "create its folder first",
            io::ErrorKind::PermissionDenied => "allow this process to write to its folder",
            _ => "give a file in a folder that this process can write to",
        };
        Error::file("path", path, remedy, source)
    };
    replace(path, bytes).map_err(failed)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The exporter reads every `*.prom` of the folder, so that the file must not end so before it is whole.
    let name = tempfile::Builder::new().prefix(".gds-").suffix(".tmp").to_owned();
    // Opened here and not by `tempfile`, which hides the number of the system's error.
    let mut file = name.make_in(folder, |path| File::options().write(true).create_new(true).open(path))?;
    file.write_all(bytes)?;
    #[cfg(unix)]
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    // Without it, a crash may leave the new name with nothing under it.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.prom");
        for content in ["a long first page\n", "short\n"] {
            write_to_textfile(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn everybody_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.prom");
        write_to_textfile(&path, b"up 1\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("job.prom");
        let error = write_to_textfile(&path, b"").unwrap_err();
        let Error::Unusable(gds_net::Error::File { setting: "path", source, .. }) = &error else { panic!("{error}") };
        assert_eq!(source.raw_os_error(), Some(libc::ENOENT));
        assert!(error.to_string().contains("create its folder"), "{error}");
    }

    #[test]
    fn what_cannot_be_replaced_is_left_alone_and_so_is_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(
            write_to_textfile(&path, b""),
            Err(Error::Unusable(gds_net::Error::File { setting: "path", .. }))
        ));
        assert!(write_to_textfile(Path::new("/"), b"").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
