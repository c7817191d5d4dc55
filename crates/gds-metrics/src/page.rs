//! The page of a registry: its own families, those of its process and, in a shared folder, those of its siblings.

use std::sync::Arc;
use std::time::Instant;

use gds_process::sync::RwLock;

use crate::error::Result;
use crate::exposition::{Encoder, Header};
use crate::format::Format;
use crate::key::MetricKind;
use crate::naming;
use crate::registry::{Registry, SCRAPE_DURATION, SERIES, SHARED_SKIPPED};
use crate::shared::{Folder, Merged, MergedFamily};
use crate::view::View;

/// A family that is made up at the time of the scrape.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Name without the suffix of its kind.
    pub name: String,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// What it means.
    pub help: String,
    /// Label text and value of each series.
    pub samples: Vec<(String, f64)>,
}

/// Something that has families to show at the time of the scrape. It must not wait for the program it observes.
pub type Collect = Box<dyn Fn() -> Vec<Extra> + Send + Sync>;

/// The page of a registry.
pub struct RegistryPage {
    registry: Arc<Registry>,
    folder: Option<Folder>,
    extras: RwLock<Vec<Collect>>,
}

impl RegistryPage {
    /// The page of `registry`; with `folder`, of all processes that share it.
    pub fn new(registry: Arc<Registry>, folder: Option<Folder>) -> Self {
        Self { registry, folder, extras: RwLock::default() }
    }

    /// Shows further families; their names are kept from the registry's.
    pub fn add(&self, collect: Collect) {
        for extra in collect() {
            self.registry.reserve(&extra.name);
        }
        self.extras.write().push(collect);
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Writes the page; `names` are those asked for, none for all.
    pub fn write(&self, format: Format, names: &[String]) -> Result<Vec<u8>> {
        let begun = Instant::now();
        let _one_at_a_time = self.registry.scraping.lock();
        let merged = self.merged()?;
        self.registry.expire();
        let mut encoder = Encoder::new(format, 4096);
        match &merged {
            Some(merged) => write_merged(&mut encoder, merged, self.registry.oldest_shown(), names),
            None => self.write_own(&mut encoder, names),
        }
        for collect in self.extras.read().iter() {
            for extra in collect() {
                write_extra(&mut encoder, &extra, names);
            }
        }
        write_extra(&mut encoder, &self.series_kept(merged.as_ref()), names);
        self.registry.update_own(SCRAPE_DURATION, MetricKind::Gauge, &[], begun.elapsed().as_secs_f64());
        Ok(encoder.finish())
    }

    fn merged(&self) -> Result<Option<Merged>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        if let Some(writer) = &self.registry.shared {
            writer.keep_in_place().map_err(|source| folder.unusable(source))?;
            std::thread::sleep(writer.others_are_ready_in());
        }
        let merge = folder.merge()?;
        if merge.torn > 0 {
            self.registry.update_own(SHARED_SKIPPED, MetricKind::Counter, &[("reason", "torn")], merge.torn as f64);
        }
        if merge.merged.other_buckets > 0 {
            let families = merge.merged.other_buckets as f64;
            self.registry.update_own(SHARED_SKIPPED, MetricKind::Counter, &[("reason", "other_buckets")], families);
        }
        Ok(Some(merge.merged))
    }

    /// How many series there are, whichever of them a page was asked for.
    fn series_kept(&self, merged: Option<&Merged>) -> Extra {
        let series: usize = match merged {
            Some(merged) => {
                let oldest = self.registry.oldest_shown().unwrap_or(0);
                let shown = |family: &MergedFamily| family.series.iter().filter(|one| one.updated >= oldest).count();
                merged.families.iter().map(shown).sum()
            }
            None => self.registry.families().iter().map(|family| family.len()).sum(),
        };
        Extra {
            name: SERIES.to_owned(),
            kind: MetricKind::Gauge,
            help: "Series kept for the page, those of the process and the interpreter aside.".to_owned(),
            samples: vec![(String::new(), series as f64)],
        }
    }

    fn write_own(&self, encoder: &mut Encoder, names: &[String]) {
        let mut raw = Vec::new();
        for family in self.registry.families() {
            let meta = family.meta.read().clone();
            let (help, unit) = (&*meta.help, &*meta.unit);
            let header =
                Header { name: &family.name, kind: family.shape.kind, help, unit, bounds: &family.shape.bounds };
            if !header.is_asked_for(names) {
                continue;
            }
            encoder.family(&header);
            family.for_each(|series| {
                series.read(&mut raw);
                encoder.series(&header, &series.text, &raw, &series.exemplars());
            });
        }
    }

    /// One value as the page shows it: a counter's or gauge's, or with suffix `_count`, `_sum` or `_bucket` (and label
    /// `le`) a distribution's; a distribution by its bare name gives its count. The name may be the one reported or the
    /// one on the page.
    pub fn sample(&self, view: &View, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>> {
        let merged = self.merged()?;
        let (le, rest): (Vec<_>, Vec<_>) = labels.iter().copied().partition(|(name, _)| *name == "le");
        let le = le.first().and_then(|(_, le)| le.trim_start_matches('+').parse::<f64>().ok());
        let with_prefix = naming::family_name(naming::Naming::Prometheus, view.prefix(), name, MetricKind::Gauge);
        for shown in [with_prefix.as_str(), name] {
            for (suffix, part) in [
                ("", Part::Whole),
                ("_total", Part::Whole),
                ("_count", Part::Count),
                ("_sum", Part::Sum),
                ("_bucket", Part::Bucket(le)),
            ] {
                let Some(base) = shown.strip_suffix(suffix) else { continue };
                let labels = if matches!(part, Part::Bucket(_)) { &rest[..] } else { labels };
                if let Some(value) = self.value_of(merged.as_ref(), base, labels, part) {
                    return Ok(Some(value));
                }
            }
        }
        Ok(self.extra_value(merged.as_ref(), name, labels))
    }

    fn extra_value(&self, merged: Option<&Merged>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let canonical = naming::canonical_labels(naming::Naming::Prometheus, labels, None);
        let wanted = naming::label_text(&canonical);
        let is_named = |extra: &Extra| {
            extra.name == name || extra.kind == MetricKind::Counter && name.strip_suffix("_total") == Some(&*extra.name)
        };
        let mut extras: Vec<_> = self.extras.read().iter().flat_map(|collect| collect()).collect();
        extras.push(self.series_kept(merged));
        let extra = extras.into_iter().find(is_named)?;
        extra.samples.into_iter().find_map(|(text, value)| (text == wanted).then_some(value))
    }

    fn value_of(&self, merged: Option<&Merged>, family: &str, labels: &[(&str, &str)], part: Part) -> Option<f64> {
        // Per-process gauges carry `pid`, which is then not the user's own label; everything else has it exported.
        let canonical = naming::canonical_labels(naming::Naming::Prometheus, labels, None);
        let identity = naming::shown_text(&canonical);
        if let Some(merged) = merged {
            let family = merged.families.iter().find(|other| is_named(&other.name, other.kind, family))?;
            let oldest = self.registry.oldest_shown().unwrap_or(0);
            let series = family.find(&identity).filter(|series| series.updated >= oldest)?;
            return part.of(family.kind, &family.bounds, &series.raw);
        }
        let families = self.registry.families();
        let family = families.iter().find(|other| is_named(&other.name, other.shape.kind, family))?;
        let mut raw = Vec::new();
        {
            let members = family.members.read();
            let overflow = members.overflow.as_ref().filter(|series| series.identity() == identity);
            members.find(&identity).or(overflow)?.read(&mut raw);
        }
        part.of(family.shape.kind, &family.shape.bounds, &raw)
    }
}

impl crate::http::Page for RegistryPage {
    fn render(&self, format: Format, names: &[String]) -> Result<Vec<u8>> {
        self.write(format, names)
    }
}

/// Whether a family is called this, as it is or as pages without UTF-8 have it.
fn is_named(name: &str, kind: MetricKind, wanted: &str) -> bool {
    name == wanted || naming::ascii_name(name, kind) == wanted
}

/// Which number of a series is asked for.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    Count,
    Sum,
    Bucket(Option<f64>),
}

impl Part {
    fn of(self, kind: MetricKind, bounds: &[f64], raw: &[u64]) -> Option<f64> {
        let upto = |last: usize| raw[1..=last + 1].iter().sum::<u64>() as f64;
        match self {
            Self::Whole if !kind.is_distribution() => Some(f64::from_bits(raw[0])),
            _ if !kind.is_distribution() => None,
            Self::Whole | Self::Count => Some(upto(bounds.len())),
            Self::Sum => Some(f64::from_bits(raw[0])),
            #[allow(clippy::float_cmp)] // a bound is asked for by the number it was given as
            Self::Bucket(le) => {
                let le = le?;
                let place =
                    if le == f64::INFINITY { Some(bounds.len()) } else { bounds.iter().position(|bound| *bound == le) };
                place.map(upto)
            }
        }
    }
}

fn write_merged(encoder: &mut Encoder, merged: &Merged, oldest: Option<u64>, names: &[String]) {
    let oldest = oldest.unwrap_or(0);
    for family in &merged.families {
        let header = Header {
            name: &family.name,
            kind: family.kind,
            help: &family.help,
            unit: &family.unit,
            bounds: &family.bounds,
        };
        let mut shown = family.series.iter().filter(|series| series.updated >= oldest).peekable();
        if !header.is_asked_for(names) || shown.peek().is_none() {
            continue;
        }
        encoder.family(&header);
        for series in shown {
            encoder.series(&header, &series.text, &series.raw, &series.exemplars);
        }
    }
}

fn write_extra(encoder: &mut Encoder, extra: &Extra, names: &[String]) {
    let header = Header { name: &extra.name, kind: extra.kind, help: &extra.help, unit: "", bounds: &[] };
    if header.is_asked_for(names) {
        encoder.family(&header);
        for (text, value) in &extra.samples {
            encoder.series(&header, text, &[value.to_bits()], &[]);
        }
    }
}

/// Families of this process, from the `prometheus` crate's process collector: CPU, memory, threads, descriptors.
#[cfg(target_os = "linux")]
pub fn process_families() -> Vec<Extra> {
    use prometheus::core::Collector;
    use prometheus::proto::MetricType;
    let collector = prometheus::process_collector::ProcessCollector::for_self();
    // The crate counts whole seconds, which makes steps of the rate that everybody looks at.
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let convert = |family: &prometheus::proto::MetricFamily| {
        let kind = if family.get_field_type() == MetricType::COUNTER { MetricKind::Counter } else { MetricKind::Gauge };
        let number = |metric: &prometheus::proto::Metric| match kind {
            MetricKind::Counter => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        };
        let name = family.name();
        let value = |metric| if name == "process_cpu_seconds_total" { cpu_seconds } else { number(metric) };
        Extra {
            name: if kind == MetricKind::Counter {
                name.trim_end_matches("_total").to_owned()
            } else {
                name.to_owned()
            },
            kind,
            help: family.help().to_owned(),
            samples: family.get_metric().iter().map(|metric| (String::new(), value(metric))).collect(),
        }
    };
    collector.collect().iter().map(convert).collect()
}

/// Families of this process; none on this platform.
#[cfg(not(target_os = "linux"))]
pub fn process_families() -> Vec<Extra> {
    Vec::new()
}
