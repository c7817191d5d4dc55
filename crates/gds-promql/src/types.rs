//! The types of PromQL.

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number at each step.
    Scalar,
    /// A text.
    String,
    /// Series with one sample at each step: an instant vector.
    Vector,
    /// Series with the samples of a window at each step: a range vector.
    Matrix,
}

impl ValueType {
    /// As the documentation of PromQL calls it: `instant vector`.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }

    /// As the HTTP interface calls it: `vector`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}
