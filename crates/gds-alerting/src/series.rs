//! Series as promtool writes them: `cpu{instance_id="a"}` with values `1+2x3 _ 5`.

use crate::decimal::Number;
use crate::sample::{Sample, Tags};

const MAX_VALUES: usize = 1_000_000;

/// Reads name and labels; `instance_id` and `database_type` are those of the sample.
pub(crate) fn name(text: &str) -> Result<Sample, String> {
    let form = || format!("{text:?} is no series; expected a form such as cpu_usage{{instance_id=\"db-1\"}}");
    let (metric, labels) = match text.trim().split_once('{') {
        Some((metric, labels)) => (metric.trim(), labels.trim_end().strip_suffix('}').ok_or_else(form)?),
        None => (text.trim(), ""),
    };
    let mut tags = Tags::new();
    let mut rest = labels.trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').ok_or_else(form)?;
        let value = value.trim_start().strip_prefix('"').ok_or_else(form)?;
        let (value, after) = value.split_once('"').ok_or_else(form)?;
        tags.insert(name.trim().to_owned(), value.to_owned());
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let take = |tags: &mut Tags, name: &str| tags.remove(name).unwrap_or_default();
    let instance_id = take(&mut tags, "instance_id");
    let database_type = take(&mut tags, "database_type");
    Ok(Sample { metric: metric.to_owned(), instance_id, database_type, tags, ..Sample::default() })
}

/// Reads values, one for each interval: `90`, `90x3` (four times), `1+2x3` (1, 3, 5, 7), `_` (none), `_x3`.
pub(crate) fn values(text: &str) -> Result<Vec<Option<Number>>, String> {
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let wrong = || format!("{word:?} is no value; expected a form such as 90, 90x3, 1+2x3, _ or _x3");
        let (value, times) = match word.rsplit_once('x') {
            Some((value, times)) => (value, Some(times.parse::<usize>().map_err(|_| wrong())?)),
            None => (word, None),
        };
        if found.len() + times.unwrap_or(0) > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        if value == "_" {
            found.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        // A sign after the first character begins the step.
        let sign = value
            .char_indices()
            .skip(1)
            .find(|(at, sign)| matches!(sign, '+' | '-') && !value[..*at].ends_with(['e', 'E']));
        let (start, step) = match sign {
            Some((at, _)) => (&value[..at], Number::parse(&value[at..]).ok_or_else(wrong)?),
            None => (value, Number::Float(0.0)),
        };
        let mut number = Number::parse(start).ok_or_else(wrong)?;
        found.push(Some(number));
        for _ in 0..times.unwrap_or(0) {
            if sign.is_some() {
                number = number.plus(step);
            }
            found.push(Some(number));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &str) -> String {
        let values = self::values(values).expect("values");
        values.iter().map(|value| value.map_or("_".to_owned(), |v| v.to_string())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn series_are_those_of_promtool() {
        assert_eq!(text("1+2x3 _ 5"), "1 3 5 7 _ 5");
        assert_eq!(text("90x2 _x2 10-5x2"), "90 90 90 _ _ 10 5 0");
        assert_eq!(text("-1 0.1+0.1x2"), "-1 0.1 0.2 0.3");
        for wrong in ["x", "1x", "1+x2", "a", "1++2x3"] {
            assert!(values(wrong).is_err(), "{wrong}");
        }
        let sample = name(r#"cpu{instance_id="a", environment="production"}"#).expect("a series");
        assert_eq!(
            (sample.metric.as_str(), sample.instance_id.as_str(), sample.tag("environment")),
            ("cpu", "a", "production")
        );
        for wrong in ["cpu{", "cpu{a}", "cpu{a=b}", "cpu{a=\"b}"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
