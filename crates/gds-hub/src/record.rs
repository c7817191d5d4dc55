//! Records on their way in; they borrow their bytes.

use crate::headers::Headers;

/// A record to be published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition, where the caller chose one; else the key decides.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Records of one key keep their order.
    pub key: Option<&'a [u8]>,
    /// None deletes the key in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Name and value pairs.
    pub headers: Headers<'a>,
}
