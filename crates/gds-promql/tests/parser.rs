//! The parser on generated texts: what it prints it reads again, another parser agrees where it can, and no bytes make it
//! panic.

use gds_promql::ast::{DurationExpr, Expr, ExprKind, Span};
use gds_promql::parser::{parse, parse_selector};
use gds_promql::printer::pretty;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// What a text may hold.
#[derive(Clone, Copy, PartialEq)]
enum Language {
    /// What both parsers know.
    Common,
    Whole,
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn selector() -> impl Strategy<Value = String> + Clone {
    let matcher = (
        one_of(&["job", "le", "by", "__name__"]),
        one_of(&["=", "!=", "=~", "!~"]),
        one_of(&["a", "b|c", "x.+", "\\\\d"]),
    )
        .prop_map(|(name, op, value)| format!("{name}{op}\"{value}\""));
    let matchers = prop::collection::vec(matcher, 0..3).prop_map(|matchers| matchers.join(","));
    (one_of(&["up", "http_total", "a:b:c", "sum", "offset_x", "{job=\"x\"}"]), matchers).prop_map(|(name, matchers)| {
        if name.starts_with('{') { format!("{{job=\"x\",{matchers}}}") } else { format!("{name}{{{matchers}}}") }
    })
}

fn duration(language: Language) -> BoxedStrategy<String> {
    let plain = one_of(&["5m", "1h30m", "90s", "1w", "200ms"]);
    if language == Language::Common {
        return plain.boxed();
    }
    let leaf = prop_oneof![plain, one_of(&["300", "1.5", "step()", "range()", "-(5)"])];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), one_of(&["+", "-", "*", "/", "%", "^"]), inner.clone())
                .prop_map(|(lhs, op, rhs)| format!("{lhs} {op} {rhs}")),
            (one_of(&["min_of", "max_of"]), inner.clone(), inner.clone())
                .prop_map(|(name, lhs, rhs)| format!("{name}({lhs},{rhs})")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.prop_map(|inner| format!("-{inner}")),
        ]
    })
    .boxed()
}

fn modifiers(language: Language) -> BoxedStrategy<String> {
    let common = one_of(&["", "", " offset 5m", " offset -1h", " @ 1600000000", " @ start()", " @ end() offset 1d"]);
    if language == Language::Common {
        return common.boxed();
    }
    let offset = duration(language).prop_map(|duration| format!(" offset ({duration})"));
    prop_oneof![common, offset, one_of(&[" anchored", " smoothed offset step()", " offset 1.5", " @ -1.5"])].boxed()
}

fn scalar(language: Language) -> BoxedStrategy<String> {
    let common = one_of(&["1", "2.5", "-1", "1e3", "0x1F", "time()", "NaN", "Inf", "-Inf", "(1)"]);
    if language == Language::Common {
        return common.boxed();
    }
    prop_oneof![common, one_of(&["5m", "-1h", "1_000", "017", "step()", "max_of(1, 2)", "- -1", "+(1)"])].boxed()
}

fn matching(language: Language) -> BoxedStrategy<String> {
    let common = one_of(&[
        "",
        "",
        "on (job)",
        "ignoring (job, le)",
        "on (job) group_left",
        "on (job) group_left (le)",
        "ignoring (job) group_right ()",
    ]);
    if language == Language::Common {
        return common.boxed();
    }
    let fill = one_of(&["", "fill(0)", "fill_left(-1)", "fill_right (NaN) fill_left(Inf)"]);
    (common, fill).prop_map(|(matching, fill)| format!("{matching} {fill}")).boxed()
}

fn vector(language: Language) -> BoxedStrategy<String> {
    let whole = language == Language::Whole;
    let leaf = (selector(), modifiers(language)).prop_map(|(selector, modifiers)| selector + &modifiers);
    let rated =
        (one_of(&["rate", "sum_over_time", "changes", "deriv"]), selector(), duration(language), modifiers(language))
            .prop_map(|(function, selector, duration, modifiers)| {
                format!("{function}({selector}[{duration}]{modifiers})")
            });
    let operators: &'static [&'static str] = if whole {
        &["+", "-", "*", "/", "%", "^", "atan2", "==", "!= bool", "<", ">= bool", "</", ">/"]
    } else {
        &["+", "-", "*", "/", "%", "^", "atan2", "==", "!= bool", "<", ">= bool"]
    };
    let aggregations: &'static [&'static str] =
        &["sum", "avg by (job)", "max without (job, le)", "count by ()", "STDDEV", "group By (le)"];
    prop_oneof![leaf, rated]
        .prop_recursive(4, 24, 3, move |inner| {
            let subquery = (inner.clone(), duration(language), prop_oneof![Just(String::new()), duration(language)])
                .prop_map(|(inner, range, step)| format!("max_over_time(({inner})[{range}:{step}])"));
            prop_oneof![
                (one_of(aggregations), inner.clone()).prop_map(|(op, inner)| format!("{op} ({inner})")),
                (one_of(&["topk", "bottomk", "quantile", "limitk"]), scalar(language), inner.clone())
                    .prop_map(|(op, param, inner)| format!("{op}({param}, {inner}) by (job)")),
                (one_of(&["abs", "ceil", "sort_desc", "absent", "timestamp"]), inner.clone())
                    .prop_map(|(function, inner)| format!("{function}({inner})")),
                subquery,
                (inner.clone(), one_of(operators), matching(language), inner.clone())
                    .prop_map(|(lhs, op, matching, rhs)| format!("{lhs} {op} {matching} {rhs}")),
                (inner.clone(), one_of(&["and", "or", "unless", "and on (job)", "OR ignoring()"]), inner.clone())
                    .prop_map(|(lhs, op, rhs)| format!("{lhs} {op} {rhs}")),
                (inner.clone(), one_of(operators), scalar(language))
                    .prop_map(|(lhs, op, rhs)| format!("{lhs} {op} {rhs}")),
                (scalar(language), one_of(operators), inner.clone())
                    .prop_map(|(lhs, op, rhs)| format!("{lhs} {op} {rhs}")),
                inner.clone().prop_map(|inner| format!("({inner})")),
                inner.prop_map(|inner| format!("-{inner}")),
            ]
        })
        .boxed()
}

/// The same tree with all spans at nothing and the matchers sorted, as text: NaN is equal to itself there.
fn bare(mut expr: Expr) -> String {
    fn duration(expr: &mut DurationExpr) {
        use gds_promql::ast::DurationKind::{Binary, MaxOf, MinOf, Negated, Number, Paren, Range, Step};
        expr.span = Span::default();
        match &mut expr.kind {
            Number(_) | Step | Range => {}
            MinOf(first, second) | MaxOf(first, second) | Binary(_, first, second) => {
                duration(first);
                duration(second);
            }
            Negated(inner) | Paren(inner) => duration(inner),
        }
    }
    fn strip(expr: &mut Expr) {
        expr.span = Span::default();
        let selector = |selector: &mut gds_promql::ast::VectorSelector| {
            selector.matchers.sort_by_key(ToString::to_string);
            selector.offset.iter_mut().for_each(duration);
        };
        match &mut expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(vector) => selector(vector),
            ExprKind::Matrix(matrix) => {
                matrix.selector_span = Span::default();
                duration(&mut matrix.range);
                selector(&mut matrix.selector);
            }
            ExprKind::Subquery(subquery) => {
                duration(&mut subquery.range);
                subquery.step.iter_mut().chain(&mut subquery.offset).for_each(duration);
                strip(&mut subquery.expr);
            }
            ExprKind::Paren(inner) => strip(inner),
            ExprKind::Unary(unary) => strip(&mut unary.expr),
            ExprKind::Binary(binary) => {
                strip(&mut binary.lhs);
                strip(&mut binary.rhs);
            }
            ExprKind::Aggregate(aggregate) => {
                aggregate.param.iter_mut().for_each(|param| strip(param));
                strip(&mut aggregate.expr);
            }
            ExprKind::Call(call) => call.args.iter_mut().for_each(strip),
        }
    }
    strip(&mut expr);
    format!("{expr:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_the_same_expression(text in vector(Language::Whole)) {
        let Ok(expr) = parse(&text) else { return Ok(()) };
        let line = expr.to_string();
        let again = parse(&line).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
        prop_assert_eq!(bare(expr.clone()), bare(again));
        let lines = pretty(&expr);
        let again = parse(&lines).map_err(|error| TestCaseError::fail(format!("{lines}: {error}")))?;
        prop_assert_eq!(bare(expr), bare(again));
    }

    #[test]
    fn another_parser_reads_the_same(text in vector(Language::Common)) {
        let theirs = promql_parser::parser::parse(&text);
        match (parse(&text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                let theirs = theirs.to_string();
                let read = parse(&theirs).map_err(|error| TestCaseError::fail(format!("{theirs}: {error}")))?;
                prop_assert_eq!(ours.to_string(), read.to_string());
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{}: {:?}, the other parser: {:?}", text, ours, theirs),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse_selector(&text);
    }

    #[test]
    fn no_row_of_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..30), joined in any::<bool>()) {
        let text = words.join(if joined { "" } else { " " });
        if let Ok(expr) = parse(&text) {
            let line = expr.to_string();
            prop_assert_eq!(parse(&line).map(bare), Ok(bare(expr)), "{}", line);
        }
        let _ = parse_selector(&text);
    }
}

#[test]
fn most_generated_texts_are_queries() {
    let mut runner = TestRunner::deterministic();
    for language in [Language::Common, Language::Whole] {
        let texts = vector(language);
        let count = (0..200).filter(|_| parse(&texts.new_tree(&mut runner).unwrap().current()).is_ok()).count();
        assert!(count > 100, "{count} of 200");
    }
}

const WORDS: &[&str] = &[
    "x",
    "sum",
    "rate",
    "by",
    "on",
    "offset",
    "@",
    "start",
    "end",
    "step",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    "<",
    ">",
    "</",
    ">/",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "1",
    "5m",
    "0x",
    "1e",
    ".",
    "\"a\"",
    "'",
    "`b`",
    "\\",
    "#",
    "\n",
    "é",
    "bool",
    "fill",
    "group_left",
    "anchored",
    "smoothed",
    "unless",
    "min_of",
    "inf",
    "nan",
    "()",
    "(x)",
    "[5m]",
    "[5m:]",
    "(5m)",
    "(1)",
];
