//! Certificates: for the built-in server, and for connections to gateways and collectors.
//!
//! What is wrong with a file is told at construction. The server's pair is looked at again while it runs, so that a
//! renewed certificate is used without a restart; a pair that cannot be used leaves the one before in place.
//! The cryptography is ring's, always named: nothing depends on what else in the process chose a default.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};
use crate::stamp::{self, Stamp};

/// How often the server's pair is looked at while handshakes come in.
const RECHECK: Duration = Duration::from_secs(1);

/// The TLS settings of a server, or None when no file is given.
///
/// `certfile` is a PEM chain, `keyfile` its private key, which may also sit in `certfile`; with `client_cafile`, only
/// clients that show a certificate issued by it get in. The pair is read again when its files change, at most once a
/// second.
///
/// Fails with the setting of the file that is missing, unreadable, empty of what it should hold, or not a match.
pub fn server_config(
    certfile: Option<&Path>,
    keyfile: Option<&Path>,
    client_cafile: Option<&Path>,
) -> Result<Option<Arc<ServerConfig>>> {
    let Some(certfile) = certfile else {
        for (setting, given) in [("keyfile", keyfile), ("client_cafile", client_cafile)] {
            if let Some(path) = given {
                return Err(invalid(setting, path, "certfile to be given as well, the certificate of this server"));
            }
        }
        return Ok(None);
    };
    let resolver = Arc::new(Reloading::open(Files::new(certfile, keyfile), RECHECK)?);
    config_with(resolver, client_cafile).map(Some)
}

fn config_with(resolver: Arc<Reloading>, client_cafile: Option<&Path>) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("certfile", &resolver.files.certfile, &error))?;
    let builder = match client_cafile {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots("client_cafile", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| unusable("client_cafile", path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The TLS settings of a client: it trusts the issuers in `cafile`, else those of the operating system (or of the
/// environment's `SSL_CERT_FILE` and `SSL_CERT_DIR`), and shows the certificate in `certfile` with the key in
/// `keyfile`, or in `certfile` too.
///
/// Fails with the setting of the file that cannot be used; with `cafile` when the operating system has no issuers.
pub fn client_config(cafile: Option<&Path>, certfile: Option<&Path>, keyfile: Option<&Path>) -> Result<ClientConfig> {
    let roots = match cafile {
        Some(path) => roots("cafile", path)?,
        None => native_roots()?,
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::setting("cafile", "", format!("working cryptography: {error}")))?
        .with_root_certificates(roots);
    match (certfile, keyfile) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (None, Some(path)) => {
            Err(invalid("keyfile", path, "certfile to be given as well, the certificate of this client"))
        }
        (Some(certfile), keyfile) => {
            let (pair, _) = Files::new(certfile, keyfile).load(&provider)?;
            Ok(builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair))))
        }
    }
}

/// The settings of a client that will not speak TLS, for libraries that want some: it trusts nobody.
pub fn trusting_nobody() -> Result<ClientConfig> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::setting("cafile", "", format!("working cryptography: {error}")))
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn native_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Stores of operating systems hold a few that rustls cannot use; those are no reason to refuse the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::setting(
            "cafile",
            "",
            format!(
                "a file of certificate issuers, since the operating system has none{why}; give one or set SSL_CERT_FILE"
            ),
        ));
    }
    Ok(roots)
}

fn roots(setting: &'static str, path: &Path) -> Result<RootCertStore> {
    let (content, _) = read(setting, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, path, &content)? {
        roots.add(certificate).map_err(|error| unusable(setting, path, &error))?;
    }
    Ok(roots)
}

/// Where a certificate and its key are.
struct Files {
    certfile: PathBuf,
    keyfile: Option<PathBuf>,
}

impl Files {
    fn new(certfile: &Path, keyfile: Option<&Path>) -> Self {
        Self { certfile: certfile.to_owned(), keyfile: keyfile.map(Path::to_owned) }
    }

    fn load(&self, provider: &CryptoProvider) -> Result<(CertifiedKey, Vec<Stamp>)> {
        let (content, stamp) = read("certfile", &self.certfile)?;
        let mut stamps = vec![stamp];
        let chain = certificates("certfile", &self.certfile, &content)?;
        let (setting, keyfile) = match &self.keyfile {
            Some(path) => ("keyfile", path),
            None => ("certfile", &self.certfile),
        };
        let key = if self.keyfile.is_some() {
            let (content, stamp) = read(setting, keyfile)?;
            stamps.push(stamp);
            PrivateKeyDer::from_pem_slice(&content)
        } else {
            PrivateKeyDer::from_pem_slice(&content)
        };
        let key = key.map_err(|error| match (error, &self.keyfile) {
            (pem::Error::NoItemsFound, Some(_)) => {
                invalid(setting, keyfile, "an unencrypted private key in PEM; decrypt it with `openssl pkey`")
            }
            (pem::Error::NoItemsFound, None) => {
                invalid(setting, keyfile, "an unencrypted private key in PEM beside the certificate; or give keyfile")
            }
            // The error may quote the line it stumbled on, which could be a part of the key.
            _ => invalid(setting, keyfile, "a private key in well-formed PEM; export it again"),
        })?;
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let expected = format!("the private key of certfile={}; give the pair", self.certfile.display());
                invalid(setting, keyfile, expected)
            }
            error => unusable(setting, keyfile, &error),
        })?;
        Ok((pair, stamps))
    }

    fn are_current(&self, stamps: &[Stamp]) -> bool {
        let paths = std::iter::once(&self.certfile).chain(&self.keyfile);
        paths.zip(stamps).all(|(path, stamp)| stamp.is_current(path))
    }
}

/// Shows the pair that is in the files.
struct Reloading {
    files: Files,
    recheck: Duration,
    provider: CryptoProvider,
    shown: Mutex<LoadedPair>,
}

struct LoadedPair {
    pair: Arc<CertifiedKey>,
    stamps: Vec<Stamp>,
    checked: Instant,
}

impl Reloading {
    fn open(files: Files, recheck: Duration) -> Result<Self> {
        let provider = ring::default_provider();
        let (pair, stamps) = files.load(&provider)?;
        let shown = Mutex::new(LoadedPair { pair: Arc::new(pair), stamps, checked: Instant::now() });
        Ok(Self { files, recheck, provider, shown })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut shown = self.shown.lock();
        if shown.checked.elapsed() >= self.recheck {
            shown.checked = Instant::now();
            if !self.files.are_current(&shown.stamps) {
                // A renewal replaces one file after the other: a pair that does not match yet will, a second later.
                if let Ok((pair, stamps)) = self.files.load(&self.provider) {
                    shown.pair = Arc::new(pair);
                    shown.stamps = stamps;
                }
            }
        }
        Arc::clone(&shown.pair)
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading")
            .field("certfile", &self.files.certfile)
            .field("keyfile", &self.files.keyfile)
            .finish_non_exhaustive()
    }
}

fn read(setting: &'static str, path: &Path) -> Result<(Vec<u8>, Stamp)> {
    stamp::read(path).map_err(|source| Error::File {
        setting,
        path: path.to_owned(),
        remedy: "give a PEM file that this process can read",
        source,
    })
}

fn certificates(setting: &'static str, path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(content)
        .collect::<std::result::Result<Vec<_>, _>>()
        // The key may be in the same file, and the error may quote a line of it.
        .map_err(|_| invalid(setting, path, "certificates in well-formed PEM; export them again"))?;
    if found.is_empty() {
        return Err(invalid(setting, path, "at least one certificate in PEM, -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

fn unusable(setting: &'static str, path: &Path, error: &dyn fmt::Display) -> Error {
    invalid(setting, path, format!("something that TLS can use, not: {error}"))
}

fn invalid(setting: &'static str, path: &Path, expected: impl Into<String>) -> Error {
    Error::setting(setting, &path.display().to_string(), expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Pki;

    fn rejects(result: Result<impl fmt::Debug>, setting: &str, expected: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(setting) && error.contains(expected), "{error}");
    }

    #[test]
    fn no_file_is_no_tls_and_half_a_setting_is_an_error() {
        assert!(server_config(None, None, None).unwrap().is_none());
        rejects(server_config(None, Some(Path::new("x")), None), "keyfile=x", "certfile");
        rejects(server_config(None, None, Some(Path::new("x"))), "client_cafile=x", "certfile");
        let pki = Pki::new();
        rejects(client_config(Some(&pki.path("ca.pem")), None, Some(Path::new("x"))), "keyfile=x", "certfile");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_was_expected() {
        let pki = Pki::new();
        let (cert, key) = pki.issue("a");
        let (_, other_key) = pki.issue("b");
        let empty = pki.path("empty");
        std::fs::write(&empty, "").unwrap();
        let missing = pki.path("missing");
        rejects(server_config(Some(&missing), None, None), "certfile=", "can read");
        rejects(server_config(Some(&empty), None, None), "certfile=", "at least one certificate");
        rejects(server_config(Some(&cert), None, None), "certfile=", "give keyfile");
        rejects(server_config(Some(&cert), Some(&missing), None), "keyfile=", "can read");
        rejects(server_config(Some(&cert), Some(&empty), None), "keyfile=", "private key");
        rejects(server_config(Some(&cert), Some(&other_key), None), "keyfile=", "the private key of certfile=");
        rejects(server_config(Some(&cert), Some(&key), Some(&missing)), "client_cafile=", "can read");
        rejects(server_config(Some(&cert), Some(&key), Some(&empty)), "client_cafile=", "at least one certificate");
        rejects(client_config(Some(&empty), None, None), "cafile=", "at least one certificate");
        rejects(client_config(Some(&pki.path("ca.pem")), Some(&cert), Some(&other_key)), "keyfile=", "the private key");
    }

    #[test]
    fn a_key_may_sit_beside_its_certificate_and_is_never_quoted() {
        let pki = Pki::new();
        let (cert, key) = pki.issue("a");
        let both = pki.path("both.pem");
        let join = |key: &str| std::fs::write(&both, std::fs::read_to_string(&cert).unwrap() + key).unwrap();
        let key = std::fs::read_to_string(key).unwrap();
        join(&key);
        assert!(server_config(Some(&both), None, None).unwrap().is_some());

        let secret = key.lines().nth(1).unwrap();
        join(&format!("-----BEGIN PRIVATE KEY{secret}\n{secret}\n"));
        let error = server_config(Some(&both), None, None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[..16]), "{error}");
    }

    #[test]
    fn a_renewed_pair_is_shown_once_both_files_are_there() {
        let pki = Pki::new();
        let (cert, key) = pki.issue("a");
        let (new_cert, new_key) = pki.issue("b");
        let resolver = Reloading::open(Files::new(&cert, Some(&key)), Duration::ZERO).unwrap();
        let first = resolver.current().cert.clone();

        std::fs::copy(&new_cert, &cert).unwrap();
        assert_eq!(resolver.current().cert, first, "half of a renewal");
        std::fs::copy(&new_key, &key).unwrap();
        let second = resolver.current().cert.clone();
        assert_ne!(second, first);

        std::fs::remove_file(&key).unwrap();
        assert_eq!(resolver.current().cert, second, "what works stays");
    }

    #[test]
    fn the_files_are_looked_at_once_in_a_while() {
        let pki = Pki::new();
        let (cert, key) = pki.issue("a");
        let (new_cert, new_key) = pki.issue("b");
        let resolver = Reloading::open(Files::new(&cert, Some(&key)), Duration::from_secs(3600)).unwrap();
        let first = resolver.current().cert.clone();
        std::fs::copy(&new_cert, &cert).unwrap();
        std::fs::copy(&new_key, &key).unwrap();
        assert_eq!(resolver.current().cert, first);
    }

    #[test]
    fn debug_shows_paths_only() {
        let pki = Pki::new();
        let (cert, key) = pki.issue("a");
        let resolver = Reloading::open(Files::new(&cert, Some(&key)), RECHECK).unwrap();
        let text = format!("{resolver:?}");
        assert!(text.contains("a.key") && !text.contains("CertifiedKey"), "{text}");
    }
}
