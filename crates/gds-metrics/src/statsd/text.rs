//! Names, tags and numbers as the protocol takes them.
//!
//! `name:value|type|@rate|#tag:value,tag:value`, where nothing can be escaped: a character with a meaning becomes `_`.

use std::borrow::Cow;
use std::fmt::Write;

/// Tags of the series that takes what is beyond `max_series`.
pub(super) const OVERFLOW: (&str, &str) = ("overflow", "true");

/// White space and control characters end lines or fields in one server or another.
fn breaks_anything(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, '|' | ',' | '#')
}

/// With those that Graphite (`name;tag=value`) and SignalFx (`name[tag=value]`) write tags into names with: servers that
/// read several dialects would read tags that nobody gave.
fn breaks_a_name(c: char) -> bool {
    breaks_anything(c) || matches!(c, ':' | '@' | ';' | '[' | ']')
}

fn replaced(text: &str, breaks: fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(breaks) { Cow::Owned(text.replace(breaks, "_")) } else { Cow::Borrowed(text) }
}

/// The prefix with its dot; the dots a user wrote around it count as that dot.
pub(super) fn prefix(given: &str) -> String {
    let given = given.trim_matches('.');
    if given.is_empty() { String::new() } else { format!("{}.", replaced(given, breaks_a_name)) }
}

/// The start of a line up to and with the colon, or `None` for an empty name, which servers throw away.
pub(super) fn name(prefix: &str, given: &str) -> Option<String> {
    if given.is_empty() {
        return None;
    }
    Some(format!("{prefix}{}:", replaced(given, breaks_a_name)))
}

/// Sanitised tags. A value keeps its colons, since servers split a tag at the first.
pub(super) fn pairs<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let name = |name: &str| if name.is_empty() { "_".to_owned() } else { replaced(name, breaks_a_name).into_owned() };
    given.map(|(key, value)| (name(key), replaced(value, breaks_anything).into_owned())).collect()
}

/// The end of a line from `|#` on, empty without tags. Sorted, so that it is the same for every order of the labels;
/// a label takes the place of the constant tag with its name.
pub(super) fn tags(constant: &[(String, String)], labels: &[(&str, &str)]) -> String {
    let mut tags = pairs(labels.iter().copied());
    let given = tags.len();
    for tag in constant {
        if !tags[..given].iter().any(|(name, _)| *name == tag.0) {
            tags.push(tag.clone());
        }
    }
    tags.sort_unstable();
    tags.dedup();
    let mut text = String::new();
    for (name, value) in &tags {
        text.push_str(if text.is_empty() { "|#" } else { "," });
        text.push_str(name);
        // `name:` is an error to several parsers; a tag without a value is none.
        if !value.is_empty() {
            text.push(':');
            text.push_str(value);
        }
    }
    text
}

/// Appends the shortest digits that read back as `value`, whole numbers without a fraction. Never with an exponent:
/// servers written around `strtol`-like scanners stop at the `e` and take what stands before it.
pub(super) fn number(out: &mut String, value: f64) {
    // Adding zero makes a negative zero positive, which no server would take for a delta.
    let _ = write!(out, "{}", value + 0.0);
}

/// Appends the sample rate under which one line stands for `weight` values; nothing for one.
///
/// Servers compute `1 / rate`, and several (`statsd_exporter` for one) cut the fraction off. So the rate is the
/// largest number whose inverse is not below `weight`.
pub(super) fn rate(out: &mut String, weight: u64) {
    if weight > 1 {
        let weight = weight as f64;
        let mut rate = 1.0 / weight;
        while 1.0 / rate < weight {
            rate = rate.next_down();
        }
        let _ = write!(out, "|@{rate}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(value: f64) -> String {
        let mut out = String::new();
        number(&mut out, value);
        out
    }

    #[test]
    fn names_keep_dots_and_lose_what_has_a_meaning() {
        assert_eq!(name("", "vault.secret.fetch").unwrap(), "vault.secret.fetch:");
        assert_eq!(name("app.", "a:b|c@d#e,f\ng\0h i").unwrap(), "app.a_b_c_d_e_f_g_h_i:");
        assert_eq!(name("", "cpu[0];a").unwrap(), "cpu_0__a:");
        assert_eq!(name("", "größe").unwrap(), "größe:");
        assert_eq!(name("app.", ""), None);
    }

    #[test]
    fn a_prefix_is_joined_by_one_dot() {
        for given in ["app", "app.", ".app."] {
            assert_eq!(prefix(given), "app.");
        }
        assert_eq!((prefix(""), prefix("."), prefix("a:b")), (String::new(), String::new(), "a_b.".into()));
    }

    #[test]
    fn tags_are_sorted_sanitised_and_override_constant_ones() {
        let constant = [("env".to_owned(), "prod".to_owned()), ("zone".to_owned(), "a".to_owned())];
        assert_eq!(tags(&constant, &[("url", "http://x"), ("env", "test")]), "|#env:test,url:http://x,zone:a");
        assert_eq!(tags(&[], &[("a:b", "x|y,z#w\nv"), ("", "v"), ("e", "")]), "|#_:v,a_b:x_y_z_w_v,e");
        assert_eq!(tags(&[], &[("a", "1"), ("a", "1"), ("a", "2")]), "|#a:1,a:2");
        assert_eq!(tags(&[], &[]), "");
    }

    #[test]
    fn numbers_are_short_and_without_exponent() {
        assert_eq!(numbered(5.0), "5");
        assert_eq!(numbered(-0.0), "0");
        assert_eq!(numbered(0.1), "0.1");
        assert_eq!(numbered(1e21), "1000000000000000000000");
        assert_eq!(numbered(1e-7), "0.0000001");
        for value in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0, -2.5] {
            let text = numbered(value);
            assert!(!text.contains(['e', 'E']));
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_rate_truncates_back_to_its_weight() {
        for weight in (2..10_000).chain([49 * 1_000_003, 1 << 40]) {
            let mut text = String::new();
            rate(&mut text, weight);
            let rate: f64 = text.strip_prefix("|@").unwrap().parse().unwrap();
            assert!((0.0..1.0).contains(&rate));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let back = (1.0 / rate) as u64;
            assert_eq!(back, weight);
        }
    }
}
