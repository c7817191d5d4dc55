//! One flush: what is due becomes lines, lines become packets, and what a packet held goes back when it fails.

use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::aggregate::Aggregate;
use super::link::{Wire, is_refusal, is_too_big};
use super::options::MIN_PACKET_BYTES;
use super::series::{Resend, Series, State};
use super::text;

/// What one packet took out of which series (by its place in the list), so that it can go back.
struct InPacket {
    series: usize,
    taken: Taken,
}

enum Taken {
    Delta(f64),
    Gauge,
    Sample { value: f64, weight: u64 },
}

/// Counts of what was handed to the operating system.
#[derive(Default)]
pub(super) struct SendCounts {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) packets_failed: AtomicU64,
    pub(super) flushes_failed: AtomicU64,
}

/// What outlives one flush.
pub(super) struct Sender {
    series: Vec<Arc<Series>>,
    /// Where a flush that ended early goes on, so that the same series are not last every time.
    first: usize,
    /// What this socket takes, which may be less than the setting.
    packet_limit: usize,
    packet: String,
    held: Vec<InPacket>,
    line: String,
    line_held: Vec<InPacket>,
    /// Type, rate and tags of the line under way.
    line_end: String,
    /// Sums and gauges of packets that were taken and may still be refused.
    in_doubt: Vec<InPacket>,
    samples_in_doubt: u64,
    /// Whether packets of the flush before, or of this one, were taken and not refused yet.
    awaits_refusal: bool,
    /// Whether a packet is known to have found somebody who listens.
    heard: bool,
}

/// What one flush has at hand beside the sender.
struct Round<'a> {
    aggregate: &'a Aggregate,
    sent: &'a SendCounts,
    list: &'a [Arc<Series>],
    wire: &'a mut dyn Wire,
    resend: Resend,
    deadline: Instant,
}

impl Sender {
    pub(super) fn new(packet_limit: usize) -> Self {
        Self {
            series: Vec::new(),
            first: 0,
            packet_limit,
            packet: String::new(),
            held: Vec::new(),
            line: String::new(),
            line_held: Vec::new(),
            line_end: String::new(),
            in_doubt: Vec::new(),
            samples_in_doubt: 0,
            awaits_refusal: false,
            heard: false,
        }
    }

    /// Whether the flush before showed that the server is there.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    /// Sends everything that is due, or fails with all that was not sent put back.
    pub(super) fn flush(
        &mut self,
        aggregate: &Aggregate,
        sent: &SendCounts,
        wire: &mut dyn Wire,
        deadline: Instant,
    ) -> io::Result<()> {
        let mut list = std::mem::take(&mut self.series);
        list.append(&mut aggregate.arrived.lock());
        let settings = &aggregate.settings;
        let resend = Resend { now_millis: settings.clock.coarse_millis(), after_millis: settings.gauge_resend_millis };
        let mut round = Round { aggregate, sent, list: &list, wire, resend, deadline };
        let result = self.run(&mut round);
        if result.is_err() {
            sent.flushes_failed.fetch_add(1, Ordering::Relaxed);
        }
        self.series = list;
        result
    }

    fn run(&mut self, round: &mut Round<'_>) -> io::Result<()> {
        let refused = round.wire.late_error().is_some();
        // An interval without a refusal is all the confirmation there is.
        self.heard = std::mem::take(&mut self.awaits_refusal) && !refused;
        if refused {
            round.sent.packets_failed.fetch_add(1, Ordering::Relaxed);
            self.recall(round);
        }
        self.in_doubt.clear();
        self.samples_in_doubt = 0;
        // Nothing is taken before there is a socket, so a server that is away costs no copying to and fro.
        while round.list.iter().any(|series| series.is_due(round.resend)) {
            round.wire.prepare(round.deadline)?;
            match self.write_all(round) {
                Err(error) if is_too_big(&error) && self.packet_limit > MIN_PACKET_BYTES => {
                    // The socket takes less than the setting says (2048 bytes on macOS): find out by halves.
                    self.packet_limit = (self.packet_limit / 2).max(MIN_PACKET_BYTES);
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// One pass over the series; on failure stops there and begins there next time.
    fn write_all(&mut self, round: &mut Round<'_>) -> io::Result<()> {
        let count = round.list.len();
        for step in 0..count {
            let at = (self.first + step) % count;
            if let Err(error) = self.write_series(at, round) {
                self.first = at;
                return Err(error);
            }
        }
        self.send(round)
    }

    fn write_series(&mut self, at: usize, round: &mut Round<'_>) -> io::Result<()> {
        let series = &*round.list[at];
        match &series.state {
            State::Counter(sum) => {
                let delta = sum.take();
                if delta == 0.0 {
                    return Ok(());
                }
                self.append_line(series, delta, "|c");
                self.line_held.push(InPacket { series: at, taken: Taken::Delta(delta) });
                self.end_line(round)
            }
            State::Gauge(last) => {
                let Some(value) = last.take(round.resend) else { return Ok(()) };
                if value < 0.0 {
                    // A sign makes it a change relative to the last value on every server but Datadog's. From zero
                    // both readings agree, provided that the two lines arrive together: they count as one.
                    self.append_line(series, 0.0, "|g");
                    self.line.push('\n');
                }
                self.append_line(series, value, "|g");
                self.line_held.push(InPacket { series: at, taken: Taken::Gauge });
                self.end_line(round)
            }
            State::Samples { code, waiting } => {
                let mut values = waiting.lock().take().peekable();
                let result = self.write_samples(at, code, &mut values, round);
                for (value, weight) in values {
                    series.restore_sample(value, weight);
                }
                result
            }
        }
    }

    /// Writes until `values` is empty or a packet fails; a value leaves the iterator once it is held.
    fn write_samples(
        &mut self,
        at: usize,
        code: &str,
        values: &mut Peekable<impl Iterator<Item = (f64, u64)>>,
        round: &mut Round<'_>,
    ) -> io::Result<()> {
        let series = &*round.list[at];
        while let Some((value, weight)) = values.next() {
            self.line.push_str(&series.name);
            text::number(&mut self.line, value);
            self.line_held.push(InPacket { series: at, taken: Taken::Sample { value, weight } });
            self.line_end.clear();
            self.line_end.push_str(code);
            text::rate(&mut self.line_end, weight);
            self.line_end.push_str(&series.tags);
            if round.aggregate.settings.pack_values {
                self.pack(at, weight, values);
            }
            self.line.push_str(&self.line_end);
            self.end_line(round)?;
        }
        Ok(())
    }

    /// Adds values of the same weight to the line, as many as go into this packet, or into one of their own.
    fn pack(&mut self, at: usize, weight: u64, values: &mut Peekable<impl Iterator<Item = (f64, u64)>>) {
        let left = if self.packet.is_empty() {
            self.packet_limit
        } else {
            self.packet_limit.saturating_sub(self.packet.len() + 1)
        };
        let fits_here = self.line.len() + self.line_end.len() <= left;
        let room = if fits_here { left } else { self.packet_limit }.saturating_sub(self.line_end.len());
        while let Some((value, _)) = values.peek().copied().filter(|(_, other)| *other == weight) {
            let line_bytes = self.line.len();
            self.line.push(':');
            text::number(&mut self.line, value);
            if self.line.len() > room {
                self.line.truncate(line_bytes);
                return;
            }
            self.line_held.push(InPacket { series: at, taken: Taken::Sample { value, weight } });
            values.next();
        }
    }

    fn append_line(&mut self, series: &Series, value: f64, code: &str) {
        self.line.push_str(&series.name);
        text::number(&mut self.line, value);
        self.line.push_str(code);
        self.line.push_str(&series.tags);
    }

    /// Moves the line into a packet, sending the one before when it is full.
    fn end_line(&mut self, round: &mut Round<'_>) -> io::Result<()> {
        if self.line.len() > self.packet_limit {
            // It would not fit next time either, and holding it back would hold back nothing but memory.
            round.aggregate.lines_too_long.fetch_add(1, Ordering::Relaxed);
            let samples = samples_in(&self.line_held);
            round.aggregate.buffer.release(samples.places);
            round.aggregate.buffer.dropped.fetch_add(samples.values, Ordering::Relaxed);
            self.line_held.clear();
            self.line.clear();
            return Ok(());
        }
        let is_full = !self.packet.is_empty() && self.packet.len() + 1 + self.line.len() > self.packet_limit;
        if is_full && let Err(error) = self.send(round) {
            put_back(&mut self.line_held, round.list);
            self.line.clear();
            return Err(error);
        }
        if !self.packet.is_empty() {
            self.packet.push('\n');
        }
        self.packet.push_str(&self.line);
        self.held.append(&mut self.line_held);
        self.line.clear();
        Ok(())
    }

    /// Hands the packet over, if there is one, or puts back what it held.
    fn send(&mut self, round: &mut Round<'_>) -> io::Result<()> {
        if self.packet.is_empty() {
            return Ok(());
        }
        let result = round.wire.send(self.packet.as_bytes(), round.deadline);
        match &result {
            Ok(()) => {
                round.sent.packets.fetch_add(1, Ordering::Relaxed);
                round.sent.bytes.fetch_add(self.packet.len() as u64, Ordering::Relaxed);
                let samples = samples_in(&self.held);
                round.aggregate.buffer.release(samples.places);
                if round.wire.is_certain() {
                    self.heard = true;
                    self.held.clear();
                } else {
                    self.awaits_refusal = true;
                    self.samples_in_doubt += samples.values;
                    self.in_doubt
                        .extend(self.held.drain(..).filter(|held| !matches!(held.taken, Taken::Sample { .. })));
                }
            }
            Err(error) => {
                round.sent.packets_failed.fetch_add(1, Ordering::Relaxed);
                self.awaits_refusal = false;
                put_back(&mut self.held, round.list);
                if is_refusal(error) && !round.wire.is_certain() {
                    self.recall(round);
                }
            }
        }
        self.packet.clear();
        result
    }

    /// Takes the refusal of one packet for the refusal of all since the last check.
    fn recall(&mut self, round: &Round<'_>) {
        put_back(&mut self.in_doubt, round.list);
        // Their places are given away already: keeping them too would double the memory for the rare case.
        let samples = std::mem::take(&mut self.samples_in_doubt);
        round.aggregate.buffer.dropped.fetch_add(samples, Ordering::Relaxed);
    }
}

/// The buffer places of samples, and the reported values they stand for.
#[derive(Default)]
struct Samples {
    places: usize,
    values: u64,
}

fn samples_in(held: &[InPacket]) -> Samples {
    held.iter().fold(Samples::default(), |sum, held| match held.taken {
        Taken::Sample { weight, .. } => Samples { places: sum.places + 1, values: sum.values + weight },
        Taken::Delta(_) | Taken::Gauge => sum,
    })
}

fn put_back(held: &mut Vec<InPacket>, list: &[Arc<Series>]) {
    for InPacket { series, taken } in held.drain(..) {
        match (&list[series].state, taken) {
            (State::Counter(sum), Taken::Delta(delta)) => sum.restore(delta),
            (State::Gauge(value), Taken::Gauge) => value.restore(),
            (_, Taken::Sample { value, weight }) => list[series].restore_sample(value, weight),
            (_, Taken::Delta(_) | Taken::Gauge) => {}
        }
    }
}
