//! A day of metrics as programs have them: what it costs to append, what it takes in memory and on the disk. All of it is
//! read back and compared before anything is printed. `GDS_STORE_TARGETS` says how many targets there are, of 22 series
//! each; `GDS_STORE_HOURS` how much of the day.

use std::sync::Arc;

use gds_promql::engine::Engine;
use gds_promql::labels::Labels;
use gds_promql::source::{Select, Source};
use gds_promql::value::{Sample, Value};
use gds_store::{Options, Row, Store};
use rustix::time::{ClockId, clock_gettime};

const DAY: i64 = 86_400_000;
const START: i64 = 20_000 * DAY;
const STEP: i64 = 15_000;

/// The same numbers in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u32) -> f64 {
        f64::from(u32::try_from(self.next() % u64::from(limit)).unwrap_or(0))
    }
}

/// How a series behaves.
#[derive(Clone, Copy, PartialEq)]
enum SeriesKind {
    /// Requests, in whole numbers.
    Counter,
    /// A counter of something rare.
    Rare,
    /// Seconds with hundredths, summed up.
    Seconds,
    /// Bytes, in pages.
    Bytes,
    /// Something that is there, or a setting.
    Flat,
    /// A measurement with a decimal digit.
    Temperature,
    /// A quotient, with all its bits.
    Ratio,
}

/// Metrics of a target: the name, how it behaves, and how many series it has.
const METRICS: [(&str, SeriesKind, u32); 9] = [
    ("http_requests_total", SeriesKind::Counter, 4),
    ("pg_stat_database_tup_fetched", SeriesKind::Counter, 3),
    ("pg_stat_database_deadlocks", SeriesKind::Rare, 3),
    ("node_cpu_seconds_total", SeriesKind::Seconds, 4),
    ("node_memory_MemFree_bytes", SeriesKind::Bytes, 1),
    ("up", SeriesKind::Flat, 1),
    ("pg_settings_max_connections", SeriesKind::Flat, 3),
    ("node_hwmon_temp_celsius", SeriesKind::Temperature, 2),
    ("pg_stat_cache_hit_ratio", SeriesKind::Ratio, 1),
];

struct Generated {
    labels: Labels,
    kind: SeriesKind,
    chance: Chance,
    value: f64,
}

impl Generated {
    fn next(&mut self) -> f64 {
        let chance = &mut self.chance;
        match self.kind {
            SeriesKind::Counter => self.value += chance.below(200),
            SeriesKind::Rare => self.value += f64::from(u8::from(chance.next().is_multiple_of(500))),
            SeriesKind::Seconds => self.value = ((self.value + chance.below(1_500) / 100.0) * 100.0).round() / 100.0,
            SeriesKind::Bytes => self.value = (self.value + (chance.below(2_001) - 1_000.0) * 4_096.0).max(0.0),
            SeriesKind::Flat => {}
            SeriesKind::Temperature => self.value = ((self.value + chance.below(3) / 10.0 - 0.1) * 10.0).round() / 10.0,
            SeriesKind::Ratio => self.value = 1.0 - 1.0 / (1_000.0 + chance.below(50_000)),
        }
        self.value
    }
}

fn setting(name: &str, default: i64) -> i64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn cpu() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 * 1e9 + spent.tv_nsec as f64
}

fn main() {
    let (targets, hours) = (setting("GDS_STORE_TARGETS", 20), setting("GDS_STORE_HOURS", 24));
    let steps = hours * 3_600_000 / STEP;
    let mut all: Vec<Vec<Generated>> = (0..targets).map(target).collect();
    let mut times = Chance(7);

    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { clock: Arc::new(|| START + DAY - 1), ..Options::default() };
    let store = Store::open(folder.path(), options).expect("opened");
    let (mut spent, mut samples, mut sum) = (0.0, 0u64, 0u64);
    let mut requests = 0.0;
    for step in 0..steps {
        for series in &mut all {
            // A scrape is a few milliseconds late, now and then.
            let late = if times.next().is_multiple_of(4) { i64::try_from(times.next() % 5).unwrap_or(0) } else { 0 };
            let time = START + step * STEP + late;
            let values: Vec<f64> = series.iter_mut().map(Generated::next).collect();
            let rows: Vec<Row<'_>> = series
                .iter()
                .zip(&values)
                .map(|(one, value)| Row { labels: &one.labels, time, start: 0, value: Sample::Float(*value) })
                .collect();
            samples += rows.len() as u64;
            let before = cpu();
            store.append(&rows).expect("appended");
            spent += cpu() - before;
            for (value, one) in values.iter().zip(series.iter()) {
                sum = sum.wrapping_add(value.to_bits() ^ time.cast_unsigned());
                if step == steps - 1 && one.labels.metric_name() == "http_requests_total" {
                    requests += value;
                }
            }
        }
    }
    let head = store.stats();
    let before = cpu();
    store.flush().expect("flushed");
    let flushed = cpu() - before;
    let stats = store.stats();
    let log = std::fs::read_dir(folder.path().join("log")).expect("a folder").count();
    assert_eq!((stats.part_samples, log), (samples, 0));

    let before = cpu();
    let (mut read, mut read_sum) = (0u64, 0u64);
    for one in store.select(&Select { matchers: &[], start: 0, end: i64::MAX, step: 0 }).expect("selected") {
        let one = one.expect("a series");
        let floats = &one.samples.floats;
        read += floats.times.len() as u64;
        for (time, value) in floats.times.iter().zip(&floats.values) {
            read_sum = read_sum.wrapping_add(value.to_bits() ^ time.cast_unsigned());
        }
    }
    let scanned = cpu() - before;
    assert_eq!((read, read_sum), (samples, sum), "all bits come back");
    let end = START + steps * STEP;
    let answer = Engine::default().instant("sum(http_requests_total)", &store, end).expect("an answer");
    let Value::Vector(answer) = answer.value else { unreachable!("a sum is a vector") };
    assert_eq!(answer[0].value, Sample::Float(requests));

    let (series, count) = (head.head_series as f64, samples as f64);
    println!("{} series, {samples} samples", head.head_series);
    println!("append                  {:8.0} ns of CPU a sample", spent / count);
    println!("flush                   {:8.0} ns of CPU a sample", flushed / count);
    println!("read                    {:8.0} ns of CPU a sample", scanned / count);
    println!(
        "memory of a day         {:8.0} bytes a series, {:.2} a sample",
        head.head_bytes as f64 / series,
        head.head_bytes as f64 / count
    );
    println!("on the disk, with index {:8.3} bytes a sample", stats.part_bytes as f64 / count);
    println!("index in memory         {:8.0} bytes a series", stats.index_bytes as f64 / series);
}

fn target(number: i64) -> Vec<Generated> {
    let mut series = Vec::new();
    for (metric, kind, count) in METRICS {
        for at in 0..count {
            let labels = Labels::from_pairs([
                ("__name__", metric.to_owned()),
                ("instance", format!("10.0.{}.{}:9100", number / 250, number % 250)),
                ("job", "tests".to_owned()),
                ("mode", format!("mode-{at}")),
            ]);
            let seed = (number.cast_unsigned() + 1) * 1_000_003 + series.len() as u64 * 7_919;
            let value = match kind {
                SeriesKind::Flat => f64::from(1 + at * 100),
                SeriesKind::Bytes => 4_096.0 * 1_000_000.0,
                SeriesKind::Temperature => 45.0,
                _ => 0.0,
            };
            series.push(Generated { labels, kind, chance: Chance(seed), value });
        }
    }
    series
}
