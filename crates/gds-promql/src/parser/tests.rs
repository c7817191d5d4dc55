use super::*;
use crate::ast::{DurationKind, ValueType};

fn parsed(text: &str) -> Expr {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn printed(text: &str) -> String {
    parsed(text).to_string()
}

fn error(text: &str) -> String {
    parse(text).map_or_else(|error| error.to_string(), |expr| panic!("{text} is {expr}"))
}

#[test]
fn operators_bind_as_in_arithmetic() {
    for (text, grouped) in [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("a or b and c unless d", "a or ((b and c) unless d)"),
        ("a - b - c", "(a - b) - c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ -b ^ c", "a ^ (-(b ^ c))"),
        ("a == b + c", "a == (b + c)"),
        ("a atan2 b % c", "(a atan2 b) % c"),
        ("a < b >/ 1", "(a < b) >/ 1"),
    ] {
        assert_eq!(shape(&parsed(text)), shape(&parsed(grouped)), "{text}");
    }
}

/// The tree with a pair of parentheses around each operation and none else.
fn shape(expr: &Expr) -> String {
    match &expr.unparenthesized().kind {
        ExprKind::Binary(binary) => format!("({} {} {})", shape(&binary.lhs), binary.op.text(), shape(&binary.rhs)),
        ExprKind::Unary(unary) => format!("(-{})", shape(&unary.expr)),
        _ => expr.unparenthesized().to_string(),
    }
}

#[test]
fn a_sign_is_part_of_a_number_and_binds_less_than_a_power() {
    assert!(matches!(parsed("-1").kind, ExprKind::Number(Number { value: -1.0, duration: false })));
    assert!(matches!(parsed("-5m").kind, ExprKind::Number(Number { value: -300.0, duration: true })));
    assert!(matches!(parsed("-2 ^ 2").kind, ExprKind::Unary(_)));
    assert_eq!(parsed("- +1").span, Span::new(0, 4));
}

#[test]
fn each_node_knows_where_it_stands() {
    let text = " sum by (job) ( rate( up{job=\"é\"}[5m] offset 1m ) ) / 2 ";
    let ExprKind::Binary(division) = parsed(text).kind else { panic!() };
    let at = |expr: &Expr| &text[expr.span.start..expr.span.end];
    assert_eq!(at(&division.lhs), "sum by (job) ( rate( up{job=\"é\"}[5m] offset 1m ) )");
    assert_eq!(at(&division.rhs), "2");
    let ExprKind::Aggregate(sum) = &division.lhs.kind else { panic!() };
    let ExprKind::Call(rate) = &sum.expr.kind else { panic!() };
    assert_eq!(at(&sum.expr), "rate( up{job=\"é\"}[5m] offset 1m )");
    assert_eq!(at(&rate.args[0]), "up{job=\"é\"}[5m] offset 1m");
    let ExprKind::Matrix(matrix) = &rate.args[0].kind else { panic!() };
    assert_eq!(&text[matrix.selector_span.start..matrix.selector_span.end], "up{job=\"é\"}");
    assert_eq!(&text[matrix.range.span.start..matrix.range.span.end], "5m");
}

#[test]
fn words_with_a_meaning_are_names_of_metrics_too() {
    for name in ["sum", "by", "offset", "and", "start", "fill", "limit_ratio", "anchored", "min_of", "Sum", "a:b"] {
        let ExprKind::Vector(selector) = parsed(name).kind else { panic!("{name}") };
        assert_eq!(selector.name.as_deref(), Some(name));
    }
    assert_eq!(printed("sum by (by, sum, offset) (by)"), "sum by (by, sum, offset) (by)");
    assert_eq!(printed("SUM(X) BY (a)"), "sum by (a) (X)");
}

#[test]
fn names_that_are_no_words_stand_in_quotes() {
    assert_eq!(printed("{'a metric', \"b.c\"='d'}"), "{\"b.c\"=\"d\",__name__=\"a metric\"}");
    assert_eq!(printed("sum by ('a b', c) (x)"), "sum by (\"a b\", c) (x)");
}

#[test]
fn an_offset_without_parentheses_is_one_number() {
    assert_eq!(shape(&parsed("x offset 100 + 2")), "(x offset 1m40s + 2)");
    assert_eq!(shape(&parsed("x offset -2 ^ 2")), "(x offset -2s ^ 2)");
    assert_eq!(shape(&parsed("x offset -step() * 2")), "(x offset -step() * 2)");
    assert_eq!(shape(&parsed("x offset min_of(step(), 1s) ^ 0")), "(x offset min_of(step(), 1s) ^ 0)");
    assert_eq!(shape(&parsed("x offset -(5m) + 2")), "(x offset -(5m) + 2)");
    assert_eq!(printed("x offset (100 + 2)"), "x offset (100 + 2)");
    assert_eq!(printed("x offset +(5*2)"), "x offset (5 * 2)");
}

#[test]
fn durations_are_computed() {
    assert_eq!(printed("foo[200-min_of(-step()^+step(),1)]"), "foo[200 - min_of(-step() ^ step(), 1)]");
    assert_eq!(printed("foo[300:]"), "foo[5m:]");
    assert_eq!(printed("foo[STEP() + 1ms : range()/2]"), "foo[step() + 1ms:range() / 2]");
    let ExprKind::Matrix(matrix) = parsed("foo[-1 ^ 2 + 3]").kind else { panic!() };
    assert!(matches!(matrix.range.kind, DurationKind::Binary(BinaryOp::Add, ..)));
}

#[test]
fn modifiers_belong_to_what_they_follow() {
    for text in [
        "x @ 1.500 offset -5m",
        "x[5m] anchored @ start() offset step()",
        "x smoothed",
        "rate(x[5m])[1h:1m] @ end() offset 1w",
        "info(x, {job=\"a\"})",
        "info(x, {})",
        "a == bool on (x) group_left (y) fill_left (-1) fill_right (Inf) b",
        "a * ignoring () group_right () b",
        "a + fill (0) b",
        "count_values(\"a\\xc5z\", version)",
        "topk by (a) (3, x)",
        "histogram_quantiles(x, \"q\", 0.5, 0.9)",
    ] {
        assert_eq!(printed(text), text);
    }
    assert_eq!(printed("Inf ^ x"), "Inf ^ x");
    assert_eq!(printed("x offset 5m @ 1"), "x @ 1.000 offset 5m");
    assert_eq!(printed("a + fill_right(1) fill_left(1) b"), "a + fill (1) b");
}

#[test]
fn long_expressions_are_split() {
    let long = "sum by (job) (rate(requests_total{job=\"api\"}[5m])) / on (job) group_left () sum(rate(all_requests_total[5m])) > bool 3";
    assert_eq!(
        crate::printer::pretty(&parsed(long)),
        "    sum by (job) (rate(requests_total{job=\"api\"}[5m]))\n  / on (job) group_left ()\n    \
         sum(rate(all_requests_total[5m]))\n> bool\n  3"
    );
    assert_eq!(crate::printer::pretty(&parsed("sum(x)")), "sum(x)");
    let inner = "a".repeat(100);
    assert_eq!(
        crate::printer::pretty(&parsed(&format!("topk(1, abs(-{inner}))"))),
        format!("topk(\n  1,\n  abs(\n    -{inner}\n  )\n)")
    );
}

#[test]
fn syntax_errors_say_where_and_what_was_expected() {
    for (text, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("# only a comment", "1:17: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input, expected an expression"),
        ("sum(x) bye (job)", "1:8: parse error: unexpected identifier \"bye\", did you mean \"by\"?"),
        ("a\n  + ratee(x[5m])", "2:5: parse error: unknown function with name \"ratee\", did you mean \"rate\"?"),
        ("nonsense(x)", "1:1: parse error: unknown function with name \"nonsense\""),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("1)", "1:2: parse error: unexpected right parenthesis ')'"),
        ("x{a=b}", "1:5: parse error: unexpected identifier \"b\" in label matching, expected string"),
        ("x{a}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("x{a='b' c='d'}", "1:9: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\""),
        ("x{a=~'['}", "1:3: parse error: invalid regular expression: "),
        ("x{a='\\xff'}", "1:5: parse error: names and values of labels are UTF-8, this text is not"),
        ("'\\q'", "1:1: parse error: error unquoting string \"'\\\\q'\": invalid syntax"),
        ("x[5m", "1:5: parse error: unclosed left bracket"),
        (
            "x[]",
            "1:3: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("x[0]", "1:3: parse error: duration must be greater than 0"),
        ("x[1m1h]", "1:3: parse error: not a valid duration string: \"1m1h\""),
        ("x[1/0]", "1:4: parse error: division by zero"),
        (
            "x offset y",
            "1:10: parse error: unexpected identifier \"y\" in offset, expected number, duration, step(), or range()",
        ),
        ("x offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
        ("1 offset 1m", "1:1: parse error: offset modifier must be preceded by"),
        ("x @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("x @ y", "1:5: parse error: unexpected identifier \"y\" in @, expected timestamp"),
        ("x @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: inf"),
        ("x offset 1m[5m]", "1:12: parse error: no offset modifiers allowed before range"),
        ("sum(x)[5m]", "1:7: parse error: ranges only allowed for vector selectors"),
        ("x anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("x[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("topk(x)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("sum by x (y)", "1:8: parse error: unexpected identifier \"x\" in grouping opts, expected \"(\""),
        ("rate(x[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("a + group_left b", "1:5: parse error: unexpected <group_left>, expected an expression"),
        ("1e400", "1:1: parse error: error parsing number: \"1e400\" is out of range"),
        ("a ! b", "1:3: parse error: unexpected character after '!': ' '"),
        ("ä", "1:1: parse error: unexpected character: 'ä'"),
    ] {
        let found = error(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn types_are_checked() {
    for (text, expected) in [
        ("rate(x)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("rate(x[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"),
        ("label_join(x, 'a')", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"),
        ("round(x, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        ("topk('a', x)", "1:6: parse error: expected type scalar in aggregation parameter, got string"),
        ("1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("a + 'b'", "1:5: parse error: binary expression must contain only scalar and instant vector types"),
        ("a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("a and on (x) group_left () b", "1:1: parse error: no grouping allowed for \"and\" operation"),
        ("a or fill (1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("1 + on (x) a", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("a + on (x) group_left (x) b", "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once"),
        (
            "-x[5m]",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
        ("1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~'.*'}[5m]", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("a{__name__='b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("info(x, y)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        ("info(x, -{})", "1:9: parse error: expected label selectors only"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn matching_is_there_between_vectors_only() {
    let matching = |text| match parsed(text).kind {
        ExprKind::Binary(binary) => binary.matching,
        kind => panic!("{kind:?}"),
    };
    assert_eq!(matching("1 + on () a"), None);
    assert_eq!(matching("a or b").unwrap().cardinality, Cardinality::ManyToMany);
    assert!(matching("a + on () b").unwrap().on);
}

#[test]
fn selectors_are_parsed_alone() {
    let matchers = parse_selector("up{job!=\"api\"}").unwrap();
    assert_eq!(matchers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["job!=\"api\"", "__name__=\"up\""]);
    assert!(parse_selector("up + 1").is_err());
    assert!(parse_selector("{}").is_err());
}

#[test]
fn what_is_too_deep_is_refused_and_what_is_not_needs_little_stack() {
    let nested = |count: usize, before: &str, middle: &str, after: &str| {
        format!("{}{middle}{}", before.repeat(count), after.repeat(count))
    };
    let within = [
        nested(95, "(", "1", ")"),
        nested(95, "abs(", "x", ")"),
        nested(48, "- -", "x", ""),
        nested(48, "sum((", "x", "))"),
        format!("x{}", "+x".repeat(240)),
        format!("x{}", "^x".repeat(95)),
        format!("x[{}]", nested(48, "(1+", "5m", ")")),
    ];
    for text in within {
        let expr = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parse(&expr.to_string()).unwrap().to_string(), expr.to_string());
    }
    for text in [
        nested(100_000, "(", "1", ")"),
        nested(100_000, "abs(", "x", ")"),
        nested(100_000, "-", "x", ""),
        format!("x{}", "+x".repeat(100_000)),
        format!("x{}", "^x".repeat(100_000)),
        format!("x[{}]", nested(100_000, "(1+", "5m", ")")),
        format!("x[1{}]", "+1".repeat(100_000)),
        format!("x[{}1]", "-".repeat(100_000)),
        nested(90, "(", &format!("x{}", "+x".repeat(200)), ")"),
    ] {
        let error = error(&text);
        assert!(error.contains("one inside the other are more than"), "{error}");
    }
}

#[test]
fn the_type_of_an_expression_is_known() {
    for (text, expected) in [
        ("1 + 1", ValueType::Scalar),
        ("'a'", ValueType::String),
        ("x + 1", ValueType::Vector),
        ("(x[5m])", ValueType::Matrix),
        ("x[5m:1m]", ValueType::Matrix),
        ("time()", ValueType::Scalar),
        ("-sum(x)", ValueType::Vector),
    ] {
        assert_eq!(parsed(text).value_type(), expected, "{text}");
    }
}
