//! What is wrong with the text of an expression, and where.

/// An expression that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where it begins, in bytes of the text.
    pub start: usize,
    /// How many bytes it is about; 0 where something is missing at the end.
    pub length: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl ExpressionError {
    pub(super) fn new(start: usize, length: usize, message: impl Into<String>) -> Self {
        Self { start, length, message: message.into() }
    }
}
