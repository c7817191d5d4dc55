//! Certificates: read once, when settings are resolved, so that a wrong path is an error where it was given.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{Error, Result};

/// A file and the setting that named it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// Whom to trust and who to be on an encrypted connection, as PEM. `Debug` says only which of them is there.
#[derive(Clone, Default)]
pub struct Tls {
    /// The only authorities to trust; without them, those of the operating system.
    authority: Option<Vec<u8>>,
    identity: Option<ClientIdentity>,
}

#[derive(Clone)]
struct ClientIdentity {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authority", &self.authority.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

impl Tls {
    /// Reads an authority, and a certificate with its key, and checks that each file holds what it should and that
    /// the last two belong together.
    pub(super) fn read(authority: Option<&Named>, identity: Option<(&Named, &Named)>) -> Result<Self> {
        let authority = match authority {
            Some(named) => {
                let pem = read(named)?;
                roots_of(&pem).map_err(|why| unusable(named, why))?;
                Some(pem)
            }
            None => None,
        };
        let identity = match identity {
            Some((certificate, key)) => {
                let identity = ClientIdentity { chain: read(certificate)?, key: read(key)? };
                identity.chain().map_err(|why| unusable(certificate, why))?;
                identity.key().map_err(|why| unusable(key, why))?;
                let tls = Self { authority: None, identity: Some(identity) };
                // An empty set of roots is enough to check that the key is that of the certificate.
                tls.client_config(RootCertStore::empty()).map_err(|why| unusable(key, why))?;
                tls.identity
            }
            None => None,
        };
        Ok(Self { authority, identity })
    }

    /// For HTTP. Reads the operating system's authorities unless others are to be trusted.
    pub(super) fn for_http(&self) -> io::Result<ClientConfig> {
        let roots = match &self.authority {
            Some(pem) => roots_of(pem)?,
            None => system_roots()?,
        };
        self.client_config(roots)
    }

    /// For gRPC.
    pub(super) fn for_grpc(&self) -> ClientTlsConfig {
        let config = match &self.authority {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some(identity) => config.identity(Identity::from_pem(&identity.chain, &identity.key)),
            None => config,
        }
    }

    fn client_config(&self, roots: RootCertStore) -> io::Result<ClientConfig> {
        // The provider is named rather than installed: a library must not settle it for the whole process.
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(roots);
        match &self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain()?, identity.key()?).map_err(invalid),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

impl ClientIdentity {
    fn chain(&self) -> io::Result<Vec<CertificateDer<'static>>> {
        certificates(&self.chain)
    }

    fn key(&self) -> io::Result<PrivateKeyDer<'static>> {
        // The parser's own error could quote the file.
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| invalid("it holds no private key that can be read"))
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<_, _>>().map_err(invalid)?;
    if found.is_empty() { Err(invalid("it holds no certificate")) } else { Ok(found) }
}

fn roots_of(pem: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(invalid)?;
    }
    Ok(roots)
}

fn system_roots() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Systems carry a few authorities that cannot be parsed; the rest serve.
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "this system has no certificate authorities; set cafile"));
    }
    Ok(roots)
}

fn read(named: &Named) -> Result<Vec<u8>> {
    fs::read(&named.path).map_err(|source| unusable(named, source))
}

fn unusable(named: &Named, source: io::Error) -> Error {
    let remedy = "name a PEM file that this process may read";
    Error::file(named.setting, &named.path, remedy, source)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
