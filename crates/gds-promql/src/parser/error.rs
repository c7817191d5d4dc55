//! What is wrong with a query, and where.

use std::fmt;

use crate::ast::Span;

/// A text that is no query. As text it is `line:column: parse error: message`, both counted from one, columns in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where in the text.
    pub span: Span,
    /// Line and column of its start.
    pub position: (usize, usize),
    /// What is wrong, and what was expected where that is known.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(text: &str, span: Span, message: impl Into<String>) -> Self {
        Self { span, position: span.position(text), message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position;
        write!(out, "{line}:{column}: parse error: {}", self.message)
    }
}

impl std::error::Error for ParseError {}

/// `, did you mean "rate"?` where one of the names differs by a letter or two, else nothing.
pub(crate) fn did_you_mean(word: &str, names: impl Iterator<Item = &'static str>) -> String {
    let word = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).clamp(1, 2);
    names
        .map(|name| (strsim::osa_distance(&word, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map_or_else(String::new, |(_, name)| format!(", did you mean {name:?}?"))
}
