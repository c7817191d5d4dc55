//! A series and its values as scripts write them: `up{job="a"} 0 1+2x3 _ stale {{schema:0 count:1 buckets:[1]}}`.

use std::sync::Arc;

use crate::histogram::{Buckets, CounterResetHint, FloatHistogram};
use crate::labels::Labels;
use crate::matcher::METRIC_NAME;
use crate::text::unquote;
use crate::value::STALE_NAN;

/// The most values that one series can have: `1x99999999999` is a mistake.
const MOST_VALUES: usize = 1_000_000;

/// A value of a series at one time.
#[derive(Clone, Debug)]
pub(super) enum SeriesValue {
    /// `_`: there is none.
    Omitted,
    Float(f64),
    Histogram {
        histogram: Arc<FloatHistogram>,
        /// Whether it says what its hint is; else none is expected.
        hinted: bool,
    },
}

/// Labels and values of a line.
pub(super) fn parse(line: &str) -> Result<(Labels, Vec<SeriesValue>), String> {
    let mut cursor = Cursor { text: line, at: 0 };
    let labels = cursor.labels()?;
    let mut values = Vec::new();
    loop {
        let blank = cursor.skip_blank();
        if cursor.rest().is_empty() {
            return Ok((labels, values));
        }
        if !blank {
            return Err(cursor.unexpected("a space between values"));
        }
        cursor.item(&mut values)?;
        if values.len() > MOST_VALUES {
            return Err(format!("a series with more than {MOST_VALUES} values"));
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.accept(text) { Ok(()) } else { Err(self.unexpected(&format!("{text:?}"))) }
    }

    fn take_while(&mut self, which: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|char| !which(char)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_blank(&mut self) -> bool {
        !self.take_while(char::is_whitespace).is_empty()
    }

    fn unexpected(&self, expected: &str) -> String {
        format!(
            "column {}: unexpected {:?}, expected {expected}",
            self.at + 1,
            self.rest().chars().take(10).collect::<String>()
        )
    }

    // -------------------------------------------------------------- labels
    fn labels(&mut self) -> Result<Labels, String> {
        let name = self.take_while(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':'));
        let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
        // Two braces begin a histogram.
        if !self.rest().starts_with("{{") && self.accept("{") {
            loop {
                self.skip_blank();
                if self.accept("}") {
                    break;
                }
                pairs.push(self.label()?);
                self.skip_blank();
                if !self.accept(",") && !self.rest().starts_with('}') {
                    return Err(self.unexpected("\",\" or \"}\""));
                }
            }
        }
        Ok(Labels::from_pairs(pairs))
    }

    fn label(&mut self) -> Result<(String, String), String> {
        let quoted = matches!(self.peek(), Some('"' | '\'' | '`'));
        let name = if quoted {
            self.string()?
        } else {
            self.take_while(|char| char.is_ascii_alphanumeric() || char == '_').to_owned()
        };
        if name.is_empty() {
            return Err(self.unexpected("a label"));
        }
        self.skip_blank();
        if quoted && matches!(self.peek(), Some(',' | '}')) {
            return Ok((METRIC_NAME.to_owned(), name));
        }
        self.expect("=")?;
        self.skip_blank();
        Ok((name, self.string()?))
    }

    fn string(&mut self) -> Result<String, String> {
        let Some(quote @ ('"' | '\'' | '`')) = self.peek() else { return Err(self.unexpected("a quoted text")) };
        let rest = self.rest();
        let mut escaped = false;
        for (index, char) in rest.char_indices().skip(1) {
            if char == quote && !escaped {
                let quoted = &rest[..=index];
                self.at += quoted.len();
                return unquote(quoted)
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| format!("{quoted} has an escape that is none"));
            }
            escaped = char == '\\' && !escaped && quote != '`';
        }
        Err(self.unexpected("a text with an end"))
    }

    // -------------------------------------------------------------- values
    /// One value or several: `1`, `_x3`, `1x3`, `1+2x3`.
    fn item(&mut self, values: &mut Vec<SeriesValue>) -> Result<(), String> {
        if self.accept("_") {
            let count = if self.accept("x") { self.count()? } else { 1 };
            values.extend(std::iter::repeat_n(SeriesValue::Omitted, count));
            return Ok(());
        }
        if self.rest().starts_with("{{") {
            return self.histograms(values);
        }
        let mut value = self.number(true)?;
        let step = if matches!(self.peek(), Some('+' | '-')) { Some(self.number(false)?) } else { None };
        let times = match step {
            Some(_) => {
                self.expect("x")?;
                self.count()?
            }
            None if self.accept("x") => self.count()?,
            None => 0,
        };
        // Once more than it says: the first value is that of the start.
        for _ in 0..=times {
            values.push(SeriesValue::Float(value));
            if let Some(step) = step {
                value += step;
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<usize, String> {
        let digits = self.take_while(|char| char.is_ascii_digit());
        digits
            .parse()
            .ok()
            .filter(|count| *count <= MOST_VALUES)
            .ok_or_else(|| self.unexpected(&format!("a count up to {MOST_VALUES}")))
    }

    /// A number with or without a sign; it ends where `x` or a sign follows it.
    fn number(&mut self, stale: bool) -> Result<f64, String> {
        let begin = self.at;
        if self.accept("stale") {
            return if stale { Ok(f64::from_bits(STALE_NAN)) } else { Err(self.unexpected("a number")) };
        }
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let start = self.at;
        if self.peek().is_some_and(|char| char.is_ascii_alphabetic()) {
            self.take_while(|char| char.is_ascii_alphabetic() && char != 'x');
        } else {
            self.take_while(|char| char.is_ascii_digit() || matches!(char, '.' | '_'));
            let exponent =
                self.rest().strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
            if exponent.is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit())) {
                self.at += 2;
                self.take_while(|char| char.is_ascii_digit());
            }
        }
        match crate::lexer::number(&self.text[start..self.at]) {
            Some(value) if self.at > start => Ok(if negative { -value } else { value }),
            _ => {
                self.at = begin;
                Err(self.unexpected("a number, \"stale\", \"_\" or a histogram"))
            }
        }
    }

    // -------------------------------------------------------------- histograms
    /// `{{...}}`, `{{...}}x3`, `{{...}}+{{...}}x3`
    fn histograms(&mut self, values: &mut Vec<SeriesValue>) -> Result<(), String> {
        let (first, hinted) = self.histogram()?;
        let add = self.accept("+");
        if !add && !self.accept("-") {
            let times = if self.accept("x") { self.count()? } else { 0 };
            let value = SeriesValue::Histogram { histogram: Arc::new(first), hinted };
            values.extend(std::iter::repeat_n(value, times + 1));
            return Ok(());
        }
        let (step, hinted) = self.histogram()?;
        self.expect("x")?;
        let times = self.count()?;
        let mut current = first;
        for index in 0..=times {
            if index > 0 {
                if current.schema > step.schema {
                    return Err(format!(
                        "error combining histograms: cannot merge from schema {} to {}",
                        step.schema, current.schema
                    ));
                }
                let combined = if add { current.add(&step) } else { current.subtract(&step) };
                combined.map_err(|error| error.to_string())?;
            }
            values.push(SeriesValue::Histogram { histogram: Arc::new(current.clone()), hinted });
        }
        Ok(())
    }

    /// A histogram, and whether it says what its hint is.
    fn histogram(&mut self) -> Result<(FloatHistogram, bool), String> {
        self.expect("{{")?;
        let mut histogram = FloatHistogram::default();
        let (mut positive, mut negative) = ((0, Vec::new()), (0, Vec::new()));
        let mut seen = Vec::new();
        loop {
            self.skip_blank();
            if self.accept("}}") {
                break;
            }
            let key = self.take_while(|char| char.is_ascii_alphabetic() || char == '_');
            if seen.contains(&key) {
                return Err(format!("duplicate key {key:?} in histogram"));
            }
            seen.push(key);
            self.expect(":")?;
            match key {
                "schema" => histogram.schema = self.integer()?,
                "offset" => positive.0 = self.integer()?,
                "n_offset" => negative.0 = self.integer()?,
                "sum" => histogram.sum = self.number(false)?,
                "count" => histogram.count = self.number(false)?,
                "z_bucket" => histogram.zero_count = self.number(false)?,
                "z_bucket_w" => histogram.zero_threshold = self.number(false)?,
                "custom_values" => histogram.custom_values = self.numbers()?.into(),
                "buckets" => positive.1 = self.numbers()?,
                "n_buckets" => negative.1 = self.numbers()?,
                "counter_reset_hint" => histogram.counter_reset_hint = self.hint()?,
                _ => return Err(format!("bad histogram descriptor found: {key:?}")),
            }
        }
        histogram.positive = Buckets::from_offset(positive.0, positive.1);
        histogram.negative = Buckets::from_offset(negative.0, negative.1);
        Ok((histogram, seen.contains(&"counter_reset_hint")))
    }

    fn integer(&mut self) -> Result<i32, String> {
        let text = self.take_while(|char| char.is_ascii_digit() || char == '-');
        text.parse().map_err(|_| self.unexpected("an integer"))
    }

    /// `[1 2 3]`
    fn numbers(&mut self) -> Result<Vec<f64>, String> {
        self.expect("[")?;
        let mut numbers = Vec::new();
        loop {
            self.skip_blank();
            if self.accept("]") {
                return Ok(numbers);
            }
            numbers.push(self.number(false)?);
        }
    }

    fn hint(&mut self) -> Result<CounterResetHint, String> {
        let hint = self.take_while(|char| char.is_ascii_alphabetic() || char == '_');
        match hint {
            "unknown" => Ok(CounterResetHint::Unknown),
            "reset" => Ok(CounterResetHint::Reset),
            "not_reset" => Ok(CounterResetHint::NotReset),
            "gauge" => Ok(CounterResetHint::Gauge),
            _ => Err(format!("unknown counter reset hint {hint:?}, expected unknown, reset, not_reset or gauge")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values as text, `s` being a stale marker.
    fn values(text: &str) -> String {
        let (_, values) = parse(&format!("x {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
        let texts = values.iter().map(|value| match value {
            SeriesValue::Omitted => "_".to_owned(),
            SeriesValue::Float(number) if number.to_bits() == STALE_NAN => "s".to_owned(),
            SeriesValue::Float(number) => number.to_string(),
            SeriesValue::Histogram { histogram, hinted } => {
                format!("{}:{:?}{}", histogram.sum, histogram.positive.count, if *hinted { "!" } else { "" })
            }
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_are_repeated_and_counted() {
        assert_eq!(values("1 -2.5 .5 1e3"), "1 -2.5 0.5 1000");
        assert_eq!(values("1x2 _ _x2 stale"), "1 1 1 _ _ _ s");
        assert_eq!(values("0+10x2 5-1x1 0x1"), "0 10 20 5 4 0 0");
        assert_eq!(values("Inf -Inf NaN -1e-3+2e-3x1"), "inf -inf NaN -0.001 0.001");
        assert_eq!(values(""), "");
    }

    #[test]
    fn histograms_are_repeated_and_added() {
        assert_eq!(values("{{}} {{sum:3 buckets:[1 2]}}x1"), "0:[] 3:[1.0, 2.0] 3:[1.0, 2.0]");
        assert_eq!(values("{{sum:1 buckets:[1]}}+{{sum:2 buckets:[3]}}x2"), "1:[1.0] 3:[4.0] 5:[7.0]");
        assert_eq!(values("{{ counter_reset_hint:gauge sum:-1 }}"), "-1:[]!");
    }

    #[test]
    fn labels_are_written_as_in_queries() {
        let labels = |text: &str| parse(text).unwrap().0.to_string();
        assert_eq!(
            labels(r#"up{job="a", "b.c" = 'd',} 1"#),
            r#"{"__name__"="up", "b.c"="d", "job"="a"}"#.replace("\"__name__\"", "__name__").replace("\"job\"", "job")
        );
        assert_eq!(labels(r#"{"a metric"} 1"#), r#"{__name__="a metric"}"#);
        assert_eq!(labels("{} {{}}"), "{}");
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for text in [
            "x 1 y",
            "x 1+2",
            "x 1y",
            "x{a} 1",
            "x{a=b} 1",
            "x {{sum}}",
            "x {{sum:1 sum:2}}",
            "x {{huh:1}}",
            "x {{sum:1",
            "x 1x99999999999",
            "x 1+stalex2",
            "x {{counter_reset_hint:maybe}}",
            "x {{schema:1}}+{{schema:0}}x1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
