//! Credentials of channels: from the environment, from files it names, or from whoever has asked Vault for them.

use std::collections::BTreeMap;
use std::fmt;

/// What names of credentials begin with.
const PREFIX: &str = "GDS_ALERTING";

/// Credentials by name. A name is `GDS_ALERTING_{CHANNEL}_{FIELD}`, or `GDS_ALERTING_{TYPE}_{FIELD}` for all channels of a
/// type: upper case, with `_` for what is no letter or digit. With `_FILE` at its end it is that of a file which holds the
/// value. The narrower name wins.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A channel as credentials are looked up for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) credentials: &'a Credentials,
    pub(crate) channel: &'a str,
    pub(crate) kind: &'a str,
}

impl Credentials {
    /// Those of a map, of which names that do not begin as ours do are left out.
    pub fn new(all: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(all.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }
}

impl Of<'_> {
    /// The names under which a field is looked up.
    fn names(&self, field: &str) -> [String; 2] {
        [self.channel, self.kind].map(|of| format!("{PREFIX}_{}_{field}", upper(of)))
    }

    /// The value of a field, if there is one.
    pub(crate) fn find(&self, field: &str) -> Result<Option<String>, String> {
        for name in self.names(field) {
            if let Some(value) = self.credentials.0.get(&name) {
                return Ok(Some(value.clone()));
            }
            let in_file = format!("{name}_FILE");
            if let Some(path) = self.credentials.0.get(&in_file) {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| format!("{in_file}={path}: cannot be read: {error}"))?;
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
        }
        Ok(None)
    }

    /// The value of a field that has to be there.
    pub(crate) fn get(&self, field: &str) -> Result<String, String> {
        self.find(field)?.filter(|value| !value.is_empty()).ok_or_else(|| {
            let [own, all] = self.names(field);
            format!("no credential; set {own}, or {all} for all channels of type {}, or either with _FILE", self.kind)
        })
    }
}

fn upper(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_name_wins_and_files_are_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("written");
        let path = file.path().to_str().expect("text").to_owned();
        let credentials = Credentials::new([
            ("GDS_ALERTING_SLACK_TOKEN".to_owned(), "all".to_owned()),
            ("GDS_ALERTING_SLACK_DBA_TOKEN".to_owned(), "own".to_owned()),
            ("GDS_ALERTING_PAGER_ROUTING_KEY_FILE".to_owned(), path),
            ("HOME".to_owned(), "/root".to_owned()),
        ]);
        let of = |channel, kind| Of { credentials: &credentials, channel, kind };
        assert_eq!(of("slack-dba", "slack").get("TOKEN").as_deref(), Ok("own"));
        assert_eq!(of("other", "slack").get("TOKEN").as_deref(), Ok("all"));
        assert_eq!(of("pager", "pagerduty").get("ROUTING_KEY").as_deref(), Ok("hunter2"));
        let missing = of("mail", "email").get("PASSWORD").expect_err("there is none");
        assert!(missing.contains("GDS_ALERTING_MAIL_PASSWORD") && missing.contains("GDS_ALERTING_EMAIL_PASSWORD"));
        assert!(!format!("{credentials:?}").contains("own"));
        assert!(!format!("{credentials:?}").contains("HOME"));
    }
}
