//! Expressions of rules: `tags.environment == "production" && value > 0`, `(1 - value)`.
//!
//! Compiled once for each rule. Numbers that come as decimal text are compared exactly; a tag that a sample lacks is empty
//! text; what is no number compares with nothing. Nothing fails while a sample is evaluated.

mod ast;
mod error;
mod evaluate;
mod lexer;
mod parser;

use ast::Node;

pub use ast::Type;
pub use error::ExpressionError;

use crate::decimal::Number;
use crate::sample::Sample;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    root: Node,
}

impl Expression {
    /// Compiles a condition, as a `filter` is.
    pub fn condition(text: &str) -> Result<Self, ExpressionError> {
        Self::of_type(text, &[Type::Condition])
    }

    /// Compiles a number, as `evaluate` is.
    pub fn number(text: &str) -> Result<Self, ExpressionError> {
        Self::of_type(text, &[Type::Number, Type::Text])
    }

    fn of_type(text: &str, wanted: &[Type]) -> Result<Self, ExpressionError> {
        let root = parser::parse(text)?;
        if !wanted.contains(&root.kind()) {
            let (found, wanted) = (root.kind().name(), wanted[0].name());
            let message = format!("`{}` is {found}, and {wanted} is needed", text.trim());
            return Err(ExpressionError::new(0, text.len(), message));
        }
        Ok(Self { text: text.to_owned(), root })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is nothing but `value`.
    pub fn is_value(&self) -> bool {
        matches!(self.root, Node::Value)
    }

    /// Whether it gives the same for all samples of a series.
    pub fn is_of_series(&self) -> bool {
        !self.root.uses_value()
    }

    /// Whether a sample meets the condition.
    pub fn holds(&self, sample: &Sample) -> bool {
        evaluate::condition(&self.root, sample)
    }

    /// The number of a sample.
    pub fn evaluate(&self, sample: &Sample) -> Number {
        evaluate::number(&self.root, sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: &str) -> Sample {
        Sample {
            metric: "cpu_usage".to_owned(),
            instance_id: "db-1".to_owned(),
            database_type: "postgresql".to_owned(),
            tags: [("environment", "production"), ("size", "12"), ("a-b", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            value: value.parse().expect("a float"),
            text: Some(value.to_owned()),
            ..Sample::default()
        }
    }

    #[test]
    fn conditions_are_true_or_false() {
        for (text, expected) in [
            (r#"tags.environment == "production""#, true),
            (r#"tags.environment != "production""#, false),
            (r#"tags.nothing == """#, true),
            (r#"tags.nothing != "x" && !(value > 5)"#, true),
            (r#"tags.environment in ["test", "production"]"#, true),
            (r#"tags.environment in ("test",)"#, false),
            (r#"instance_id matches "db-\d+""#, true),
            (r#"instance_id matches "db""#, false),
            ("tags.size > 9", true),
            ("tags.environment > 9", false),
            ("tags.environment != 9", true),
            (r#"tags["a-b"] == 'x' && metric == "cpu_usage""#, true),
            ("value in [1, 5.0]", true),
            ("value >= 5 || database_type == \"x\"", true),
            ("value > 5 || value < 5", false),
            ("value / 0 > 1", false),
            ("-value + 2 * 3 == 1", true),
            ("(value > 1) == true", true),
            ("!!(value == 5)", true),
            (r#"tags.instance_id == "db-1""#, true),
        ] {
            let expression = Expression::condition(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(expression.holds(&sample("5")), expected, "{text}");
        }
    }

    #[test]
    fn numbers_stay_exact() {
        let burnt = Expression::number("(1 - value)").expect("compiles");
        assert_eq!(burnt.evaluate(&sample("0.9856")).to_string(), "0.0144");
        assert!(!Expression::condition("1 - value > 14.4 * 0.001").expect("compiles").holds(&sample("0.9856")));
        assert!(Expression::condition("1 - value > 14.4 * 0.001").expect("compiles").holds(&sample("0.9855")));
    }

    #[test]
    fn what_depends_on_the_series_alone_is_known() {
        assert!(Expression::condition("tags.a == \"b\" && metric != \"c\"").expect("compiles").is_of_series());
        assert!(!Expression::condition("tags.a in [value]").expect("compiles").is_of_series());
        assert!(Expression::number("value").expect("compiles").is_value());
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        for (text, start, said) in [
            ("tags.a = 1", 7, "equality is `==`"),
            ("vlaue > 1", 0, "did you mean `value`?"),
            ("environment == 1", 0, "a tag is written `tags.environment`"),
            ("value > ", 8, "ends too early"),
            ("value > 1 and value < 2", 10, "`and` is written `&&`"),
            ("1 < value < 2", 10, "join them with `&&`"),
            ("(value > 1", 10, "expected `)`"),
            ("tags.a == \"x", 10, "text is not ended"),
            ("tags.a matches \"(\"", 15, "is no regular expression"),
            ("value && true", 0, "a number stands where a condition is needed"),
            ("\"a\" + 1", 0, "text stands where a number is needed"),
            ("value", 0, "`value` is a number, and a condition is needed"),
            ("tags in [1]", 5, "the name of a tag"),
            ("value in 5", 9, "a list such as"),
        ] {
            let error = Expression::condition(text).expect_err(text);
            assert!(error.message.contains(said), "{text}: {error}");
            assert_eq!(error.start, start, "{text}: {error}");
        }
        assert!(Expression::condition(&"(".repeat(100)).expect_err("too deep").message.contains("64 deep"));
        assert!(Expression::condition(&"!".repeat(9999)).is_err());
    }
}
