//! A server to test against: it parses strictly, and reads gauges both as Datadog does and as every other server does.

#![expect(clippy::float_cmp, reason = "whole numbers below 2^53 add up exactly, and exact totals are the promise")]

mod link;
mod model;
mod report;
mod round;
mod sockets;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use crate::key::{Key, MetricKind, Scope};

use super::aggregate::Aggregate;
use super::link::Wire;
use super::options::StatsdOptions;
use super::round::{SendCounts, Sender};

/// For what must not happen; tests do not wait for it otherwise.
const LONG: Duration = Duration::from_secs(20);

fn key<'a>(name: &'a str, labels: &'a [(&'a str, &'a str)]) -> Key<'a> {
    Key { scope: Scope { view: 0, kind: MetricKind::Counter }, name, labels }
}

/// What a server knows; series are named `name|#tags`.
#[derive(Debug, Default)]
struct Server {
    packets: Vec<Vec<u8>>,
    counters: BTreeMap<String, f64>,
    /// Where a sign means a value below zero.
    datadog_gauges: BTreeMap<String, f64>,
    /// Where a sign means a change.
    plain_gauges: BTreeMap<String, f64>,
    /// Values with the number of values each stands for, cut to a whole number as `statsd_exporter` does.
    samples: BTreeMap<String, Vec<(f64, u64)>>,
    lines: usize,
}

impl Server {
    fn take(&mut self, packet: &[u8]) {
        self.packets.push(packet.to_vec());
        for line in std::str::from_utf8(packet).unwrap().split('\n') {
            self.take_line(line);
        }
    }

    fn take_line(&mut self, line: &str) {
        assert!(!line.contains(|c: char| c.is_control() || c.is_whitespace()), "{line:?}");
        self.lines += 1;
        let (name, rest) = line.split_once(':').unwrap();
        assert!(!name.is_empty() && !name.contains(['|', '@', '#', ',']), "{line:?}");
        let mut fields = rest.split('|');
        let values = fields.next().unwrap().split(':').map(|text| (text, text.parse::<f64>().unwrap()));
        let values: Vec<_> = values.collect();
        assert!(values.iter().all(|(text, value)| value.is_finite() && !text.contains(['e', 'E', '+'])), "{line:?}");
        let kind = fields.next().unwrap();
        let (mut weight, mut tags) = (1, String::new());
        for field in fields {
            if let Some(rate) = field.strip_prefix('@') {
                assert!(tags.is_empty() && matches!(kind, "h" | "ms"), "{line:?}");
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let inverse = (1.0 / rate.parse::<f64>().unwrap()) as u64;
                weight = inverse;
            } else {
                let text = field.strip_prefix('#').unwrap();
                assert!(
                    tags.is_empty() && text.split(',').all(|tag| !tag.is_empty() && !tag.contains('#')),
                    "{line:?}"
                );
                tags = format!("|#{text}");
            }
        }
        let series = format!("{name}{tags}");
        match (kind, &values[..]) {
            ("c", [(_, value)]) => {
                assert!(*value > 0.0, "{line:?}");
                *self.counters.entry(series).or_default() += value;
            }
            ("g", [(text, value)]) => {
                self.datadog_gauges.insert(series.clone(), *value);
                let plain = self.plain_gauges.entry(series).or_default();
                *plain = if text.starts_with('-') { *plain + value } else { *value };
            }
            ("h" | "ms", values) => {
                let samples = self.samples.entry(series).or_default();
                samples.extend(values.iter().map(|(_, value)| (*value, weight)));
            }
            _ => panic!("{line:?}"),
        }
    }

    fn longest_packet(&self) -> usize {
        self.packets.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How many values the server believes in.
    fn sample_count(&self) -> u64 {
        self.samples.values().flatten().map(|(_, weight)| weight).sum()
    }

    fn series(&self) -> HashSet<&str> {
        let tables = [&self.counters, &self.datadog_gauges];
        tables.into_iter().flat_map(BTreeMap::keys).chain(self.samples.keys()).map(String::as_str).collect()
    }
}

/// How the network treats one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// No room in the socket.
    Blocked,
    /// The socket takes packets of at most so many bytes.
    Limited(usize),
    /// Nobody listens; a socket with certainty says so at once, any other at a later call.
    Refused,
}

/// A network that does as told.
struct FakeWire {
    server: Server,
    certain: bool,
    /// In order, each for one call; the last one stays.
    fates: Vec<Fate>,
    /// Calls until a refusal is known, and whether one is on its way.
    delay: usize,
    refusal_in: Option<usize>,
}

impl FakeWire {
    fn new(certain: bool) -> Self {
        Self { server: Server::default(), certain, fates: vec![Fate::Arrives], delay: 0, refusal_in: None }
    }
}

impl Wire for FakeWire {
    fn is_certain(&self) -> bool {
        self.certain
    }

    fn late_error(&mut self) -> Option<io::Error> {
        self.refusal_in.take().map(|_| io::ErrorKind::ConnectionRefused.into())
    }

    fn prepare(&mut self, _: Instant) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, packet: &[u8], _: Instant) -> io::Result<()> {
        if let Some(calls) = self.refusal_in.as_mut() {
            if *calls == 0 {
                self.refusal_in = None;
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            *calls -= 1;
        }
        let fate = if self.fates.len() > 1 { self.fates.remove(0) } else { self.fates[0] };
        match fate {
            Fate::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            Fate::Limited(bytes) if packet.len() > bytes => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
            Fate::Refused if self.certain => Err(io::ErrorKind::ConnectionRefused.into()),
            Fate::Refused => {
                self.refusal_in.get_or_insert(self.delay);
                Ok(())
            }
            Fate::Arrives | Fate::Limited(_) => {
                self.server.take(packet);
                Ok(())
            }
        }
    }
}

/// A client whose network is the test's.
struct Bench {
    aggregate: Aggregate,
    sender: Sender,
    sent: SendCounts,
    wire: FakeWire,
}

impl Bench {
    fn new(options: &StatsdOptions, certain: bool) -> Self {
        let settings = options.check().unwrap();
        Self {
            sender: Sender::new(settings.max_packet_bytes),
            aggregate: Aggregate::new(settings),
            sent: SendCounts::default(),
            wire: FakeWire::new(certain),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.flush(&self.aggregate, &self.sent, &mut self.wire, Instant::now())
    }

    fn server(&self) -> &Server {
        &self.wire.server
    }
}
