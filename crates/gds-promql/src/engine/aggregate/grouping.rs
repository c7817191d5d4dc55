//! Which series are aggregated together.

use std::collections::HashMap;

use crate::labels::Labels;
use crate::matcher::METRIC_NAME;

/// `by (job)` or `without (instance)`
pub(in crate::engine) struct Grouping {
    pub(in crate::engine) labels: Vec<String>,
    pub(in crate::engine) without: bool,
}

impl Grouping {
    /// The labels of the group of a series.
    pub(in crate::engine) fn of(&self, labels: &Labels) -> Labels {
        if self.without {
            labels.filtered(|name| name != METRIC_NAME && !self.labels.iter().any(|dropped| dropped == name))
        } else if self.labels.is_empty() {
            Labels::empty()
        } else {
            labels.only(&self.labels)
        }
    }
}

/// Groups in the order in which they come.
pub(in crate::engine) struct Groups<T> {
    pub(in crate::engine) list: Vec<(Labels, T)>,
    known: HashMap<Labels, usize>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { list: Vec::new(), known: HashMap::new() }
    }
}

impl<T> Groups<T> {
    /// The group with these labels, made where there is none.
    pub(in crate::engine) fn of<E>(
        &mut self,
        labels: Labels,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        let at = match self.known.get(&labels) {
            Some(at) => *at,
            None => {
                self.list.push((labels.clone(), make()?));
                self.known.insert(labels, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        Ok(&mut self.list[at].1)
    }
}
