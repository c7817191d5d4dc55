//! Durations as Prometheus writes them: `5m`, `1h30m`, `250ms`.

/// Milliseconds.
pub type Millis = i64;

const UNITS: [(&str, i64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 31_536_000_000),
];

/// Reads a duration; `0` needs no unit.
pub fn parse(text: &str) -> Option<Millis> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(count.checked_mul(*unit)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a duration.
pub fn text(duration: Millis) -> String {
    if duration == 0 {
        return "0s".to_owned();
    }
    let mut rest = duration;
    let mut text = String::new();
    for (name, unit) in UNITS.iter().rev().skip(2) {
        if rest / unit > 0 {
            text.push_str(&(rest / unit).to_string());
            text.push_str(name);
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (given, millis, written) in [
            ("0", 0, "0s"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("30d", 2_592_000_000, "30d"),
            ("90s", 90_000, "1m30s"),
        ] {
            assert_eq!(parse(given), Some(millis), "{given}");
            assert_eq!(text(millis), written);
        }
        for given in ["", "5", "m", "5 m", "-5m", "5x", "1.5h", "99999999999999999999s", "9999999999999y"] {
            assert_eq!(parse(given), None, "{given}");
        }
    }
}
