//! The commands of a script.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::series::{self, SeriesValue};
use crate::duration;
use crate::labels::Labels;
use crate::text::unquote;

/// A command, with the number of its line.
#[derive(Debug)]
pub(super) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
    /// A line that is none, and why.
    Bad(String),
}

/// `load`: series that begin at time zero.
#[derive(Debug)]
pub(super) struct Load {
    /// Milliseconds between the values.
    pub(super) step: i64,
    /// Classic histograms are native ones too.
    pub(super) native: bool,
    pub(super) series: Vec<LoadedSeries>,
}

#[derive(Debug)]
pub(super) struct LoadedSeries {
    pub(super) labels: Labels,
    pub(super) values: Vec<SeriesValue>,
    /// Milliseconds from the time of each value back to when what it counts began, where that is said.
    pub(super) starts: Vec<Option<i64>>,
}

/// `eval`: a query and what it has to answer.
#[derive(Debug)]
pub(super) struct Eval {
    pub(super) query: String,
    pub(super) range: bool,
    /// Of the range; also those of the expected values, so that an instant query can answer a range vector.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
    pub(super) expected: Expected,
}

/// What an evaluation has to answer.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) fail: Option<Pattern>,
    /// The warnings, where something is said of them: no pattern means that there is to be none.
    pub(super) warn: Option<Vec<Pattern>>,
    /// The infos, likewise.
    pub(super) info: Option<Vec<Pattern>>,
    pub(super) ordered: bool,
    pub(super) text: Option<String>,
    /// Whether the answer of an instant query is a range vector, whose times are those of the evaluation.
    pub(super) range_vector: bool,
    pub(super) scalar: Option<f64>,
    /// Values by their series, and where it stands among the series.
    pub(super) series: BTreeMap<Labels, (usize, Vec<SeriesValue>)>,
}

/// What a message has to be.
#[derive(Debug)]
pub(super) enum Pattern {
    Any,
    Message(String),
    Regex(Regex),
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Message(message) => message == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => out.write_str("any"),
            Self::Message(message) => write!(out, "{message:?}"),
            Self::Regex(regex) => write!(out, "one that matches {:?}", regex.as_str()),
        }
    }
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("it is one"));
    };
}

pattern!(LOAD, r"^load(?:_(with_nhcb))?\s+(.+?)$");
pattern!(INSTANT, r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$");
pattern!(RANGE, r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$");
pattern!(EXPECT, r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$");
pattern!(RANGE_VECTOR, r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$");

/// The commands of a script with the numbers of their lines, counted from one. A command ends at an empty line.
pub(super) fn commands(script: &str) -> Vec<(usize, Command)> {
    let lines: Vec<&str> =
        script.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, number) = (lines[at], at + 1);
        at += 1;
        if line.is_empty() {
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let command = if word == "clear" {
            Command::Clear
        } else {
            let block = &lines[at..];
            let block = &block[..block.iter().position(|line| line.is_empty()).unwrap_or(block.len())];
            // A block may be directly followed by the next command, where its own lines end by their number.
            let taken;
            let command = if word.starts_with("load") {
                taken = block.len();
                load(line, block).map(Command::Load)
            } else if word.starts_with("eval") {
                let read = eval(line, block);
                taken = read.as_ref().map_or(block.len(), |(_, taken)| *taken);
                read.map(|(eval, _)| Command::Eval(Box::new(eval)))
            } else {
                taken = 0;
                Err(format!("invalid command {line:?}"))
            };
            at += taken;
            command.unwrap_or_else(Command::Bad)
        };
        commands.push((number, command));
    }
    commands
}

fn milliseconds(what: &str, text: &str) -> Result<i64, String> {
    duration::parse(text).map_err(|error| format!("invalid {what} definition {text:?}: {error}"))
}

// ------------------------------------------------------------------ load
fn load(line: &str, block: &[&str]) -> Result<Load, String> {
    let parts = LOAD.captures(line).ok_or("invalid load command. (load[_with_nhcb] <step:duration>)")?;
    let step = milliseconds("step", &parts[2])?;
    let mut series: Vec<LoadedSeries> = Vec::new();
    let mut pending: Option<(Labels, Vec<Option<i64>>)> = None;
    for line in block {
        if let Some((metric, starts)) = split_starts(line) {
            if pending.is_some() {
                return Err("@st line has no following sample line".to_owned());
            }
            let (labels, _) = series::parse(&format!("{metric} _"))?;
            pending = Some((labels, starts_of(starts)?));
            continue;
        }
        let (labels, values) = series::parse(line)?;
        let starts = match pending.take() {
            None => Vec::new(),
            Some((metric, _)) if metric != labels => {
                return Err("@st metric does not match the following sample line metric".to_owned());
            }
            Some((_, starts)) if starts.len() != values.len() => {
                return Err(format!("@st line has {} values but sample line has {}", starts.len(), values.len()));
            }
            Some((_, starts)) => starts,
        };
        // Of a series that stands there twice the last line counts.
        series.retain(|other| other.labels != labels);
        series.push(LoadedSeries { labels, values, starts });
    }
    if pending.is_some() {
        return Err("@st line has no following sample line".to_owned());
    }
    Ok(Load { step, native: parts.get(1).is_some(), series })
}

/// The metric and the values of a line with start times, `x{a="b"}@st -1m 0s`.
fn split_starts(line: &str) -> Option<(&str, &str)> {
    let (first, rest) = line.split_once([' ', '\t'])?;
    Some((first.strip_suffix("@st")?, rest))
}

fn starts_of(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut starts = Vec::new();
    for item in text.split_whitespace() {
        let bad = |why: &str| format!("invalid @st sequence: {item:?}: {why}");
        let count = |text: &str| {
            text.parse::<usize>().ok().filter(|count| *count <= 1_000_000).ok_or_else(|| bad("invalid repeat count"))
        };
        if item == "_" {
            starts.push(None);
        } else if let Some(times) = item.strip_prefix("_x") {
            starts.extend(std::iter::repeat_n(None, count(times)?));
        } else {
            let (mut start, rest) = signed_duration(item).map_err(|why| bad(&why))?;
            let (step, times) = match rest.chars().next() {
                None => (0, 0),
                Some('x') => (0, count(&rest[1..])?),
                Some(_) => {
                    let (step, rest) = signed_duration(rest).map_err(|why| bad(&why))?;
                    let times = rest.strip_prefix('x').ok_or_else(|| bad("expected 'x<count>' after step duration"))?;
                    (step, count(times)?)
                }
            };
            for _ in 0..=times {
                starts.push(Some(start));
                start += step;
            }
        }
    }
    Ok(starts)
}

/// The duration in front of a text, maybe with a sign, and what follows it.
fn signed_duration(text: &str) -> Result<(i64, &str), String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.find(|char: char| !char.is_ascii_digit()).unwrap_or(unsigned.len());
    let unit = unsigned[digits..]
        .find(|char: char| !char.is_ascii_alphabetic() || char == 'x')
        .map_or(unsigned.len(), |length| digits + length);
    let milliseconds = duration::parse(&unsigned[..unit]).map_err(|error| error.to_string())?;
    Ok((if text.starts_with('-') { -milliseconds } else { milliseconds }, &unsigned[unit..]))
}

// ------------------------------------------------------------------ eval
/// An evaluation and how many lines of the block it takes.
fn eval(line: &str, block: &[&str]) -> Result<(Eval, usize), String> {
    let (mut eval, modifier) = head(line)?;
    match modifier.as_deref() {
        Some("fail") => eval.expected.fail = Some(Pattern::Any),
        Some("warn") => eval.expected.warn = Some(vec![Pattern::Any]),
        Some("info") => eval.expected.info = Some(vec![Pattern::Any]),
        Some(_) => eval.expected.ordered = true,
        None => {}
    }
    let mut position = 0;
    for (index, line) in block.iter().enumerate() {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            eval.expected.fail = Some(Pattern::Message(message.trim().to_owned()));
            return Ok((eval, index + 1));
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            eval.expected.fail = Some(regex(pattern.trim())?);
            return Ok((eval, index + 1));
        }
        if line.starts_with("expect range vector") {
            let parts =
                RANGE_VECTOR.captures(line).ok_or_else(|| format!("invalid range vector definition {line:?}"))?;
            (eval.start, eval.end, eval.step) = times(&parts[1], &parts[2], &parts[3])?;
            eval.expected.range_vector = true;
        } else if let Some(text) = line.strip_prefix("expect string") {
            let text = unquote(text.trim()).and_then(|text| String::from_utf8(text).ok());
            eval.expected.text = Some(text.ok_or("expected string literal not valid - it has to be quoted")?);
        } else if line.split_whitespace().next() == Some("expect") {
            eval.expected.line(line)?;
        } else if let Some(number) = number(line) {
            eval.expected.scalar = Some(number);
            return Ok((eval, index + 1));
        } else {
            let (labels, values) = series::parse(line)?;
            if values.len() > 1 && !eval.range && !eval.expected.range_vector {
                return Err("expecting multiple values in instant evaluation not allowed".to_owned());
            }
            position += 1;
            eval.expected.series.insert(labels, (position, values));
        }
    }
    Ok((eval, block.len()))
}

/// The query and its times, and the modifier of the command that older scripts have.
fn head(line: &str) -> Result<(Eval, Option<String>), String> {
    let modifier = |parts: &regex::Captures<'_>| parts.get(1).map(|modifier| modifier.as_str().to_owned());
    let expected = Expected::default();
    if let Some(parts) = INSTANT.captures(line) {
        let at = milliseconds("timestamp", parts.get(2).map_or("", |at| at.as_str()))?;
        let eval = Eval { query: parts[3].to_owned(), range: false, start: at, end: at, step: 0, expected };
        return Ok((eval, modifier(&parts)));
    }
    let parts = RANGE.captures(line).ok_or("invalid evaluation command")?;
    let (start, end, step) = times(&parts[2], &parts[3], &parts[4])?;
    Ok((Eval { query: parts[5].to_owned(), range: true, start, end, step, expected }, modifier(&parts)))
}

fn times(from: &str, to: &str, step: &str) -> Result<(i64, i64, i64), String> {
    let (start, end) = (milliseconds("start timestamp", from)?, milliseconds("end timestamp", to)?);
    if end < start {
        return Err(format!("invalid test definition, end timestamp ({to}) is before start timestamp ({from})"));
    }
    Ok((start, end, milliseconds("step", step)?))
}

impl Expected {
    /// A line such as `expect warn msg: ...`
    fn line(&mut self, line: &str) -> Result<(), String> {
        let parts = EXPECT
            .captures(line)
            .ok_or("invalid expect statement, must match `expect <type> <match_type>: <string>` format")?;
        let pattern = match (parts.get(2).map(|kind| kind.as_str()), parts.get(3)) {
            (Some("msg"), Some(text)) => Pattern::Message(text.as_str().trim().to_owned()),
            (Some(_), Some(text)) => regex(text.as_str().trim())?,
            _ => Pattern::Any,
        };
        match &parts[1] {
            "ordered" => self.ordered = true,
            "fail" if self.fail.is_some() => {
                return Err("invalid expect lines, multiple expect fail lines are not allowed".to_owned());
            }
            "fail" => self.fail = Some(pattern),
            "warn" => expect(&mut self.warn, pattern)?,
            "info" => expect(&mut self.info, pattern)?,
            "no_warn" => refuse(&mut self.warn)?,
            _ => refuse(&mut self.info)?,
        }
        Ok(())
    }
}

const BOTH: &str = "invalid expect lines, what is expected cannot be refused too";

fn expect(patterns: &mut Option<Vec<Pattern>>, pattern: Pattern) -> Result<(), String> {
    match patterns {
        Some(patterns) if patterns.is_empty() => return Err(BOTH.to_owned()),
        Some(patterns) => patterns.push(pattern),
        None => *patterns = Some(vec![pattern]),
    }
    Ok(())
}

fn refuse(patterns: &mut Option<Vec<Pattern>>) -> Result<(), String> {
    if patterns.get_or_insert_default().is_empty() { Ok(()) } else { Err(BOTH.to_owned()) }
}

fn regex(pattern: &str) -> Result<Pattern, String> {
    Regex::new(pattern).map(Pattern::Regex).map_err(|error| format!("invalid regex {pattern:?}: {error}"))
}

/// A line that is nothing but a number.
fn number(line: &str) -> Option<f64> {
    let unsigned = line.strip_prefix(['-', '+']).unwrap_or(line);
    if !unsigned.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '.') {
        return None;
    }
    let number = crate::lexer::number(unsigned)?;
    Some(if line.starts_with('-') { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_commands() {
        let script = "# comment\nclear\nload 5m\n  x 1 2\n  y@st -1m _ 0s+1sx1\n  y 1 2 3 4\n\n\
                      eval instant at 1m sum(x)\n  expect no_warn\n  expect info regex: a.c\n  {} 3\n\n\
                      eval range from 0 to 10m step 5m x > 1\n  x _ 2\n\neval instant at 0 1\n1\nclear\nhuh\n";
        let commands = commands(script);
        let numbers: Vec<usize> = commands.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 8, 13, 16, 18, 19]);
        let Command::Load(load) = &commands[1].1 else { panic!() };
        assert_eq!((load.step, load.native, load.series.len()), (300_000, false, 2));
        assert_eq!(load.series[1].starts, [Some(-60_000), None, Some(0), Some(1_000)]);
        let Command::Eval(eval) = &commands[2].1 else { panic!() };
        assert_eq!((eval.query.as_str(), eval.start, eval.range), ("sum(x)", 60_000, false));
        assert!(eval.expected.warn.as_ref().is_some_and(Vec::is_empty));
        assert!(eval.expected.info.as_ref().is_some_and(|info| info[0].matches("xabcx")));
        let Command::Eval(eval) = &commands[3].1 else { panic!() };
        assert_eq!((eval.start, eval.end, eval.step, eval.range), (0, 600_000, 300_000, true));
        assert!(matches!(&commands[6].1, Command::Bad(why) if why.contains("huh")));
    }

    #[test]
    fn what_scripts_expected_before_is_read_too() {
        let read = commands(
            "eval_fail instant at 0 x\n  expected_fail_message no x\n\neval_ordered instant at 0 sort(x)\n  b 1\n  a 2\n",
        );
        let Command::Eval(eval) = &read[0].1 else { panic!() };
        assert!(eval.expected.fail.as_ref().is_some_and(|fail| fail.matches("no x") && !fail.matches("no xy")));
        let Command::Eval(eval) = &read[1].1 else { panic!() };
        assert!(eval.expected.ordered);
        assert_eq!(eval.expected.series.values().map(|(position, _)| *position).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_is_no_command_says_why() {
        for (text, why) in [
            ("load 5\n x 1", "invalid step definition"),
            ("load 5m\n x@st 0s\n", "@st line has no following sample line"),
            ("load 5m\n x@st 0s 0s\n x 1\n", "@st line has 2 values but sample line has 1"),
            ("eval instant x", "invalid evaluation command"),
            ("eval instant at x y", "invalid timestamp definition"),
            ("eval instant at 0 x\n x 1 2", "multiple values"),
            ("eval range from 1m to 0 step 1m x", "is before start"),
            ("eval instant at 0 x\n expect huh", "invalid expect statement"),
            ("eval instant at 0 x\n expect warn\n expect no_warn", "cannot be refused too"),
        ] {
            let read = commands(text);
            assert!(matches!(&read[0].1, Command::Bad(found) if found.contains(why)), "{text}: {read:?}");
        }
    }
}
