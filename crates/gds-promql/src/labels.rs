//! The labels of a series.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::matcher::METRIC_NAME;
use crate::text::{is_plain_label, write_quoted};

/// The label of the upper bound of a bucket of a classic histogram.
pub(crate) const BUCKET: &str = "le";
/// The label of the type of a metric, where a source keeps it as one.
pub(crate) const METRIC_TYPE: &str = "__type__";
/// The label of the unit of a metric, where a source keeps it as one.
pub(crate) const METRIC_UNIT: &str = "__unit__";

/// Names and values, sorted by name, each name once, no value empty. Cloning counts a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// No label.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// From pairs in any order; of a name that comes twice the last one counts, and an empty value is no label.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut found: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (name, value) in pairs {
            found.insert(Arc::from(name.as_ref()), Arc::from(value.as_ref()));
        }
        Self(found.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// From pairs that are what [`from_pairs`](Self::from_pairs) would make of them already: sorted by name, each name
    /// once, no value empty. The texts are shared.
    pub fn from_sorted(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let labels = Self(pairs.into_iter().collect());
        debug_assert!(labels.0.windows(2).all(|pair| pair[0].0 < pair[1].0), "{labels} is not sorted");
        labels
    }

    /// The value of a label, `""` where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| &self.0[at].1)
    }

    /// The name of the metric, `""` where there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// Names and values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose name passes.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// Those of a list.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        self.filtered(|name| names.iter().any(|kept| kept == name))
    }

    /// Those not of a list.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        self.filtered(|name| !names.iter().any(|dropped| dropped == name))
    }

    /// With another value of one label; without the label where the value is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut entries: Vec<_> = self.0.to_vec();
        match (self.find(name), value.is_empty()) {
            (Some(at), true) => drop(entries.remove(at)),
            (Some(at), false) => entries[at].1 = Arc::from(value),
            (None, true) => return self.clone(),
            (None, false) => {
                let at = entries.partition_point(|(other, _)| **other < *name);
                entries.insert(at, (Arc::from(name), Arc::from(value)));
            }
        }
        Self(entries.into())
    }

    /// Without the name, the type and the unit of the metric: a value computed from a metric is not that metric.
    #[must_use]
    pub fn without_metric(&self) -> Self {
        self.filtered(|name| !matches!(name, METRIC_NAME | METRIC_TYPE | METRIC_UNIT))
    }

    fn find(&self, name: &str) -> Option<usize> {
        // A handful of labels: looking at each is as fast as halving.
        self.0.iter().position(|(other, _)| **other == *name)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (name, value) in self.iter() {
            name.hash(state);
            value.hash(state);
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// `{__name__="up", job="api"}`
impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                out.write_str(", ")?;
            }
            if is_plain_label(name) {
                out.write_str(name)?;
            } else {
                write_quoted(out, name)?;
            }
            out.write_str("=")?;
            write_quoted(out, value)?;
        }
        out.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_counts() {
        let labels = Labels::from_pairs([("job", "a"), ("__name__", "up"), ("job", "b"), ("none", "")]);
        assert_eq!(labels.to_string(), r#"{__name__="up", job="b"}"#);
        assert_eq!(labels.get("none"), "");
    }

    #[test]
    fn an_empty_value_takes_a_label_away() {
        let labels = Labels::from_pairs([("a", "1"), ("c", "3")]);
        assert_eq!(labels.with("b", "2").to_string(), r#"{a="1", b="2", c="3"}"#);
        assert_eq!(labels.with("a", "").to_string(), r#"{c="3"}"#);
        assert_eq!(labels.with("x", ""), labels);
    }

    #[test]
    fn names_that_are_no_plain_labels_are_quoted() {
        assert_eq!(Labels::from_pairs([("a.b", "x\"y")]).to_string(), r#"{"a.b"="x\"y"}"#);
    }
}
