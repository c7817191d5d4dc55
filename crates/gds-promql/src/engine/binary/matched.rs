//! Operators between two vectors whose series are matched by their labels.

use std::collections::HashMap;

use super::element::{changes_metric, values};
use super::signature::signature;
use crate::ast::{BinaryOp, Cardinality, Span, VectorMatching};
use crate::engine::column::{Bits, Column, Grid, Point, Series};
use crate::engine::context::Query;
use crate::engine::operator::{Merger, Op, Operator, Sink, collect};
use crate::error::Error;
use crate::labels::Labels;
use crate::value::Sample;

/// `x + y`, `x * on (job) group_left (version) y`
pub(in crate::engine) struct OfVectors {
    pub(in crate::engine) op: BinaryOp,
    pub(in crate::engine) left: Op,
    pub(in crate::engine) right: Op,
    pub(in crate::engine) matching: VectorMatching,
    pub(in crate::engine) return_bool: bool,
    pub(in crate::engine) span: Span,
}

/// The series of one signature. Of the "one" side there is one at most at each step; of the "many" side only with
/// `group_left` or `group_right` more than that.
#[derive(Default)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

impl Operator for OfVectors {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let (left, right) = (collect(&*self.left, query, grid)?, collect(&*self.right, query, grid)?);
        // The "many" side is the left one, unless the query groups to the right.
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        if (many.is_empty() && one.is_empty()) || ((many.is_empty() || one.is_empty()) && !self.fills()) {
            return Ok(());
        }
        let groups = self.groups(&many, &one);
        self.check_one_side(query, grid, &groups, &many, &one)?;
        let mut join = Join {
            operator: self,
            query,
            grid,
            swapped,
            matched: HashMap::new(),
            answers: Merger::default(),
            pairs: HashMap::new(),
        };
        for group in groups {
            query.check()?;
            join.group(&group, &many, &one)?;
        }
        join.answers.finish(sink)
    }
}

impl OfVectors {
    fn fills(&self) -> bool {
        self.matching.fill_left.is_some() || self.matching.fill_right.is_some()
    }

    /// Groups in the order in which their series come.
    fn groups(&self, many: &[Series], one: &[Series]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut group_of = |series: &Series, groups: &mut Vec<Group>| {
            *known.entry(signature(&series.labels, &self.matching)).or_insert_with(|| {
                groups.push(Group::default());
                groups.len() - 1
            })
        };
        for (at, series) in many.iter().enumerate() {
            let group = group_of(series, &mut groups);
            groups[group].many.push(at);
        }
        for (at, series) in one.iter().enumerate() {
            let group = group_of(series, &mut groups);
            groups[group].one.push(at);
        }
        groups
    }

    /// Fails where the "one" side has two series of a group at a step at which there is anything to match.
    fn check_one_side(
        &self,
        query: &Query<'_>,
        grid: Grid,
        groups: &[Group],
        many: &[Series],
        one: &[Series],
    ) -> Result<(), Error> {
        if groups.iter().all(|group| group.one.len() < 2) {
            return Ok(());
        }
        let mut other_side = Bits::new(grid.count);
        for series in many {
            query.work(grid.count)?;
            series.column.iter().for_each(|(step, _)| other_side.set(step));
        }
        let mut first: Option<(usize, usize, usize)> = None;
        for group in groups.iter().filter(|group| group.one.len() > 1) {
            let mut holder: HashMap<usize, usize> = HashMap::new();
            for at in &group.one {
                let mut pace = query.pace();
                for (step, _) in one[*at].column.iter() {
                    pace.work(1)?;
                    if !other_side.get(step) && !self.fills() {
                        continue;
                    }
                    if let Some(earlier) = holder.insert(step, *at) {
                        let found = (step, *at, earlier);
                        first = Some(first.map_or(found, |first| first.min(found)));
                    }
                }
            }
        }
        let Some((_, second, earlier)) = first else { return Ok(()) };
        let side = if self.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let group = signature(&one[second].labels, &self.matching);
        let mut pair = [one[second].labels.to_string(), one[earlier].labels.to_string()];
        pair.sort();
        Err(Error::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
             [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            pair[0], pair[1]
        )))
    }

    /// The labels of a result.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = if changes_metric(self.op) { many.without_metric() } else { many.clone() };
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on {
                labels.only(&self.matching.labels)
            } else {
                labels.without(&self.matching.labels)
            };
        }
        for name in &self.matching.include {
            labels = labels.with(name, one.get(name));
        }
        labels
    }
}

struct Join<'a, 'q> {
    operator: &'a OfVectors,
    query: &'a Query<'q>,
    grid: Grid,
    /// Whether the "many" side stands on the right.
    swapped: bool,
    /// The steps at which the group at hand was matched; with grouping, for each answer by itself.
    matched: HashMap<Option<usize>, Bits>,
    answers: Merger,
    /// The answer that each pair of series goes to, and each that is matched with a number instead.
    pairs: HashMap<(Option<usize>, Option<usize>), usize>,
}

impl Join<'_, '_> {
    fn group(&mut self, group: &Group, many: &[Series], one: &[Series]) -> Result<(), Error> {
        let matching = &self.operator.matching;
        self.matched.clear();
        for at in &group.many {
            let series = &many[*at];
            let mut last: Option<(Option<usize>, usize)> = None;
            let mut pace = self.query.pace();
            for (step, point) in series.column.iter() {
                pace.work(1 + group.one.len())?;
                let partner = group.one.iter().copied().find(|other| one[*other].column.has(step));
                let value = match partner.map(|other| one[other].column.get(step)) {
                    Some(value) => value,
                    None => matching.fill_right.map(Point::Float),
                };
                let Some(value) = value else { continue };
                let answer = match last {
                    Some((known, answer)) if known == partner => answer,
                    _ => {
                        let substitute = signature(&series.labels, matching);
                        let one = partner.map_or(&substitute, |other| &one[other].labels);
                        self.answer((Some(*at), partner), (&series.labels, one), series.drop_name)?
                    }
                };
                last = Some((partner, answer));
                self.pair(step, answer, point, value)?;
            }
        }
        let Some(fill) = matching.fill_left else { return Ok(()) };
        let mut matched = Bits::new(self.grid.count);
        self.matched.values().flat_map(Bits::iter).for_each(|step| matched.set(step));
        for at in &group.one {
            let series = &one[*at];
            let mut answer = None;
            let mut pace = self.query.pace();
            for (step, point) in series.column.iter().filter(|(step, _)| !matched.get(*step)) {
                pace.work(1)?;
                let answer = match answer {
                    Some(answer) => answer,
                    None => {
                        let substitute = signature(&series.labels, matching);
                        *answer.insert(self.answer(
                            (None, Some(*at)),
                            (&substitute, &series.labels),
                            series.drop_name,
                        )?)
                    }
                };
                self.pair(step, answer, Point::Float(fill), point)?;
            }
        }
        Ok(())
    }

    /// Where the results of a pair of series go. What is no longer the metric of its name does not become that again by
    /// being compared.
    fn answer(
        &mut self,
        pair: (Option<usize>, Option<usize>),
        (many, one): (&Labels, &Labels),
        drop_name: bool,
    ) -> Result<usize, Error> {
        if let Some(answer) = self.pairs.get(&pair) {
            return Ok(*answer);
        }
        let labels = self.operator.result_labels(many, one);
        let (query, count) = (self.query, self.grid.count);
        let drop_name = drop_name || self.operator.return_bool;
        let answer = self.answers.index(&labels, drop_name, || Column::new(query, count))?;
        self.pairs.insert(pair, answer);
        Ok(answer)
    }

    fn pair(&mut self, step: usize, answer: usize, many: Point<'_>, one: Point<'_>) -> Result<(), Error> {
        let operator = self.operator;
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let place = (&self.query.notes, operator.span);
        let Some(outcome) = values(operator.op, left, right, place) else { return Ok(()) };
        let grouped = operator.matching.cardinality != Cardinality::OneToOne;
        let count = self.grid.count;
        let matched = self.matched.entry(grouped.then_some(answer)).or_insert_with(|| Bits::new(count));
        if matched.get(step) {
            return Err(Error::Execution(
                if grouped {
                    "multiple matches for labels: grouping labels must ensure unique matches"
                } else {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                }
                .to_owned(),
            ));
        }
        matched.set(step);
        let sample = match (operator.return_bool, outcome.passes) {
            (true, passes) => Sample::Float(f64::from(u8::from(passes))),
            (false, true) => outcome.sample,
            (false, false) => return Ok(()),
        };
        let column = self.answers.column_at(answer);
        if column.has(step) {
            return Err(Error::same_labels());
        }
        column.set(step, sample)
    }
}
