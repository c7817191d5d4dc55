//! Headers that a user sends along, mostly for credentials.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that say how the body is sent, which is not the user's to choose.
const RESERVED: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
];

/// Adds a header, marked as sensitive; or says what was expected instead.
pub(crate) fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), &'static str> {
    let name =
        HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "a header's name, of letters, digits and dashes")?;
    if RESERVED.contains(&name) || name.as_str().starts_with("grpc-") {
        return Err("a header that the protocol does not set itself; leave it out");
    }
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| "a header's value without line breaks or control characters")?;
    value.set_sensitive(true);
    headers.append(name, value);
    Ok(())
}

/// What may be shown of text given as a header's name: up to what no name has. `Authorization: Basic eA==`, written as in
/// HTTP, reads as a name that holds the secret. Of the value nothing is shown: it is a secret even where it is wrong.
pub(crate) fn shown_name(name: &str) -> &str {
    let in_no_name = |char: char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_' | '.');
    name.trim().split(in_no_name).next().unwrap_or_default()
}
