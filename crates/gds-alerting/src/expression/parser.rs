//! Tokens into a tree: `||`, then `&&`, then `!`, comparisons, `+ -`, `* /`, sign.

use regex::RegexBuilder;

use super::ast::{Arithmetic, Comparison, Node, Type};
use super::error::ExpressionError;
use super::lexer::{Token, TokenKind, tokens};
use crate::decimal::Number;
use crate::nearest::nearest;

const MAX_DEPTH: usize = 64;
const MAX_LENGTH: usize = 16 * 1024;
const MAX_PATTERN_BYTES: usize = 1 << 20;
const NAMES: [&str; 7] = ["value", "metric", "instance_id", "database_type", "tags", "true", "false"];

pub(super) fn parse(text: &str) -> Result<Node, ExpressionError> {
    if text.len() > MAX_LENGTH {
        let message = format!("expression of {} bytes; at most {MAX_LENGTH} are taken", text.len());
        return Err(ExpressionError::new(0, 0, message));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let node = parser.either()?;
    match parser.peek() {
        TokenKind::End => Ok(node),
        _ => Err(parser.unexpected("an operator such as `&&`, or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Node, ExpressionError>;

impl Parser {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Sign(found) if *found == sign);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Name(found) if found == word);
        if found {
            self.next();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> ExpressionError {
        let token = &self.tokens[self.at];
        ExpressionError::new(token.start, token.end - token.start, message)
    }

    fn unexpected(&self, expected: &str) -> ExpressionError {
        self.error(match self.peek() {
            TokenKind::End => format!("ends too early; expected {expected}"),
            TokenKind::Name(name) if name == "and" => "`and` is written `&&`".to_owned(),
            TokenKind::Name(name) if name == "or" => "`or` is written `||`".to_owned(),
            TokenKind::Name(name) => format!("unexpected `{name}`; expected {expected}"),
            TokenKind::Number(text) => format!("unexpected number {text}; expected {expected}"),
            TokenKind::Text(text) => format!("unexpected text {text:?}; expected {expected}"),
            TokenKind::Sign(sign) => format!("unexpected `{sign}`; expected {expected}"),
        })
    }

    fn expect(&mut self, sign: &str) -> Result<(), ExpressionError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    /// Refuses what the operator at `start` cannot take.
    fn of_type(&self, start: usize, node: Node, wanted: Type) -> Parsed {
        let found = node.kind();
        if found == wanted || wanted == Type::Number && found == Type::Text && !matches!(node, Node::Text(_)) {
            return Ok(node);
        }
        let token = &self.tokens[start];
        let message = format!("{} stands where {} is needed", found.name(), wanted.name());
        Err(ExpressionError::new(token.start, token.end - token.start, message))
    }

    fn either(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("nested more than {MAX_DEPTH} deep")));
        }
        let start = self.at;
        let mut left = self.both()?;
        while self.take("||") {
            left = self.of_type(start, left, Type::Condition)?;
            let start = self.at;
            let right = self.both()?;
            left = Node::Or(Box::new(left), Box::new(self.of_type(start, right, Type::Condition)?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn both(&mut self) -> Parsed {
        let start = self.at;
        let mut left = self.negated()?;
        while self.take("&&") {
            left = self.of_type(start, left, Type::Condition)?;
            let start = self.at;
            let right = self.negated()?;
            left = Node::And(Box::new(left), Box::new(self.of_type(start, right, Type::Condition)?));
        }
        Ok(left)
    }

    fn negated(&mut self) -> Parsed {
        let mut odd = false;
        let mut any = false;
        while self.take("!") {
            (odd, any) = (!odd, true);
        }
        let start = self.at;
        let inner = self.comparison()?;
        if !any {
            return Ok(inner);
        }
        let inner = self.of_type(start, inner, Type::Condition)?;
        Ok(if odd { Node::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Parsed {
        let start = self.at;
        let left = self.sum()?;
        if self.take_word("in") {
            return self.list(left);
        }
        if self.take_word("matches") {
            return self.pattern(start, left);
        }
        let operator = match self.peek() {
            TokenKind::Sign("==") => Comparison::Equal,
            TokenKind::Sign("!=") => Comparison::Unequal,
            TokenKind::Sign("<") => Comparison::Less,
            TokenKind::Sign("<=") => Comparison::LessOrEqual,
            TokenKind::Sign(">") => Comparison::Greater,
            TokenKind::Sign(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.next();
        let right = self.sum()?;
        if matches!(self.peek(), TokenKind::Sign("==" | "!=" | "<" | "<=" | ">" | ">=")) {
            return Err(self.error("comparisons cannot be chained; join them with `&&`"));
        }
        if (left.kind() == Type::Condition) != (right.kind() == Type::Condition) {
            return self.of_type(start, left, right.kind());
        }
        Ok(Node::Compare(operator, Box::new(left), Box::new(right)))
    }

    fn list(&mut self, left: Node) -> Parsed {
        let close = if self.take("[") {
            "]"
        } else if self.take("(") {
            ")"
        } else {
            return Err(self.unexpected("a list such as `[\"a\", \"b\"]`"));
        };
        let mut list = Vec::new();
        while !self.take(close) {
            if !list.is_empty() {
                self.expect(",")?;
                if self.take(close) {
                    break;
                }
            }
            list.push(self.sum()?);
        }
        Ok(Node::In(Box::new(left), list))
    }

    fn pattern(&mut self, start: usize, left: Node) -> Parsed {
        let left = self.of_type(start, left, Type::Text)?;
        let token = self.tokens[self.at].clone();
        let TokenKind::Text(text) = token.kind else {
            return Err(self.unexpected("a pattern in quotes"));
        };
        // Whole values are matched, as Prometheus does.
        let pattern = RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(MAX_PATTERN_BYTES).build();
        let pattern = pattern.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.error(format!("{text:?} is no regular expression: {reason}"))
        })?;
        self.next();
        Ok(Node::Matches(Box::new(left), pattern))
    }

    fn sum(&mut self) -> Parsed {
        let start = self.at;
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                TokenKind::Sign("+") => Arithmetic::Add,
                TokenKind::Sign("-") => Arithmetic::Subtract,
                _ => return Ok(left),
            };
            self.next();
            left = self.calculate(start, operator, left, Self::product)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let start = self.at;
        let mut left = self.signed()?;
        loop {
            let operator = match self.peek() {
                TokenKind::Sign("*") => Arithmetic::Multiply,
                TokenKind::Sign("/") => Arithmetic::Divide,
                _ => return Ok(left),
            };
            self.next();
            left = self.calculate(start, operator, left, Self::signed)?;
        }
    }

    fn calculate(
        &mut self,
        start: usize,
        operator: Arithmetic,
        left: Node,
        next: impl Fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let left = self.of_type(start, left, Type::Number)?;
        let start = self.at;
        let right = next(self)?;
        let right = self.of_type(start, right, Type::Number)?;
        Ok(Node::Calculate(operator, Box::new(left), Box::new(right)))
    }

    fn signed(&mut self) -> Parsed {
        let mut odd = false;
        let mut any = false;
        loop {
            if self.take("-") {
                odd = !odd;
            } else if !self.take("+") {
                break;
            }
            any = true;
        }
        let start = self.at;
        let inner = self.operand()?;
        if !any {
            return Ok(inner);
        }
        let inner = self.of_type(start, inner, Type::Number)?;
        Ok(match inner {
            Node::Number(number) if odd => Node::Number(number.negate()),
            inner if odd => Node::Negate(Box::new(inner)),
            inner => inner,
        })
    }

    fn operand(&mut self) -> Parsed {
        match self.peek() {
            TokenKind::Number(text) => {
                let number = Number::parse(text).ok_or_else(|| self.error(format!("{text} is no number")))?;
                self.next();
                Ok(Node::Number(number))
            }
            TokenKind::Text(text) => {
                let node = Node::Text(text.clone());
                self.next();
                Ok(node)
            }
            TokenKind::Sign("(") => {
                self.next();
                let inner = self.either()?;
                self.expect(")")?;
                Ok(inner)
            }
            TokenKind::Name(_) => self.name(),
            _ => Err(self.unexpected("a value, a name or `(`")),
        }
    }

    fn name(&mut self) -> Parsed {
        let TokenKind::Name(name) = self.peek().clone() else { unreachable!("looked at before") };
        let node = match name.as_str() {
            "value" => Node::Value,
            "metric" | "metric_name" => Node::Metric,
            "instance_id" => Node::InstanceId,
            "database_type" => Node::DatabaseType,
            "true" => Node::Condition(true),
            "false" => Node::Condition(false),
            "tags" => {
                self.next();
                return self.tag();
            }
            _ => return Err(self.error(unknown(&name))),
        };
        self.next();
        Ok(node)
    }

    fn tag(&mut self) -> Parsed {
        if self.take("[") {
            let TokenKind::Text(name) = self.peek().clone() else {
                return Err(self.unexpected("the name of a tag in quotes"));
            };
            self.next();
            self.expect("]")?;
            return Ok(Node::Tag(name));
        }
        if !self.take(".") {
            return Err(self.unexpected("`.` and the name of a tag, as in `tags.environment`"));
        }
        let TokenKind::Name(name) = self.peek().clone() else {
            return Err(self.unexpected("the name of a tag"));
        };
        self.next();
        Ok(Node::Tag(name))
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, &NAMES) {
        Some(known) => format!("unknown name `{name}`; did you mean `{known}`?"),
        None => format!(
            "unknown name `{name}`; a tag is written `tags.{name}`, text in quotes, \
             and there are value, metric, instance_id, database_type"
        ),
    }
}
