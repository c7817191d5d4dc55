//! What is wrong with a file of TLS: librdkafka says which key it is about and then OpenSSL's words, a person gave
//! a setting and wants to know what to change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

/// No file of certificates is longer; what is would be another file by mistake.
const LONGEST: u64 = 16 << 20;

const CA: &str = "ssl.ca.location";
const CERTIFICATE: &str = "ssl.certificate.location";
const KEY: &str = "ssl.key.location";
const CRL: &str = "ssl.crl.location";

/// What librdkafka's key is called here, what the file should hold, and how the first line of that ends in PEM.
fn expected(key: &str) -> (&'static str, &'static str, &'static str) {
    match key {
        CA => ("ssl_cafile", "the certificates of the authorities to trust", "CERTIFICATE-----"),
        CERTIFICATE => ("ssl_certfile", "this client's certificate", "CERTIFICATE-----"),
        CRL => ("ssl_crlfile", "a list of revoked certificates", "X509 CRL-----"),
        _ => ("ssl_keyfile", "the private key of the certificate", "PRIVATE KEY-----"),
    }
}

/// The error of `rd_kafka_new` in terms of the settings, if it is about one of the files; `text` is librdkafka's.
///
/// Only asked when OpenSSL has refused a file, so that the two cannot be of different minds.
pub(super) fn explained(client: &BTreeMap<String, String>, text: &str) -> Option<String> {
    // The pair is checked once both files were read.
    let pair = text.strip_prefix("Private key check failed: ");
    let (key, words) = match pair {
        Some(words) => (KEY, words),
        None => [CA, CERTIFICATE, KEY, CRL]
            .into_iter()
            .find_map(|key| Some((key, text.strip_prefix(key)?.strip_prefix(" failed: ")?)))?,
    };
    let path = client.get(key)?;
    let certificate = client.get(CERTIFICATE);
    let (mut name, holds, label) = expected(key);
    // Without a ssl_keyfile the certificate's file is to hold the key.
    let shared = key == KEY && certificate == Some(path);
    if shared {
        name = "ssl_certfile";
    }
    let (wrong, instead) = match contents(path) {
        Err(error) => (format!("the file cannot be read ({error})"), format!("give {name} the path of such a file")),
        Ok(text) if !has(&text, label) => {
            let instead = match key {
                _ if shared => "give the file of the key as ssl_keyfile, or put the key into this file".to_owned(),
                _ => format!("give {name} the path of such a file (DER and PKCS#12 have to be converted)"),
            };
            (format!("the file holds no block \"-----BEGIN ...{label}\""), instead)
        }
        Ok(text) if key == KEY => key_refused(&text, words, pair.is_some(), client),
        Ok(_) => (format!("OpenSSL cannot use what it holds ({words})"), "make the file anew".to_owned()),
    };
    Some(format!("{name}={path:?}: {wrong}: expected {holds} in PEM; {instead}"))
}

/// Why a file that holds a private key was of no use, and what to do.
fn key_refused(text: &str, words: &str, pair: bool, client: &BTreeMap<String, String>) -> (String, String) {
    let Some(certificate) = client.get(CERTIFICATE) else {
        return ("there is no ssl_certfile to go with the key".to_owned(), "give ssl_certfile too".to_owned());
    };
    if pair || words.contains("mismatch") {
        let wrong = format!("the key is not that of the certificate in ssl_certfile={certificate:?}");
        return (wrong, "give the two files that were made together".to_owned());
    }
    // PKCS#8 says so in the first line, the older formats in the second.
    if has(text, "ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let (wrong, instead) = if client.contains_key("ssl.key.password") {
            ("the key is encrypted, and ssl_password does not open it", "give ssl_password the password of this key")
        } else {
            ("the key is encrypted, and there is no ssl_password", "give ssl_password the password of this key")
        };
        return (wrong.to_owned(), instead.to_owned());
    }
    (format!("OpenSSL cannot use what it holds ({words})"), "make the file anew".to_owned())
}

fn contents(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a block begins with a line that ends so.
fn has(text: &str, label: &str) -> bool {
    text.lines().map(str::trim_end).any(|line| line.starts_with("-----BEGIN ") && line.ends_with(label))
}
