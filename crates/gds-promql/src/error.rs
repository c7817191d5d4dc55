//! Why a query has no answer.

use std::fmt;

use crate::ast::Span;
use crate::duration::DurationError;
use crate::parser::ParseError;
use crate::source::SourceError;

/// What a query may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Samples read from the source.
    Samples,
    /// Series read from the source.
    Series,
    /// Bytes of memory held at once.
    Bytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Samples => "samples read (max_samples)",
            Self::Series => "series read (max_series)",
            Self::Bytes => "bytes of memory (max_bytes)",
        })
    }
}

/// Why a query has no answer. The text is that of Prometheus where it has the same error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no query.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A duration of the query cannot be computed.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// The query cannot be evaluated on this data, or not as it was asked.
    #[error("{0}")]
    Execution(String),
    /// The query needs more than it may have.
    #[error("query needs more than its limit of {allowed} {limit}: select fewer series or a shorter time")]
    Limit {
        /// Of what.
        limit: Limit,
        /// How much it may have.
        allowed: usize,
    },
    /// The query took longer than it may.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// Whoever asked has gone.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// The source of the samples failed.
    #[error("expanding series: {0}")]
    Source(#[from] SourceError),
}

impl Error {
    /// Whether the same query may have an answer later.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Timeout | Self::Cancelled => true,
            Self::Source(error) => error.retriable,
            Self::Parse(_) | Self::Duration(_) | Self::Execution(_) | Self::Limit { .. } => false,
        }
    }

    /// Where in the query it is, where that is known.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) => Some(error.span),
            Self::Duration(error) => error.span,
            _ => None,
        }
    }

    /// Two series of a result have the same labels.
    pub(crate) fn same_labels() -> Self {
        Self::Execution("vector cannot contain metrics with the same labelset".to_owned())
    }
}
