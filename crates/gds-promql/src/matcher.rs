//! What chooses series by a label: `job="api"`, `path!~"/debug/.*"`.

use std::fmt;

use regex::Regex;

use crate::text::{is_plain_label, write_quoted};

/// The label that holds the name of a metric.
pub const METRIC_NAME: &str = "__name__";

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A condition on the value of one label. A series without the label has the value `""`.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    /// Of [`MatchOp::Regex`] and [`MatchOp::NotRegex`], anchored at both ends.
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher; fails when `value` has to be a regular expression and is none. The expression matches whole values,
    /// and `.` matches line ends too.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, regex::Error> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(&value)?),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with, as the query wrote it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a series passes whose label has this value, `""` where it has none.
    pub fn matches(&self, value: &str) -> bool {
        let found = self.regex.as_ref().map_or_else(|| value == self.value, |regex| regex.is_match(value));
        found == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_label(&self.name) {
            out.write_str(&self.name)?;
        } else {
            write_quoted(out, &self.name)?;
        }
        out.write_str(self.op.text())?;
        write_quoted(out, &self.value)
    }
}

/// The expression that whole texts have to match, `.` and line ends included.
pub fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    // Compiled by itself first: what is no expression must not become one between the brackets, as `a)(b` would.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?s:{pattern})$"))
}
