//! A set of ids, neighbours kept together: what waits in a spool is mostly one long row.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest ids, as far as they are neighbours.
    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.0.first_key_value().map(|(start, end)| *start..*end)
    }

    /// The lowest one from `id` on.
    pub(super) fn next_from(&self, id: u64) -> Option<u64> {
        let around = self.0.range(..=id).next_back().filter(|(_, end)| **end > id).map(|_| id);
        around.or_else(|| self.0.range(id..).next().map(|(start, _)| *start))
    }

    pub(super) fn insert(&mut self, ids: Range<u64>) {
        if ids.is_empty() {
            return;
        }
        if let Some(mut last) = self.0.last_entry()
            && *last.get() == ids.start
        {
            *last.get_mut() = ids.end; // nearly always
            return;
        }
        let (mut start, mut end) = (ids.start, ids.end);
        if let Some((before, its_end)) = self.0.range(..=start).next_back()
            && *its_end >= start
        {
            start = *before;
        }
        while let Some((other, its_end)) = self.0.range(start..=end).next().map(|(other, end)| (*other, *end)) {
            self.0.remove(&other);
            end = end.max(its_end);
        }
        self.0.insert(start, end);
    }

    /// Takes out those of its ids that are within `ids`.
    pub(super) fn take(&mut self, ids: &Range<u64>) -> Vec<Range<u64>> {
        let from = self.0.range(..ids.start).next_back().map_or(ids.start, |(start, _)| *start);
        let touched: Vec<_> = self.0.range(from..ids.end.max(from)).map(|(start, end)| (*start, *end)).collect();
        let mut taken = Vec::new();
        for (start, end) in touched {
            let within = start.max(ids.start)..end.min(ids.end);
            if within.is_empty() {
                continue;
            }
            self.0.remove(&start);
            for rest in [start..within.start, within.end..end] {
                if !rest.is_empty() {
                    self.0.insert(rest.start, rest.end);
                }
            }
            taken.push(within);
        }
        taken
    }

    /// All of it.
    pub(super) fn into_ranges(self) -> impl Iterator<Item = Range<u64>> {
        self.0.into_iter().map(|(start, end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_with_neighbours_together(steps in vec((any::<bool>(), 0..60_u64, 0..12_u64), 0..60)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (takes, start, length) in steps {
                let ids = start..start + length;
                if takes {
                    let taken: Vec<u64> = ranges.take(&ids).into_iter().flatten().collect();
                    let expected: Vec<u64> = model.range(ids.clone()).copied().collect();
                    prop_assert_eq!(taken, expected);
                    model.retain(|id| !ids.contains(id));
                } else {
                    ranges.insert(ids.clone());
                    model.extend(ids);
                }
                prop_assert_eq!(ranges.is_empty(), model.is_empty());
                let parts: Vec<_> = ranges.clone().into_ranges().collect();
                prop_assert!(parts.windows(2).all(|two| two[0].end < two[1].start), "{:?}", parts);
                for id in 0..75 {
                    prop_assert_eq!(ranges.next_from(id), model.range(id..).next().copied());
                }
                prop_assert_eq!(ranges.first(), parts.first().cloned());
                prop_assert!(parts.into_iter().flatten().eq(model.iter().copied()));
            }
        }
    }
}
