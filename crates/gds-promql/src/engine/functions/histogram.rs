//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`, of classic and of native histograms.

use std::collections::HashMap;
use std::sync::Arc;

use crate::annotations::{Extent, Note};
use crate::ast::Span;
use crate::engine::column::{Column, Grid, Point, Series};
use crate::engine::context::{HISTOGRAM_WORK, Query};
use crate::engine::operator::{Merger, Op, Operator, Sink, scalar};
use crate::engine::quantile::{ClassicBucket, bucket_fraction, bucket_quantile};
use crate::error::Error;
use crate::histogram::{FloatHistogram, NanObservations};
use crate::labels::{BUCKET, Labels};

/// What is asked of each histogram.
pub(in crate::engine) enum Ask {
    /// A quantile, with where it stands.
    Quantile(Op, Span),
    /// Several, each in a series whose label says which.
    Quantiles(String, Vec<(Op, Span)>),
    /// The part between two numbers.
    Fraction(Op, Op),
}

/// `histogram_quantile(0.9, x)` and its likes.
pub(in crate::engine) struct OfHistograms {
    pub(in crate::engine) ask: Ask,
    pub(in crate::engine) input: Op,
    /// Where the histograms stand.
    pub(in crate::engine) span: Span,
}

/// One question at each step.
enum Question {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

/// The series that are one histogram: buckets by their bounds, native histograms of the same labels.
#[derive(Default)]
struct Family {
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
}

impl Operator for OfHistograms {
    fn run(&self, query: &Query<'_>, grid: Grid, sink: &mut Sink<'_>) -> Result<(), Error> {
        let questions = self.questions(query, grid)?;
        let families = self.families(query, grid)?;
        let mut answers = Merger::default();
        for (label, question) in &questions {
            for (labels, family) in &families {
                query.check()?;
                let column = self.answer(query, grid, labels, family, question)?;
                if column.is_empty() {
                    continue;
                }
                match label {
                    None => answers.add(Series { labels: labels.clone(), drop_name: true, column })?,
                    // The value of the quantile, and so its label, may change from step to step.
                    Some((name, texts)) => {
                        for (step, point) in column.iter() {
                            let labels = labels.with(name, &texts[step]);
                            let column = answers.column(&labels, true, || Column::new(query, grid.count))?;
                            if column.has(step) {
                                return Err(Error::same_labels());
                            }
                            column.set(step, point.to_sample())?;
                        }
                    }
                }
            }
        }
        answers.finish(sink)
    }
}

type Labelled = (Option<(String, Vec<String>)>, Question);

impl OfHistograms {
    fn questions(&self, query: &Query<'_>, grid: Grid) -> Result<Vec<Labelled>, Error> {
        let quantile = |op: &Op, span: Span| -> Result<Vec<f64>, Error> {
            let q = scalar(&**op, query, grid)?;
            q.iter()
                .filter(|q| !(0.0..=1.0).contains(*q))
                .for_each(|q| query.notes.add(Note::InvalidQuantile((*q).into()), span));
            Ok(q)
        };
        Ok(match &self.ask {
            Ask::Quantile(op, span) => vec![(None, Question::Quantile(quantile(op, *span)?))],
            Ask::Fraction(lower, upper) => {
                vec![(None, Question::Fraction(scalar(&**lower, query, grid)?, scalar(&**upper, query, grid)?))]
            }
            Ask::Quantiles(label, list) => {
                let ask = |(op, span): &(Op, Span)| {
                    let q = quantile(op, *span)?;
                    let texts = q.iter().map(|q| open_metrics(*q)).collect();
                    Ok((Some((label.clone(), texts)), Question::Quantile(q)))
                };
                list.iter().map(ask).collect::<Result<_, Error>>()?
            }
        })
    }

    fn families(&self, query: &Query<'_>, grid: Grid) -> Result<Vec<(Labels, Family)>, Error> {
        let mut families: Vec<(Labels, Family)> = Vec::new();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        self.input.run(query, grid, &mut |series| {
            let mut family = |labels: Labels| -> usize {
                *known.entry(labels.clone()).or_insert_with(|| {
                    families.push((labels, Family::default()));
                    families.len() - 1
                })
            };
            let mut native = Column::new(query, grid.count)?;
            for (step, point) in series.column.iter() {
                if let Point::Histogram(_) = point {
                    native.set(step, point.to_sample())?;
                }
            }
            let mut floats = series.column;
            floats.drop_histograms();
            let native_at = (!native.is_empty()).then(|| family(series.labels.clone()));
            let mut bucket_at = None;
            if !floats.is_empty() {
                let bound = series.labels.get(BUCKET);
                match parse_bound(bound) {
                    Some(upper) => bucket_at = Some((family(series.labels.filtered(|name| name != BUCKET)), upper)),
                    None => {
                        let metric = series.labels.metric_name().to_owned();
                        query.notes.add(Note::BadBucketLabel { metric, value: bound.to_owned() }, self.span);
                    }
                }
            }
            if let Some(at) = native_at {
                match &mut families[at].1.native {
                    Some(known) => known.merge(&native)?,
                    free => *free = Some(native),
                }
            }
            if let Some((at, upper)) = bucket_at {
                families[at].1.buckets.push((upper, floats));
            }
            Ok(())
        })?;
        Ok(families)
    }

    fn answer(
        &self,
        query: &Query<'_>,
        grid: Grid,
        labels: &Labels,
        family: &Family,
        question: &Question,
    ) -> Result<Column, Error> {
        let mut column = Column::new(query, grid.count)?;
        let mut buckets = Vec::with_capacity(family.buckets.len());
        let mut pace = query.pace();
        for step in 0..grid.count {
            pace.work(family.buckets.len() + HISTOGRAM_WORK)?;
            buckets.clear();
            for (upper, counts) in &family.buckets {
                if let Some(Point::Float(count)) = counts.get(step) {
                    buckets.push(ClassicBucket { upper: *upper, count });
                }
            }
            let native = match family.native.as_ref().and_then(|native| native.get(step)) {
                Some(Point::Histogram(histogram)) => Some(histogram),
                _ => None,
            };
            match native {
                Some(_) if !buckets.is_empty() => {
                    query.notes.add(Note::MixedClassicNativeHistograms(labels.metric_name().to_owned()), self.span);
                }
                Some(histogram) => column.set_float(step, self.of_native(query, labels, histogram, question, step)),
                None if buckets.is_empty() => {}
                None => {
                    let value = match question {
                        Question::Fraction(lower, upper) => bucket_fraction(lower[step], upper[step], &mut buckets),
                        Question::Quantile(q) => {
                            let (value, forced) = bucket_quantile(q[step], &mut buckets);
                            if let Some(forced) = forced {
                                let time = grid.at(step);
                                query.notes.add_with(
                                    Note::ForcedMonotonicity(labels.metric_name().to_owned()),
                                    self.span,
                                    Extent {
                                        times: Some((time, time)),
                                        buckets: forced.buckets,
                                        difference: forced.difference,
                                        count: 1,
                                    },
                                );
                            }
                            value
                        }
                    };
                    column.set_float(step, value);
                }
            }
        }
        Ok(column)
    }

    fn of_native(
        &self,
        query: &Query<'_>,
        labels: &Labels,
        histogram: &Arc<FloatHistogram>,
        question: &Question,
        step: usize,
    ) -> f64 {
        let metric = || labels.metric_name().to_owned();
        let (estimate, note): (_, fn(String) -> Note) = match question {
            Question::Fraction(lower, upper) => (histogram.fraction(lower[step], upper[step]), Note::FractionBesideNan),
            Question::Quantile(q) => (histogram.quantile(q[step]), Note::QuantileBesideNan),
        };
        match estimate.nan {
            NanObservations::None => {}
            NanObservations::Beside => query.notes.add(note(metric()), self.span),
            NanObservations::Reached => query.notes.add(Note::QuantileReachesNan(metric()), self.span),
        }
        estimate.value
    }
}

/// The bound of a bucket: a number, or how infinity is written.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A number as OpenMetrics writes it in a label: `1.0`, `0.5`, `1e-05`.
fn open_metrics(number: f64) -> String {
    let text = crate::histogram::Number(number).to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if plain { format!("{text}.0") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_a_fraction_in_labels() {
        assert_eq!(
            ["1.0", "0.5", "+Inf", "1e-05"],
            [1.0, 0.5, f64::INFINITY, 1e-5].map(open_metrics).each_ref().map(String::as_str)
        );
    }
}
