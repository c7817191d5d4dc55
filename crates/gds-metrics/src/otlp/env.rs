//! The environment as the OpenTelemetry specification reads it: empty means unset, and what cannot be read is
//! warned of and taken as unset (`configuration/sdk-environment-variables.md`, "Type-specific guidance").

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// A variable of one signal and the one of all signals that it wins over.
pub(super) type Names = [&'static str; 2];

pub(super) const ENDPOINT: Names = ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
pub(super) const HEADERS: Names = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
pub(super) const PROTOCOL: Names = ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
pub(super) const TIMEOUT: Names = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
pub(super) const COMPRESSION: Names = ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
pub(super) const CERTIFICATE: Names = ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
pub(super) const CLIENT_CERTIFICATE: Names =
    ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
pub(super) const CLIENT_KEY: Names = ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
pub(super) const INSECURE: Names = ["OTEL_EXPORTER_OTLP_METRICS_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
pub(super) const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
pub(super) const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
pub(super) const EXPORT_TIMEOUT: &str = "OTEL_METRIC_EXPORT_TIMEOUT";
pub(super) const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
pub(super) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
pub(super) const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
pub(super) const METRICS_EXPORTER: &str = "OTEL_METRICS_EXPORTER";

/// The longest time kept; an `Instant` can be moved by it without overflow. It stands for "no limit", as
/// `configuration/common.md`, "Timeout", suggests.
pub(super) const FOREVER: Duration = Duration::from_millis(u32::MAX as u64);

/// Variables and the warnings that reading them gave.
pub(super) struct Env<F> {
    get: F,
    pub(super) warnings: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    pub(super) const fn new(get: F) -> Self {
        Self { get, warnings: Vec::new() }
    }

    /// The variable's value, without surrounding blanks; empty is unset.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The first of `names` that is set.
    pub(super) fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.text(name)?)))
    }

    /// The first of `names` that `parse` can read; each one that it cannot is warned of and skipped.
    pub(super) fn parsed<T>(
        &mut self,
        names: &[&'static str],
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        for name in names {
            let Some(text) = self.text(name) else { continue };
            if let Some(value) = parse(&text) {
                return Some(value);
            }
            self.warn(name, &text, expected);
        }
        None
    }

    /// Milliseconds; zero is what `zero` says, or unreadable.
    pub(super) fn millis(&mut self, names: &[&'static str], zero: Option<Duration>) -> Option<Duration> {
        let least = if zero.is_some() { "0 (no limit)" } else { "1" };
        let expected = format!("a whole number of milliseconds from {least} upwards");
        self.parsed(names, &expected, |text| match text.parse::<u64>().ok()? {
            0 => zero,
            millis => Some(Duration::from_millis(millis).min(FOREVER)),
        })
    }

    /// True for `true` in any case and for nothing else; anything but `false` is warned of.
    pub(super) fn flag(&mut self, names: &[&'static str]) -> bool {
        let Some((name, text)) = self.first(names) else { return false };
        let is_true = text.eq_ignore_ascii_case("true");
        if !is_true && !text.eq_ignore_ascii_case("false") {
            self.warn(name, &text, "true or false");
        }
        is_true
    }

    /// Warns that `name` holds `shown`, which is not `expected`; `shown` must hold no secret.
    pub(super) fn warn(&mut self, name: &str, shown: &str, expected: &str) {
        self.warnings.push(format!("{name}={shown} is ignored: expected {expected}"));
    }
}

/// The pairs of a W3C baggage list, `key=value,key=value`, percent-decoded; for each entry that is none, its number,
/// counted from one. The entry itself is not given back, since it may be a secret.
pub(super) fn pairs(list: &str) -> impl Iterator<Item = Result<(String, String), usize>> {
    let entries = list.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty());
    entries.map(|(index, entry)| {
        let decode =
            |text: &str| percent_decode_str(text.trim()).decode_utf8().map(String::from).map_err(|_| index + 1);
        let (key, value) = entry.split_once('=').ok_or(index + 1)?;
        let key = decode(key)?;
        if key.is_empty() { Err(index + 1) } else { Ok((key, decode(value)?)) }
    })
}
