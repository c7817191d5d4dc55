//! How names and labels given by a caller become names and labels of a page.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

use crate::key::MetricKind;

/// Whether a registry shows names as Prometheus can take them, or as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`, the data model every Prometheus understands.
    Prometheus,
    /// Dots, dashes and UTF-8 stay: OTLP.
    AsGiven,
}

/// The family name for `name` under `prefix`, without the suffix of its kind.
pub fn family_name(naming: Naming, prefix: &str, name: &str, kind: MetricKind) -> String {
    let mut full = String::with_capacity(prefix.len() + name.len() + 1);
    match naming {
        Naming::AsGiven => {
            full.push_str(prefix);
            if !prefix.is_empty() {
                full.push('.');
            }
            full.push_str(name);
        }
        Naming::Prometheus => {
            // Beyond ASCII there is nothing to sanitise that would leave two names apart: such a name stays as it is.
            let push = if prefix.is_ascii() && name.is_ascii() { push_sanitised } else { push_as_given };
            push(&mut full, prefix, true);
            if !full.is_empty() {
                full.push('_');
            }
            push(&mut full, name, true);
            if kind == MetricKind::Counter {
                // The page adds `_total` to every counter, so one that already has it must not get it twice.
                if let Some(base) = full.strip_suffix("_total").filter(|base| !base.is_empty()) {
                    full.truncate(base.len());
                }
            }
        }
    }
    full
}

fn push_as_given(out: &mut String, text: &str, _colons: bool) {
    out.push_str(text);
}

/// The name of a family for whoever reads ASCII names only, without the suffix of its kind: of names beyond ASCII as the
/// scheme "values" of Prometheus has it (`U__` and the hexadecimal numbers of characters), which keeps them apart and can
/// be undone. Where a suffix follows, its underscore is a double one there.
pub fn ascii_name(name: &str, kind: MetricKind) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::from("U__");
    push_escaped(&mut escaped, name, true);
    if kind != MetricKind::Gauge {
        escaped.push('_');
    }
    Cow::Owned(escaped)
}

fn push_escaped(out: &mut String, text: &str, colons: bool) {
    for (place, c) in text.char_indices() {
        match c {
            '_' => out.push_str("__"),
            c if c.is_ascii_alphabetic() || (c.is_ascii_digit() && place > 0) || (colons && c == ':') => out.push(c),
            c => _ = write!(out, "_{:x}_", u32::from(c)),
        }
    }
}

fn push_sanitised(out: &mut String, text: &str, colons: bool) {
    for c in text.chars() {
        if out.is_empty() && c.is_ascii_digit() {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':') { c } else { '_' });
    }
}

/// A label name the page can carry; reserved ones get `exported_`, as Prometheus itself does on a clash.
pub fn label_name(name: &str, also_reserved: Option<&str>) -> String {
    let mut clean = String::with_capacity(name.len());
    if name.is_ascii() {
        push_sanitised(&mut clean, name, false);
    } else {
        clean.push_str("U__");
        push_escaped(&mut clean, name, false);
    }
    if clean.is_empty() {
        clean.push('_');
    }
    let reserved = clean == "le" || clean == "quantile" || clean.starts_with("__") || also_reserved == Some(&clean);
    if reserved { format!("exported_{clean}") } else { clean }
}

/// Labels in the one form in which two spellings of a series are the same: sanitised, sorted, joined.
///
/// Names that become the same name are joined with `;` in the order of the names as given, which is the rule
/// OpenTelemetry gives for the same case (specification, "Prometheus and OpenMetrics Compatibility").
pub fn canonical_labels<'a>(
    naming: Naming,
    labels: &[(&'a str, &'a str)],
    also_reserved: Option<&str>,
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut given: Vec<_> = labels.to_vec();
    given.sort_unstable();
    let mut clean: Vec<(Cow<'a, str>, Cow<'a, str>)> = given
        .into_iter()
        .map(|(name, value)| match naming {
            Naming::AsGiven => (Cow::Borrowed(name), Cow::Borrowed(value)),
            Naming::Prometheus => (Cow::Owned(label_name(name, also_reserved)), Cow::Borrowed(value)),
        })
        .collect();
    clean.sort_by(|a, b| a.0.cmp(&b.0)); // stable: equal names stay in the order of the names as given
    clean.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            let joined = first.1.to_mut();
            joined.push(';');
            joined.push_str(&later.1);
        }
        same
    });
    clean
}

/// Whether the labels were given as [`label_text`] shows them: same names, same order, nothing to escape, none empty.
pub fn is_plain(given: &[(&str, &str)], shown: &[(Cow<'_, str>, Cow<'_, str>)]) -> bool {
    let clean = |value: &str| !value.is_empty() && !value.contains(['\\', '"', '\n']);
    given.len() == shown.len()
        && given.iter().zip(shown).all(|((name, value), (shown_name, shown_value))| {
            name == shown_name && value == shown_value && clean(value) && !name.contains('"')
        })
}

/// `a="b",c="d"`, escaped as both text formats want it.
pub fn label_text(labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        push_label(&mut text, name, value);
    }
    text
}

/// As [`label_text`], without labels that are empty.
pub fn shown_text(labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
    let shown: Vec<_> = labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
    label_text(&shown)
}

/// Appends `name="value"` with the value escaped.
pub fn push_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// The names already on a page, so that no two families show samples under one name.
#[derive(Debug, Default)]
pub struct TakenNames(HashSet<String>);

impl TakenNames {
    /// Takes `name` for a family of `kind`, or the first of `name_kind`, `name_kind_2`, ... that is free.
    pub fn take(&mut self, naming: Naming, name: &str, kind: MetricKind) -> String {
        let mut candidate = name.to_owned();
        let mut attempt = 1;
        loop {
            let names = exposed_names(naming, &candidate, kind);
            if names.iter().all(|exposed| !self.0.contains(exposed)) {
                self.0.extend(names);
                return candidate;
            }
            candidate = if attempt == 1 {
                format!("{name}_{}", kind.as_str())
            } else {
                format!("{name}_{}_{attempt}", kind.as_str())
            };
            attempt += 1;
        }
    }

    /// Takes a name that something other than the registry shows.
    pub fn reserve(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }
}

/// Every name a family of this kind shows or, in OpenMetrics, keeps others from showing.
fn exposed_names(naming: Naming, name: &str, kind: MetricKind) -> Vec<String> {
    let suffixes: &[&str] = match (naming, kind) {
        (Naming::AsGiven, _) | (_, MetricKind::Gauge) => &[""],
        (_, MetricKind::Counter) => &["", "_total", "_created"],
        (_, MetricKind::Histogram | MetricKind::Timing) => &["", "_bucket", "_count", "_sum", "_created"],
    };
    let mut exposed: Vec<_> = suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
    if naming == Naming::Prometheus && !name.is_ascii() {
        let ascii = ascii_name(name, kind);
        exposed.extend(suffixes.iter().map(|suffix| format!("{ascii}{suffix}")));
    }
    exposed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &str, name: &str, kind: MetricKind) -> String {
        family_name(Naming::Prometheus, prefix, name, kind)
    }

    #[test]
    fn names_become_what_prometheus_takes() {
        assert_eq!(name("gds", "vault.secret.fetch", MetricKind::Gauge), "gds_vault_secret_fetch");
        assert_eq!(name("", "9 lives-", MetricKind::Gauge), "_9_lives_");
        assert_eq!(name("my-app", "a:b", MetricKind::Gauge), "my_app_a:b");
    }

    #[test]
    fn names_beyond_ascii_are_kept_apart() {
        assert_eq!(name("gds", "订单.a_total", MetricKind::Counter), "gds_订单.a");
        assert_eq!(ascii_name("gds_订单", MetricKind::Gauge), "U__gds___8ba2__5355_");
        assert_eq!(ascii_name("9_é:a", MetricKind::Counter), "U___39____e9_:a_");
        assert_eq!(ascii_name("gds_a", MetricKind::Counter), "gds_a");
        assert_ne!(label_name("城市", None), label_name("国家", None));
    }

    #[test]
    fn a_counter_loses_the_total_that_the_page_adds() {
        assert_eq!(name("gds", "requests_total", MetricKind::Counter), "gds_requests");
        assert_eq!(name("gds", "requests.total", MetricKind::Counter), "gds_requests");
        assert_eq!(name("gds", "requests_total", MetricKind::Gauge), "gds_requests_total");
        assert_eq!(name("", "_total", MetricKind::Counter), "_total");
    }

    #[test]
    fn reserved_label_names_are_exported() {
        for (given, shown) in [
            ("a-b", "a_b"),
            ("le", "exported_le"),
            ("quantile", "exported_quantile"),
            ("__x", "exported___x"),
            ("1st", "_1st"),
            ("", "_"),
            ("a:b", "a_b"),
        ] {
            assert_eq!(label_name(given, None), shown);
        }
        assert_eq!(label_name("pid", Some("pid")), "exported_pid");
    }

    #[test]
    fn labels_that_become_one_are_joined() {
        let labels = canonical_labels(Naming::Prometheus, &[("a.b", "2"), ("c", "3"), ("a-b", "1")], None);
        assert_eq!(label_text(&labels), r#"a_b="1;2",c="3""#);
    }

    #[test]
    fn values_are_escaped() {
        let mut text = String::new();
        push_label(&mut text, "a", "x\\\"\n");
        assert_eq!(text, r#"a="x\\\"\n""#);
    }

    #[test]
    fn the_later_type_gets_a_suffix_that_is_free() {
        let mut taken = TakenNames::default();
        assert_eq!(taken.take(Naming::Prometheus, "x", MetricKind::Counter), "x");
        assert_eq!(taken.take(Naming::Prometheus, "x", MetricKind::Gauge), "x_gauge");
        assert_eq!(taken.take(Naming::Prometheus, "x_total", MetricKind::Gauge), "x_total_gauge");
        assert_eq!(taken.take(Naming::Prometheus, "x_gauge", MetricKind::Gauge), "x_gauge_gauge");
        assert_eq!(taken.take(Naming::Prometheus, "x", MetricKind::Gauge), "x_gauge_2");
    }
}
