//! Durations: `1h30m`, and what queries compute of them.

use std::fmt;

use crate::ast::{BinaryOp, DurationExpr, DurationKind, Span};

/// The units, longest first, with their milliseconds. Years and weeks are written only where nothing is left over.
const UNITS: [(&str, i64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// Seconds that are the greatest duration there is, about 292 years.
const GREATEST_SECONDS: f64 = 9_223_372_036.854_775;

/// Milliseconds of a text such as `1h30m` or `0`. Each unit stands once at most, longer ones first.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let refuse = || DurationError::new(format!("not a valid duration string: {text:?}"));
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::new("empty duration string".to_owned())),
        _ => {}
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, milliseconds, _) = units.find(|(name, ..)| *name == unit).ok_or_else(refuse)?;
        if number.is_empty() {
            return Err(refuse());
        }
        total = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(*milliseconds)?.checked_add(total))
            .filter(|total| *total <= i64::MAX / 1_000_000)
            .ok_or_else(|| DurationError::new("duration out of range".to_owned()))?;
        rest = after;
    }
    Ok(total)
}

/// Appends milliseconds as a text that [`parse`] reads, after a sign where they are negative.
pub fn write(out: &mut impl fmt::Write, milliseconds: i64) -> fmt::Result {
    if milliseconds == 0 {
        return out.write_str("0s");
    }
    if milliseconds < 0 {
        out.write_char('-')?;
    }
    let mut rest = milliseconds.unsigned_abs();
    for (unit, milliseconds, exact) in UNITS {
        let length = milliseconds.unsigned_abs();
        if rest >= length && (!exact || rest.is_multiple_of(length)) {
            write!(out, "{}{unit}", rest / length)?;
            rest %= length;
        }
    }
    Ok(())
}

/// Milliseconds as a text.
pub fn text(milliseconds: i64) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = write(&mut text, milliseconds);
    text
}

/// What `step()` and `range()` are in a query.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurationContext {
    /// The distance of the steps in milliseconds, zero of an instant query.
    pub step: i64,
    /// The end less the start in milliseconds, zero of an instant query.
    pub range: i64,
}

/// Milliseconds of a range or a step, which are positive.
pub fn positive(expr: &DurationExpr, context: DurationContext) -> Result<i64, DurationError> {
    let seconds = seconds(expr, context)?;
    if seconds <= 0.0 {
        return Err(DurationError::at(expr.span, "duration must be greater than 0"));
    }
    milliseconds(expr, seconds)
}

/// Milliseconds of an offset, which may be negative.
pub fn signed(expr: &DurationExpr, context: DurationContext) -> Result<i64, DurationError> {
    let seconds = seconds(expr, context)?;
    milliseconds(expr, seconds)
}

/// What is left of a millisecond is cut off.
fn milliseconds(expr: &DurationExpr, seconds: f64) -> Result<i64, DurationError> {
    if !seconds.is_finite() {
        return Err(DurationError::at(expr.span, "duration is NaN or infinite"));
    }
    if is_out_of_range(seconds) {
        return Err(DurationError::at(expr.span, "duration is out of range"));
    }
    // A number is rounded to nanoseconds first, so that 0.3 seconds are 300 milliseconds.
    let milliseconds = match expr.kind {
        DurationKind::Number(_) => (seconds * 1e9).round() / 1e6,
        _ => seconds * 1e3,
    };
    #[expect(clippy::cast_possible_truncation, reason = "within 292 years")]
    Ok(milliseconds as i64)
}

/// Whether seconds are more than a duration can be.
pub(crate) fn is_out_of_range(seconds: f64) -> bool {
    seconds.abs() > GREATEST_SECONDS
}

fn seconds(expr: &DurationExpr, context: DurationContext) -> Result<f64, DurationError> {
    Ok(match &expr.kind {
        DurationKind::Number(number) => number.value,
        DurationKind::Step => context.step as f64 / 1e3,
        DurationKind::Range => context.range as f64 / 1e3,
        DurationKind::MinOf(left, right) => {
            let (left, right) = (seconds(left, context)?, seconds(right, context)?);
            if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) }
        }
        DurationKind::MaxOf(left, right) => {
            let (left, right) = (seconds(left, context)?, seconds(right, context)?);
            if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) }
        }
        DurationKind::Negated(inner) => -seconds(inner, context)?,
        DurationKind::Paren(inner) => seconds(inner, context)?,
        DurationKind::Binary(op, left, right) => {
            let (left, right) = (seconds(left, context)?, seconds(right, context)?);
            match op {
                BinaryOp::Add => left + right,
                BinaryOp::Sub => left - right,
                BinaryOp::Mul => left * right,
                BinaryOp::Div if right == 0.0 => return Err(DurationError::at(expr.span, "division by zero")),
                BinaryOp::Div => left / right,
                BinaryOp::Mod if right == 0.0 => return Err(DurationError::at(expr.span, "modulo by zero")),
                BinaryOp::Mod => left % right,
                _ => left.powf(right),
            }
        }
    })
}

/// A duration that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    /// Where in the query, of a duration that is computed.
    pub span: Option<Span>,
    message: String,
}

impl DurationError {
    fn new(message: String) -> Self {
        Self { span: None, message }
    }

    fn at(span: Span, message: &str) -> Self {
        Self { span: Some(span), message: message.to_owned() }
    }
}

impl fmt::Display for DurationError {
    /// After the first byte and the one past the last.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = self.span {
            write!(out, "{}:{}: ", span.start, span.end)?;
        }
        out.write_str(&self.message)
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_stand_once_and_longer_ones_first() {
        assert_eq!(parse("1h30m"), Ok(5_400_000));
        assert_eq!(parse("1y1w1d1h1m1s1ms"), Ok(32_230_861_001));
        for text in ["", "5", "m", "1m1h", "1m1m", "1.5h", "-1m", "1h 1m", "1hs", "400y", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn years_and_weeks_are_written_only_whole() {
        assert_eq!(text(14 * 86_400_000), "2w");
        assert_eq!(text(15 * 86_400_000), "15d");
        assert_eq!(text(5_400_001), "1h30m1ms");
        assert_eq!(text(-300_000), "-5m");
        assert_eq!(text(0), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(milliseconds in 0..i64::MAX / 1_000_000) {
            prop_assert_eq!(parse(&text(milliseconds)), Ok(milliseconds));
        }
    }
}
