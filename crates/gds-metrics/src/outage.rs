//! Telling that a receiver does not take what it is sent: once when that begins, once when it ends.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Takes sentences for the user's log. Called with no lock held, on a thread that may wait.
#[derive(Clone)]
pub struct LogFn(Arc<dyn Fn(&str) + Send + Sync>);

impl LogFn {
    /// Has `tell` take them.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn say(&self, sentence: &str) {
        (self.0)(sentence);
    }
}

impl Default for LogFn {
    /// Nobody listens.
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for LogFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogFn")
    }
}

/// Whether what is sent does not get through, and since when.
#[derive(Debug, Default)]
pub(crate) struct Outage(Option<Instant>);

impl Outage {
    /// What is to be said after an attempt that failed.
    pub(crate) fn failed(&mut self, why: &dyn fmt::Display, kept: &str) -> Option<String> {
        if self.0.is_some() {
            return None;
        }
        self.0 = Some(Instant::now());
        Some(format!("metrics do not get through: {why}; {kept}; this is said once, and again when they do"))
    }

    /// What is to be said after one that surely did not.
    pub(crate) fn succeeded(&mut self, url: &str) -> Option<String> {
        let since = self.0.take()?;
        Some(format!("metrics get through to {url} again, after {} s", since.elapsed().as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_told_when_it_begins_and_when_it_ends() {
        let mut outage = Outage::default();
        assert_eq!(outage.succeeded("x"), None);
        for _ in 0..2 {
            let began = outage.failed(&"refused", "kept").unwrap();
            assert!(began.starts_with("metrics do not get through: refused; kept; "), "{began}");
            assert_eq!(outage.failed(&"refused", "kept"), None);
            assert!(outage.succeeded("x").unwrap().starts_with("metrics get through to x again, after "));
            assert_eq!(outage.succeeded("x"), None);
        }
    }
}
