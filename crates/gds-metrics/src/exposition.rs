//! Writes a page: Prometheus text 0.0.4 or OpenMetrics 1.0.
//!
//! The caller gives families in the order of the page and series with their label text; what is written here per
//! series is names, values and exemplars only.

use crate::format::Format;
use crate::key::MetricKind;
use crate::naming::{self, push_label};
use crate::snapshot::Exemplar;

/// A page being written.
pub struct Encoder {
    out: Vec<u8>,
    format: Format,
    bucket_labels: Vec<String>,
    /// The name of the family as it stands on the page, and whether that is in quotes.
    name: String,
    is_quoted: bool,
}

/// What a page says about a family.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Name without the suffix of its kind.
    pub name: &'a str,
    /// Counter, gauge, histogram or timing.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'a str,
    /// Its unit, or empty.
    pub unit: &'a str,
    /// Finite upper bounds of its buckets.
    pub bounds: &'a [f64],
}

impl Header<'_> {
    /// Whether a page asked for by these names shows the family; any of its samples' names will do.
    pub fn is_asked_for(&self, names: &[String]) -> bool {
        let suffixes: &[&str] = match self.kind {
            MetricKind::Counter => &["", "_total"],
            MetricKind::Gauge => &[""],
            MetricKind::Histogram | MetricKind::Timing => &["", "_bucket", "_count", "_sum"],
        };
        let ascii = naming::ascii_name(self.name, self.kind);
        let is_own = |name: &str, own: &str| name.strip_prefix(own).is_some_and(|suffix| suffixes.contains(&suffix));
        let matches = |name: &String| is_own(name, self.name) || is_own(name, &ascii);
        names.is_empty() || names.iter().any(matches)
    }

    const fn type_name(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram | MetricKind::Timing => "histogram",
        }
    }
}

impl Encoder {
    /// An empty page.
    pub fn new(format: Format, capacity: usize) -> Self {
        let out = Vec::with_capacity(capacity);
        Self { out, format, bucket_labels: Vec::new(), name: String::new(), is_quoted: false }
    }

    /// Begins a family.
    pub fn family(&mut self, header: &Header<'_>) {
        // In text 0.0.4 the type belongs to the sample's name; in OpenMetrics to the family's.
        let suffix = if header.kind == MetricKind::Counter && !self.format.is_open_metrics() { "_total" } else { "" };
        self.is_quoted = self.format.has_utf8_names() && !header.name.is_ascii();
        self.name = if self.is_quoted {
            header.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        } else {
            naming::ascii_name(header.name, header.kind).into_owned()
        };
        for (word, text) in [("# HELP ", header.help), ("# TYPE ", header.type_name())] {
            self.push(word);
            self.push_name(suffix);
            self.push(" ");
            if word == "# HELP " {
                self.push_help(text);
            } else {
                self.push(text);
            }
            self.push("\n");
        }
        // OpenMetrics allows a unit only where the name ends in it.
        let ends_in_unit = header.name.strip_suffix(header.unit).is_some_and(|rest| rest.ends_with('_'));
        if self.format.is_open_metrics() && !header.unit.is_empty() && ends_in_unit && header.name.is_ascii() {
            for part in ["# UNIT ", header.name, " ", header.unit, "\n"] {
                self.push(part);
            }
        }
        self.bucket_labels.clear();
        if header.kind.is_distribution() {
            for bound in header.bounds.iter().chain(&[f64::INFINITY]) {
                let mut le = Vec::new();
                push_float(&mut le, *bound);
                let mut label = String::new();
                push_label(&mut label, "le", &String::from_utf8_lossy(&le));
                self.bucket_labels.push(label);
            }
        }
    }

    /// A series of the family begun last. `raw` is what [`crate::series::Series::read`] gives.
    pub fn series(&mut self, header: &Header<'_>, text: &str, raw: &[u64], exemplars: &[Exemplar]) {
        match header.kind {
            MetricKind::Counter => {
                self.sample("_total", text, "", f64::from_bits(raw[0]));
                self.end(exemplars.first());
            }
            MetricKind::Gauge => {
                self.sample("", text, "", f64::from_bits(raw[0]));
                self.end(None);
            }
            MetricKind::Histogram | MetricKind::Timing => self.distribution(header, text, raw, exemplars),
        }
    }

    fn distribution(&mut self, header: &Header<'_>, text: &str, raw: &[u64], exemplars: &[Exemplar]) {
        let labels = std::mem::take(&mut self.bucket_labels);
        let mut count = 0_u64;
        for (bucket, (more, label)) in raw[1..].iter().zip(&labels).enumerate() {
            count = count.wrapping_add(*more);
            self.sample("_bucket", text, label, count as f64);
            let exemplar = if exemplars.is_empty() { None } else { exemplars.iter().find(|one| one.bucket == bucket) };
            self.end(exemplar);
        }
        self.bucket_labels = labels;
        let sum = f64::from_bits(raw[0]);
        let only_rises = sum >= 0.0 && header.bounds.first().is_none_or(|lowest| *lowest >= 0.0);
        // In OpenMetrics a sum is a counter, never negative or NaN, and the count stands beside a sum or not at all
        // (OpenMetrics 1.0, "Histogram"); the last bucket still tells it.
        if self.format.is_open_metrics() && !only_rises {
            return;
        }
        // The count comes from the buckets, so that it equals the last of them whatever writers do meanwhile.
        self.sample("_count", text, "", count as f64);
        self.end(None);
        self.sample("_sum", text, "", sum);
        self.end(None);
    }

    /// The finished page.
    pub fn finish(mut self) -> Vec<u8> {
        if self.format.is_open_metrics() {
            self.push("# EOF\n");
        }
        self.out
    }

    #[inline]
    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn push_help(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\\' => self.push("\\\\"),
                '\n' => self.push("\\n"),
                '"' if self.format.is_open_metrics() => self.push("\\\""),
                c => self.push(c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    #[inline]
    fn push_name(&mut self, suffix: &str) {
        let quote: &[u8] = if self.is_quoted { b"\"" } else { b"" };
        for part in [quote, self.name.as_bytes(), suffix.as_bytes(), quote] {
            self.out.extend_from_slice(part);
        }
    }

    #[inline]
    fn sample(&mut self, suffix: &str, text: &str, more: &str, value: f64) {
        if self.is_quoted {
            self.push("{");
            self.push_name(suffix);
            for labels in [text, more].into_iter().filter(|labels| !labels.is_empty()) {
                self.push(",");
                self.push(labels);
            }
            self.push("}");
        } else {
            self.out.extend_from_slice(self.name.as_bytes());
            self.push(suffix);
        }
        if !self.is_quoted && (!text.is_empty() || !more.is_empty()) {
            self.push("{");
            self.push(text);
            if !text.is_empty() && !more.is_empty() {
                self.push(",");
            }
            self.push(more);
            self.push("}");
        }
        self.push(" ");
        push_float(&mut self.out, value);
    }

    #[inline]
    fn end(&mut self, exemplar: Option<&Exemplar>) {
        if let Some(exemplar) = exemplar.filter(|_| self.format.is_open_metrics()) {
            self.push(" # {trace_id=\"");
            push_hex(&mut self.out, &exemplar.trace.trace_id);
            self.push("\",span_id=\"");
            push_hex(&mut self.out, &exemplar.trace.span_id);
            self.push("\"} ");
            push_float(&mut self.out, exemplar.value);
            self.push(" ");
            let mut seconds = itoa::Buffer::new();
            self.push(seconds.format(exemplar.nanos / 1_000_000_000));
            self.push(&format!(".{:03}", exemplar.nanos % 1_000_000_000 / 1_000_000));
        }
        self.push("\n");
    }
}

/// A number as both formats and every parser of them take it; whole numbers as `1.0`, as `prometheus_client` writes them.
pub(crate) fn push_float(out: &mut Vec<u8>, value: f64) {
    // Whole numbers are most of any page and cost a third of the general case.
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.abs() < EXACT && value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative()) {
        #[allow(clippy::cast_possible_truncation)] // whole and below 2^53
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        out.extend_from_slice(b".0");
    } else if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::TraceContext;

    fn header(kind: MetricKind) -> Header<'static> {
        Header { name: "x_seconds", kind, help: "a \"b\"\n\\", unit: "seconds", bounds: &[0.5, 1.0] }
    }

    fn page(format: Format, kind: MetricKind, raw: &[f64], exemplars: &[Exemplar]) -> String {
        let mut encoder = Encoder::new(format, 0);
        encoder.family(&header(kind));
        let mut cells: Vec<u64> = raw.iter().map(|value| value.to_bits()).collect();
        if kind.is_distribution() {
            for (cell, value) in cells.iter_mut().zip(raw).skip(1) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let count = *value as u64;
                *cell = count;
            }
        }
        encoder.series(&header(kind), r#"a="b""#, &cells, exemplars);
        String::from_utf8(encoder.finish()).expect("UTF-8")
    }

    #[test]
    fn a_counter_in_both_formats() {
        let text =
            "# HELP x_seconds_total a \"b\"\\n\\\\\n# TYPE x_seconds_total counter\nx_seconds_total{a=\"b\"} 2.5\n";
        assert_eq!(page(Format::Text, MetricKind::Counter, &[2.5], &[]), text);
        let open = "# HELP x_seconds a \\\"b\\\"\\n\\\\\n# TYPE x_seconds counter\n# UNIT x_seconds seconds\nx_seconds_total{a=\"b\"} 2.5\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics, MetricKind::Counter, &[2.5], &[]), open);
    }

    #[test]
    fn a_distribution_is_cumulative_and_carries_its_exemplar() {
        let trace = TraceContext { trace_id: [0xab; 16], span_id: [1; 8] };
        let exemplar = Exemplar { trace, value: 0.7, nanos: 1_500_000_000, bucket: 1 };
        let page = page(Format::OpenMetrics, MetricKind::Timing, &[3.2, 1.0, 2.0, 0.0], &[exemplar]);
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let hex = "ab".repeat(16);
        assert_eq!(samples[0], r#"x_seconds_bucket{a="b",le="0.5"} 1.0"#);
        assert_eq!(
            samples[1],
            format!(
                r#"x_seconds_bucket{{a="b",le="1.0"}} 3.0 # {{trace_id="{hex}",span_id="0101010101010101"}} 0.7 1.500"#
            )
        );
        assert_eq!(samples[2], r#"x_seconds_bucket{a="b",le="+Inf"} 3.0"#);
        assert_eq!(samples[3..], [r#"x_seconds_count{a="b"} 3.0"#, r#"x_seconds_sum{a="b"} 3.2"#]);
    }

    #[test]
    fn names_beyond_ascii_are_quoted_or_escaped() {
        let page = |format| {
            let header = Header { name: "gds_订单", kind: MetricKind::Counter, help: "x", unit: "", bounds: &[] };
            let mut encoder = Encoder::new(format, 0);
            encoder.family(&header);
            encoder.series(&header, r#"a="b""#, &[1.0_f64.to_bits()], &[]);
            encoder.series(&header, "", &[1.0_f64.to_bits()], &[]);
            String::from_utf8(encoder.finish()).expect("UTF-8")
        };
        let quoted = "# HELP \"gds_订单_total\" x\n# TYPE \"gds_订单_total\" counter\n{\"gds_订单_total\",a=\"b\"} 1.0\n{\"gds_订单_total\"} 1.0\n";
        assert_eq!(page(Format::TextUtf8), quoted);
        let name = "U__gds___8ba2__5355___total";
        let text = format!("# HELP {name} x\n# TYPE {name} counter\n{name}{{a=\"b\"}} 1.0\n{name} 1.0\n");
        assert_eq!(page(Format::Text), text);
    }

    #[test]
    fn openmetrics_has_a_sum_only_where_it_can_be_a_counter() {
        for (sum, lines) in [(0.0, 5), (f64::INFINITY, 5), (-1.0, 3), (f64::NAN, 3)] {
            let raw = [sum, 1.0, 2.0, 0.0];
            let samples = |format| {
                let page = page(format, MetricKind::Histogram, &raw, &[]);
                page.lines().filter(|line| !line.starts_with('#')).count()
            };
            assert_eq!((samples(Format::OpenMetrics), samples(Format::Text)), (lines, 5), "{sum}");
        }
    }

    #[test]
    fn numbers_are_written_as_parsers_take_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e21, "1e21"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-3.0, "-3.0"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
        ] {
            let mut out = Vec::new();
            push_float(&mut out, value);
            assert_eq!(out, text.as_bytes(), "{value}");
        }
    }

    #[test]
    fn a_family_is_asked_for_by_any_of_its_names() {
        let asked = |kind, name: &str| header(kind).is_asked_for(&[name.to_owned()]);
        assert!(asked(MetricKind::Counter, "x_seconds") && asked(MetricKind::Counter, "x_seconds_total"));
        assert!(asked(MetricKind::Timing, "x_seconds_bucket") && !asked(MetricKind::Gauge, "x_seconds_bucket"));
        assert!(!asked(MetricKind::Gauge, "x") && header(MetricKind::Gauge).is_asked_for(&[]));
    }
}
