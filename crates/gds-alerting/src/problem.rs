//! What is wrong with a file, and where.

use std::cell::RefCell;
use std::fmt;

use crate::yaml::Mark;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key it is about, as `rules[2].threshold.op`; empty where it is the file.
    pub key: String,
    /// What is wrong, what was expected, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

/// All that is wrong with a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// Where problems are put while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub(crate) fn put(&self, mark: Mark, key: &str, message: impl Into<String>) {
        let problem = Problem { line: mark.line, column: mark.column, key: key.to_owned(), message: message.into() };
        self.0.borrow_mut().push(problem);
    }

    /// What was read, unless something is wrong with it.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(Problems(problems)),
        }
    }
}
