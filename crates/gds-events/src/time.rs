//! Points in time, as messages have them.
//!
//! They are written as ISO 8601 in UTC with `Z`. They are read in every form that programs write: with `Z`, with an offset
//! or with neither, which is UTC; with up to nine decimals; as seconds or as milliseconds since the epoch.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use time::{Date, Month};

/// From this number on it is milliseconds and not seconds: in seconds it is the year 5138, in milliseconds 1973.
const MILLISECONDS_FROM: f64 = 1e11;
/// The years 0 to 9999, which is what the text has digits for, in microseconds.
const EARLIEST: i64 = -62_167_219_200_000_000;
const LATEST: i64 = 253_402_300_799_999_999;
const DAY: i64 = 86_400;
const EPOCH: Date = time::UtcDateTime::UNIX_EPOCH.date();

/// A point in time, in microseconds since the epoch. As JSON it is text in ISO 8601.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch; what is outside of the years 0 to 9999 becomes their first or last moment.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(EARLIEST, LATEST))
    }

    /// From milliseconds since the epoch, with the same bounds.
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// From a number of seconds or, if it is too large for those, milliseconds since the epoch.
    pub fn from_number(number: f64) -> Option<Self> {
        let micros = if number.abs() < MILLISECONDS_FROM { number * 1e6 } else { number * 1e3 };
        let rounded = micros.round();
        // The bounds are far inside of what both types hold; a number that is none compares as false.
        #[allow(clippy::cast_possible_truncation)]
        (rounded >= EARLIEST as f64 && rounded <= LATEST as f64).then(|| Self::from_micros(rounded as i64))
    }

    /// From text: ISO 8601, or a number as [`Self::from_number`] takes it.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        match text.as_bytes().get(4) {
            Some(b'-') => iso(text.as_bytes()),
            _ => text.parse().ok().and_then(Self::from_number),
        }
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Appends it as `2026-03-01T12:00:00.250Z`: with three decimals, or with six where three do not say it.
    pub fn write(self, out: &mut Vec<u8>) {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let date = date(days);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (at, digits, number) in [
            (0, 4, i64::from(date.year())),
            (5, 2, i64::from(u8::from(date.month()))),
            (8, 2, i64::from(date.day())),
            (11, 2, second / 3600),
            (14, 2, second / 60 % 60),
            (17, 2, second % 60),
            (20, 6, micros),
        ] {
            put(&mut text[at..at + digits], number);
        }
        if micros % 1000 == 0 {
            text[23] = b'Z';
            out.extend_from_slice(&text[..24]);
        } else {
            out.extend_from_slice(&text);
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write(&mut text);
        formatter.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ISO 8601, or seconds or milliseconds since the epoch")
    }

    // What was there is not repeated: error texts go to logs.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::from_text(text).ok_or_else(|| E::custom("no point in time"))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Timestamp, E> {
        Timestamp::from_number(number).ok_or_else(|| E::custom("no point in time"))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Timestamp, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Timestamp, E> {
        self.visit_f64(number as f64)
    }
}

fn put(text: &mut [u8], mut number: i64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// The day that is so many days after the epoch.
fn date(days: i64) -> Date {
    let day = i32::try_from(days).ok().and_then(|days| EPOCH.to_julian_day().checked_add(days));
    day.and_then(|day| Date::from_julian_day(day).ok()).unwrap_or(EPOCH)
}

/// The number of days since the epoch, of a date that exists.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    Some(i64::from(date.to_julian_day() - EPOCH.to_julian_day()))
}

/// The number in exactly these digits, and what is behind them.
fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let number = digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))?;
    Some((number, rest))
}

fn after(text: &[u8], expected: u8) -> Option<&[u8]> {
    text.strip_prefix(&[expected])
}

fn iso(text: &[u8]) -> Option<Timestamp> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(after(rest, b'-')?, 2)?;
    let (day, rest) = digits(after(rest, b'-')?, 2)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b"t")).or_else(|| rest.strip_prefix(b" "))?;
    let (hour, rest) = digits(rest, 2)?;
    let (minute, rest) = digits(after(rest, b':')?, 2)?;
    let (second, rest) = digits(after(rest, b':')?, 2)?;
    // A leap second is the first one of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, rest) = decimals(rest)?;
    let seconds = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second - offset(rest)?;
    let micros = seconds * 1_000_000 + micros;
    (EARLIEST..=LATEST).contains(&micros).then_some(Timestamp(micros))
}

/// Up to nine decimals as microseconds; the seventh and later ones are cut off.
fn decimals(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = after(text, b'.').or_else(|| after(text, b',')) else { return Some((0, text)) };
    let count = text.iter().take_while(|digit| digit.is_ascii_digit()).count();
    if count > 9 {
        return None;
    }
    let digits = text[..count].iter().map(|digit| i64::from(digit - b'0'));
    let micros = digits.chain(std::iter::repeat(0)).take(6).fold(0, |micros, digit| micros * 10 + digit);
    Some((micros, &text[count..]))
}

/// Seconds east of Greenwich.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, text) = match text.split_first() {
        None | Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, rest) = digits(text, 2)?;
    let rest = after(rest, b':').unwrap_or(rest);
    let minutes = if rest.is_empty() { 0 } else { digits(rest, 2).filter(|(_, rest)| rest.is_empty())?.0 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        Timestamp::from_text(text).map(Timestamp::micros)
    }

    #[test]
    fn every_usual_form_is_read() {
        let noon = 1_772_366_400_000_000;
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00.000z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01T06:30:00.000000-0530",
            "2026-03-01T14:00:00+02",
            "1772366400",
            "1772366400.0",
            "1772366400000",
        ] {
            assert_eq!(micros(text), Some(noon), "{text}");
        }
        assert_eq!(micros("2026-03-01T12:00:00.1Z"), Some(noon + 100_000));
        assert_eq!(micros("2026-03-01T12:00:00.123456+00:00"), Some(noon + 123_456));
        assert_eq!(micros("2026-03-01T12:00:00.123456789Z"), Some(noon + 123_456));
        assert_eq!(micros("2026-03-01T11:59:60Z"), Some(noon));
    }

    #[test]
    fn what_is_no_point_in_time_is_none() {
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-03-00T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01",
            "2026-03-01T12:00Z",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00+1",
            "1e30",
            "nan",
            "2026-03-01T12:00:00.1234567890Z",
            "0000-01-01T00:00:00+01:00",
            "２０２６-03-01T12:00:00Z",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in EARLIEST..=LATEST) {
            let text = Timestamp::from_micros(micros).to_string();
            prop_assert!(text.ends_with('Z') && (text.len() == 24 || text.len() == 27), "{}", text);
            prop_assert_eq!(Timestamp::from_text(&text), Some(Timestamp::from_micros(micros)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.0-9Z+:-]{0,16}") {
            let _ = Timestamp::from_text(&text);
        }
    }
}
