//! `info(x)`: labels of info metrics such as `target_info` on the series that they describe.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::column::{Bits, Column, Grid, Point, Series};
use super::context::Query;
use super::operator::{Merger, Op, Operator, Sink, collect};
use super::selector::{SelectVector, Selector, Yield};
use crate::ast::Span;
use crate::error::Error;
use crate::labels::Labels;
use crate::matcher::{METRIC_NAME, MatchOp, Matcher};

/// The labels by which an info metric and a series belong together.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// `info(x, {version="1"})`
pub(super) struct Info {
    pub(super) input: Op,
    /// The second argument: which labels are taken over, and of which info metrics.
    pub(super) matchers: Vec<Matcher>,
    /// When the info metrics are looked at: what the first selector of the first argument says.
    pub(super) at: Option<i64>,
    pub(super) offset: i64,
    pub(super) span: Span,
}

impl Operator for Info {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let base = collect(&*self.input, query, grid)?;
        let names = self.name_matchers()?;
        let is_info = |labels: &Labels| names.iter().all(|matcher| matcher.matches(labels.metric_name()));
        let infos = self.infos(query, grid, &names, base.iter().filter(|series| !is_info(&series.labels)))?;
        let newest = Newest::new(query, grid, &infos)?;
        let mut merger = Merger::default();
        for series in base {
            query.check()?;
            if is_info(&series.labels) {
                merger.add(series)?;
            } else {
                self.enrich(query, grid, &series, &infos, &newest, &mut merger)?;
            }
        }
        merger.finish(sink)
    }
}

impl Info {
    /// Which info metrics are asked for.
    fn name_matchers(&self) -> Result<Vec<Matcher>, Error> {
        let mut names: Vec<Matcher> = self.matchers.iter().filter(|one| one.name() == METRIC_NAME).cloned().collect();
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if !names.iter().any(|one| matches!(one.op(), MatchOp::Equal | MatchOp::Regex)) {
            // Only what they are not called: any that is called like an info metric.
            names.insert(0, regex_matcher(METRIC_NAME, ".+_info")?);
        }
        Ok(names)
    }

    fn data_matchers(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME)
    }

    /// The info series that may describe one of the others; each value is the time of the sample.
    fn infos<'a>(
        &self,
        query: &Query<'_>,
        grid: Grid,
        names: &[Matcher],
        base: impl Iterator<Item = &'a Series>,
    ) -> Result<Vec<Series>, Error> {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for series in base {
            for name in IDENTIFYING {
                let value = series.labels.get(name);
                if !value.is_empty() {
                    values.entry(name).or_default().insert(value);
                }
            }
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut matchers = names.to_vec();
        for (name, values) in values {
            let pattern: Vec<String> = values.into_iter().map(regex::escape).collect();
            matchers.push(regex_matcher(name, &pattern.join("|"))?);
        }
        matchers.extend(self.data_matchers().cloned());
        let selector = Selector {
            matchers,
            offset: self.offset,
            at: self.at,
            extension: None,
            detects_resets: false,
            span: self.span,
        };
        collect(&SelectVector { selector, yields: Yield::InfoTime }, query, grid)
    }

    /// The series with the labels of the info series that describe it, which may change from step to step.
    fn enrich(
        &self,
        query: &Query<'_>,
        grid: Grid,
        series: &Series,
        infos: &[Series],
        newest: &Newest,
        merger: &mut Merger,
    ) -> Result<(), Error> {
        let candidates = newest.of(&series.labels);
        let must_match = self.data_matchers().any(|matcher| !matcher.matches(""));
        let mut known: HashMap<Vec<usize>, Labels> = HashMap::new();
        let mut pace = query.pace();
        for (step, point) in series.column.iter() {
            pace.work(1 + candidates.len())?;
            let there: Vec<usize> = candidates
                .iter()
                .filter_map(|kept| kept.iter().copied().find(|at| newest.is_kept(*at, step)))
                .collect();
            if there.is_empty() && must_match {
                continue;
            }
            let labels = match known.get(&there) {
                Some(labels) => labels.clone(),
                None => {
                    let labels = self.with_labels_of(&series.labels, &there, infos)?;
                    known.insert(there, labels.clone());
                    labels
                }
            };
            let column = merger.column(&labels, series.drop_name, || Column::new(query, grid.count))?;
            if column.has(step) {
                return Err(Error::same_labels());
            }
            column.set(step, point.to_sample())?;
        }
        Ok(())
    }

    fn with_labels_of(&self, labels: &Labels, there: &[usize], infos: &[Series]) -> Result<Labels, Error> {
        let wanted: BTreeSet<&str> = self.data_matchers().map(Matcher::name).collect();
        let mut added: BTreeMap<&str, &str> = BTreeMap::new();
        for at in there {
            for (name, value) in infos[*at].labels.iter() {
                if name == METRIC_NAME || (!wanted.is_empty() && !wanted.contains(name)) {
                    continue;
                }
                if added.get(name).is_some_and(|other| *other != value) {
                    return Err(Error::Execution(format!("conflicting label: {name}")));
                }
                if labels.get(name).is_empty() {
                    added.insert(name, value);
                }
            }
        }
        Ok(added.into_iter().fold(labels.clone(), |labels, (name, value)| labels.with(name, value)))
    }
}

fn regex_matcher(name: &str, pattern: &str) -> Result<Matcher, Error> {
    Matcher::new(name, MatchOp::Regex, pattern).map_err(|error| Error::Execution(error.to_string()))
}

/// Of info series that describe the same, the newest at each step.
struct Newest {
    /// By the name of the info metric and the identifying labels.
    groups: HashMap<(String, Labels), Vec<usize>>,
    names: BTreeSet<String>,
    kept: Vec<Bits>,
}

fn identity(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTIFYING.contains(&name))
}

impl Newest {
    fn new(query: &Query<'_>, grid: Grid, infos: &[Series]) -> Result<Self, Error> {
        let mut groups: HashMap<(String, Labels), Vec<usize>> = HashMap::new();
        let mut names = BTreeSet::new();
        for (at, info) in infos.iter().enumerate() {
            let name = info.labels.metric_name().to_owned();
            names.insert(name.clone());
            groups.entry((name, identity(&info.labels))).or_default().push(at);
        }
        let mut kept: Vec<Bits> = infos.iter().map(|_| Bits::new(grid.count)).collect();
        for members in groups.values() {
            query.check()?;
            for step in 0..grid.count {
                query.work(members.len())?;
                let mut newest: Option<(usize, f64)> = None;
                for at in members {
                    let Some(Point::Float(time)) = infos[*at].column.get(step) else { continue };
                    match newest {
                        Some((other, known)) if known == time => {
                            return Err(Error::Execution(format!(
                                "found duplicate series for info metric: existing {} @ {time}, new {} @ {time}",
                                infos[other].labels, infos[*at].labels
                            )));
                        }
                        Some((_, known)) if known > time => {}
                        _ => newest = Some((*at, time)),
                    }
                }
                if let Some((at, _)) = newest {
                    kept[at].set(step);
                }
            }
        }
        Ok(Self { groups, names, kept })
    }

    /// For each info metric, the series that may describe one with these labels.
    fn of(&self, labels: &Labels) -> Vec<&[usize]> {
        let identity = identity(labels);
        self.names
            .iter()
            .filter_map(|name| self.groups.get(&(name.clone(), identity.clone())).map(Vec::as_slice))
            .collect()
    }

    fn is_kept(&self, at: usize, step: usize) -> bool {
        self.kept[at].get(step)
    }
}
