//! The two text formats of a metrics page, and how a scraper asks for one.
//!
//! Negotiation follows RFC 9110 section 12.5.1: the most specific range that names a format decides its quality,
//! the format with the higher quality wins. Whatever cannot be understood is answered in the older text format,
//! which every scraper reads; this never fails.

use std::cmp::Reverse;

/// A format that a page can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Text,
    /// `OpenMetrics` text, version 1.0.0.
    OpenMetrics,
    /// Prometheus text, version 1.0.0: as 0.0.4, with names beyond ASCII as they are.
    TextUtf8,
    /// As [`Format::OpenMetrics`], with names beyond ASCII as they are.
    OpenMetricsUtf8,
}

impl Format {
    /// The value of the `Content-Type` header of a page in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::TextUtf8 => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::OpenMetricsUtf8 => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        }
    }

    /// Whether it is one of OpenMetrics.
    pub const fn is_open_metrics(self) -> bool {
        matches!(self, Self::OpenMetrics | Self::OpenMetricsUtf8)
    }

    /// Whether names beyond ASCII stand there as they are; elsewhere they are escaped.
    pub const fn has_utf8_names(self) -> bool {
        matches!(self, Self::TextUtf8 | Self::OpenMetricsUtf8)
    }

    /// The format that suits an `Accept` header best; [`Format::Text`] without one, or when nothing in it is ours.
    ///
    /// Between formats of one quality, the one named more exactly wins, then the one named first.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        let text = Preference::of(accept, Self::Text);
        let open_metrics = Preference::of(accept, Self::OpenMetrics);
        match (open_metrics, text) {
            (Some(open_metrics), text) if open_metrics.quality > 0 && Some(open_metrics) > text => {
                if open_metrics.utf8_names { Self::OpenMetricsUtf8 } else { Self::OpenMetrics }
            }
            (_, Some(text)) if text.utf8_names => Self::TextUtf8,
            _ => Self::Text,
        }
    }

    const fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Text | Self::TextUtf8 => ("text", "plain"),
            Self::OpenMetrics | Self::OpenMetricsUtf8 => ("application", "openmetrics-text"),
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Text => "0.0.4",
            Self::OpenMetrics | Self::OpenMetricsUtf8 | Self::TextUtf8 => "1.0.0",
        }
    }

    /// How exactly a media range names this format: 1 for `*/*`, 4 for type and version; None when it does not.
    fn specificity(self, range: &str, mut parameters: std::str::Split<'_, char>) -> Option<u8> {
        let (kind, subtype) = range.trim().split_once('/')?;
        let (our_kind, our_subtype) = self.media_type();
        match (kind, subtype) {
            ("*", "*") => return Some(1),
            (kind, "*") if kind.eq_ignore_ascii_case(our_kind) => return Some(2),
            _ if kind.eq_ignore_ascii_case(our_kind) && subtype.eq_ignore_ascii_case(our_subtype) => {}
            _ => return None,
        }
        let utf8_names = allows_utf8_names(parameters.clone());
        let version = parameters.find_map(|parameter| parameter_value(parameter, "version"));
        match version {
            None => Some(3),
            Some(version) if version == self.version() => Some(4),
            // The text of this version is the one with such names.
            Some(version) if utf8_names && self == Self::Text && version == Self::TextUtf8.version() => Some(4),
            Some(_) => None,
        }
    }
}

/// How much a header wants one format; the greater is wanted more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    quality: u16,
    specificity: u8,
    position: Reverse<usize>,
    utf8_names: bool,
}

impl Preference {
    fn of(accept: &str, format: Format) -> Option<Self> {
        let ranges = accept.split(',').enumerate().filter_map(|(position, element)| {
            let mut parts = element.split(';');
            let range = parts.next()?;
            let specificity = format.specificity(range, parts.clone())?;
            let utf8_names = allows_utf8_names(parts.clone());
            Some(Self { quality: quality(parts)?, specificity, position: Reverse(position), utf8_names })
        });
        // The most specific range decides, even if a wider one has a higher quality: `text/plain;q=0, */*` is no text.
        ranges.max_by_key(|preference| (preference.specificity, preference.quality, preference.position))
    }
}

/// The `q` among the parameters of one list element in thousandths: 1000 without one, None when it is malformed.
pub(crate) fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let Some(text) = parameters.find_map(|parameter| parameter_value(parameter, "q")) else { return Some(1000) };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

fn allows_utf8_names<'a>(mut parameters: impl Iterator<Item = &'a str>) -> bool {
    let escaping = parameters.find_map(|parameter| parameter_value(parameter, "escaping"));
    escaping.is_some_and(|escaping| escaping.eq_ignore_ascii_case("allow-utf-8"))
}

fn parameter_value<'a>(parameter: &'a str, wanted: &str) -> Option<&'a str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
        application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
        text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    #[test]
    fn what_scrapers_send_gets_what_they_prefer() {
        for (accept, format) in [
            (PROMETHEUS_3, Format::OpenMetricsUtf8),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", Format::TextUtf8),
            ("text/plain;version=0.0.4;escaping=\"allow-utf-8\"", Format::TextUtf8),
            ("text/plain;version=0.0.4;escaping=underscores", Format::Text),
            ("application/openmetrics-text;version=1.0.0;escaping=values", Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
            ("APPLICATION/OpenMetrics-Text", Format::OpenMetrics),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            ("text/*", Format::Text),
            ("application/*", Format::OpenMetrics),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Format::Text);
    }

    #[test]
    fn quality_decides_and_zero_refuses() {
        for (accept, format) in [
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.51, text/plain;q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, */*", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("text/plain;q=0, */*;q=0.1", Format::OpenMetrics),
            ("application/openmetrics-text, text/plain", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text", Format::Text),
            ("*/*, application/openmetrics-text", Format::OpenMetrics),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
    }

    #[test]
    fn a_version_we_do_not_write_is_not_ours() {
        for (accept, format) in [
            ("application/openmetrics-text;version=0.0.1, text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;version=\"1.0.0\"", Format::OpenMetrics),
            ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", Format::OpenMetrics),
        ] {
            assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
        }
    }

    #[test]
    fn garbage_is_text() {
        for accept in
            ["", ",;,", "text", "application/openmetrics-text;q=x", "application/openmetrics-text;q=2", ";q=1"]
        {
            assert_eq!(Format::negotiate(Some(accept)), Format::Text, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn negotiation_never_panics(accept in "(\\PC|[,;=/*q.\"0-9 ]){0,60}") {
            Format::negotiate(Some(&accept));
        }
    }
}
