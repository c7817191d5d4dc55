//! Whatever a file or an expression says, it is taken or refused with a place, a key and what to do; nothing panics.

use gds_alerting::expression::Expression;
use gds_alerting::problem::Problems;
use gds_alerting::rules::Rules;
use gds_alerting::sample::Sample;
use proptest::prelude::*;

const FILE: &str = include_str!("cases/rules/of_a_user.yaml");

fn refused_with_its_place(text: &str, problems: &Problems) {
    assert!(!problems.0.is_empty(), "refused without a reason:\n{text}");
    for problem in &problems.0 {
        assert!(problem.line >= 1 && problem.line <= text.lines().count() + 1, "{problem}\n{text}");
        assert!(problem.column >= 1 && problem.message.len() > 4, "{problem}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_its_key_and_a_remedy() {
    for (from, to, said) in [
        ("version: 1", "version: 2", "2:10: version: 2 is not known; expected 1"),
        ("threshold:", "treshold:", "rules[0].treshold: unknown key `treshold`; did you mean `threshold`?"),
        (
            "value: 85, for: 5m",
            "value: 85, for: 5 minutes",
            "rules[0].threshold.for: 5 minutes is wrong here; expected a duration",
        ),
        ("value: 85, for", "value: high, for", "rules[0].threshold.value: high is wrong here; expected a number"),
        (
            "op: \">\"",
            "op: \"=>\"",
            "rules[0].threshold.op: \"=>\" is wrong here; expected one of >, >=, <, <=, ==, !=, inside, outside",
        ),
        (
            "tags.environment == \"production\"",
            "environment == \"production\"",
            "31:13: rules[0].filter: unknown name `environment`; a tag is written `tags.environment`",
        ),
        ("objective: 99.9", "objective: 100", "100 is no objective"),
        ("short_window: 5m", "short_window: 5h", "not shorter than `long_window`"),
        ("- id: cpu_high", "- id: availability_fast_burn", "is there twice"),
        (
            "suppress_if: availability_fast_burn",
            "suppress_if: availability_fast",
            "there is no rule `availability_fast`; did you mean `availability_fast_burn`?",
        ),
        ("channel: pagerduty-dba", "channel: pagerduty", "there is no channel `pagerduty`"),
        ("type: email", "type: emial", "unknown type emial; did you mean `email`?"),
        ("type: email, to", "type: email, password: x, to", "credentials do not belong into this file"),
        ("{{ instance_id }}: processor", "{{ instance_id: processor", "no template"),
        (
            "match: {severity: critical, environment",
            "match: ['severity=a', 'severity=b'] #",
            "`severity` is asked for twice",
        ),
        ("metric: cpu_usage", "#", "rules[0].metric: missing; expected the name of a metric"),
        ("threshold: {op: \">\", value: 85, for: 5m}", "#", "rules[0]: no condition; expected one of threshold"),
        (
            "  default_channel:",
            "  heartbeat: {channel: email-dba}\n  default_channel:",
            "channel `email-dba` is of type email; expected one of type webhook or hub",
        ),
        (
            "  default_channel:",
            "  heartbeat: {channel: none}\n  default_channel:",
            "routing.heartbeat.channel: there is no channel `none`",
        ),
        (
            "  default_channel:",
            "  heartbeat: {every: 10ms}\n  default_channel:",
            "routing.heartbeat.channel: missing; expected the name of a channel",
        ),
        ("page: true", "page: yes", "page: yes is wrong here; expected true or false"),
    ] {
        assert!(FILE.contains(from), "{from}");
        let text = FILE.replacen(from, to, 1);
        let problems = Rules::parse(&text).expect_err(to);
        refused_with_its_place(&text, &problems);
        assert!(problems.to_string().contains(said), "{to}:\n{problems}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text = FILE.replace("severity:", "sevrity:");
    let problems = Rules::parse(&text).expect_err("wrong");
    assert!(problems.0.len() >= 4, "{problems}");
    assert!(problems.0.is_sorted_by_key(|problem| problem.line), "{problems}");
}

fn token() -> impl Strategy<Value = String> {
    let words = "value metric instance_id tags tags.a . == != < <= > >= && || ! in matches ( ) [ ] , + - * / 1 0.1 1e9 \
                 1e-30 99999999999999999999999999999999999 \"x\" 'y' \"(\" \"1\" true false and or é { }";
    prop::sample::select(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_are_compiled_or_refused(tokens in prop::collection::vec(token(), 0..14), value in any::<f64>()) {
        let text = tokens.join(" ");
        let sample = Sample { value, ..Sample::default() };
        for compiled in [Expression::condition(&text), Expression::number(&text)] {
            match compiled {
                Ok(expression) => {
                    expression.holds(&sample);
                    expression.evaluate(&sample);
                }
                Err(error) => prop_assert!(error.start + error.length <= text.len(), "{text}: {error:?}"),
            }
        }
    }

    #[test]
    fn any_text_is_an_expression_or_refused(text in "\\PC{0,40}") {
        let _ = Expression::condition(&text);
    }

    #[test]
    fn files_are_taken_or_refused_with_a_place(
        line in 0usize..70,
        change in prop::sample::select(vec!["delete", "twice", "indent", "word", "value"]),
        word in "[-a-z0-9:{}\\[\\],&*!|>\"'#%@ \n]{0,12}",
        at in 0usize..60,
    ) {
        let mut lines: Vec<String> = FILE.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        match change {
            "delete" => drop(lines.remove(line)),
            "twice" => lines.insert(line, lines[line].clone()),
            "indent" => lines[line].insert(0, ' '),
            "word" => {
                let place = lines[line].char_indices().map(|(place, _)| place).nth(at).unwrap_or(lines[line].len());
                lines[line].insert_str(place, &word);
            }
            _ => {
                let key = lines[line].split_once(':').map_or_else(String::new, |(key, _)| key.to_owned());
                lines[line] = format!("{key}: {word}");
            }
        }
        let text = lines.join("\n");
        if let Err(problems) = Rules::parse(&text) {
            refused_with_its_place(&text, &problems);
        }
    }
}
