//! Certificates, and a look into servers, for tests.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::Server;

/// The descriptor of a server's listening socket; none once it is stopped.
#[cfg(unix)]
pub fn listening_on(server: &Server) -> Option<std::os::fd::RawFd> {
    use std::os::fd::AsRawFd;
    server.shared.listening.lock().as_ref().map(|listening| listening.listener.as_raw_fd())
}

/// An issuer and what it issued, as files in a folder.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Where they are.
    pub folder: tempfile::TempDir,
}

impl Pki {
    /// An issuer, `ca.pem`.
    ///
    /// # Panics
    ///
    /// Where there is no room for files.
    #[allow(clippy::new_without_default)] // it writes files
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `{name}.pem` and `{name}.key`, a certificate for localhost.
    ///
    /// # Panics
    ///
    /// Where there is no room for files.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let (certfile, keyfile) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&certfile, certificate.pem()).unwrap();
        std::fs::write(&keyfile, key.serialize_pem()).unwrap();
        (certfile, keyfile)
    }
}
