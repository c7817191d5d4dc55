//! `label_replace` and `label_join`: series under other labels.

use regex::Regex;

use crate::engine::column::{Grid, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Merger, Op, Operator, Sink};
use crate::error::Error;
use crate::labels::Labels;
use crate::matcher::METRIC_NAME;

/// What the new value of the label is.
pub(in crate::engine) enum NewValue {
    /// The replacement, where the value of another label matches.
    Replace { source: String, regex: Regex, replacement: String },
    /// The values of other labels, with a text between them.
    Join { sources: Vec<String>, separator: String },
}

/// `label_replace(x, "target", "$1", "source", "(.*)")` and `label_join(x, "target", ",", "a", "b")`.
pub(in crate::engine) struct Relabel {
    pub(in crate::engine) input: Op,
    pub(in crate::engine) target: String,
    pub(in crate::engine) value: NewValue,
}

impl Relabel {
    /// The labels with the new value, where there is one.
    fn changed(&self, labels: &Labels) -> Option<Labels> {
        let value = match &self.value {
            NewValue::Replace { source, regex, replacement } => {
                let captures = regex.captures(labels.get(source))?;
                let mut value = String::new();
                captures.expand(replacement, &mut value);
                value
            }
            NewValue::Join { sources, separator } => {
                sources.iter().map(|source| labels.get(source)).collect::<Vec<_>>().join(separator)
            }
        };
        Some(labels.with(&self.target, &value))
    }
}

impl Operator for Relabel {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut merger = Merger::default();
        self.input.run(query, grid, &mut |series| {
            merger.add(match self.changed(&series.labels) {
                // A name that is set on purpose stays.
                Some(labels) => {
                    Series { labels, drop_name: series.drop_name && self.target != METRIC_NAME, column: series.column }
                }
                None => series,
            })
        })?;
        merger.finish(sink)
    }
}
