//! Records on their way in; they borrow their bytes.

use crate::error::{Error, Result};
use crate::headers::Headers;

/// Kafka's limit on the names of topics, in bytes.
pub(crate) const MAX_TOPIC: usize = 249;

/// Refuses a name that no hub takes, by its length; which characters it may have is the hub's to say.
pub fn check_topic(name: &str) -> Result<()> {
    if (1..=MAX_TOPIC).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::Message(format!("topic {name:?}: expected a name of 1 to {MAX_TOPIC} characters").into()))
}

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
