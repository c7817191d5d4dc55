//! Selectors: `up{job="api", path=~"/v1/.*"}`.

use crate::ast::{BinaryOp, Expr, ExprKind, VectorSelector};
use crate::lexer::{Keyword, TokenKind};
use crate::matcher::{METRIC_NAME, MatchOp, Matcher};
use crate::parser::{ParseError, Parser, is_word};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// A name, matchers in braces, or both.
    pub(super) fn selector(&mut self) -> Result<Expr, ParseError> {
        let mut span = self.span();
        let name = match self.peek() {
            TokenKind::LeftBrace => None,
            TokenKind::Operator(BinaryOp::Atan2)
            | TokenKind::Keyword(
                Keyword::Bool | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Ignoring | Keyword::On,
            ) => return Err(self.unexpected("", "an expression")),
            kind if is_word(kind) => {
                self.bump();
                Some(self.slice(span).to_owned())
            }
            _ => return Err(self.unexpected("", "an expression")),
        };
        let mut matchers = if self.peek() == &TokenKind::LeftBrace { self.matchers()? } else { Vec::new() };
        span.end = self.last_end();
        if let Some(name) = &name {
            if let Some(other) = matchers.iter().find(|matcher| matcher.name() == METRIC_NAME) {
                let message = format!("metric name must not be set twice: {name:?} or {:?}", other.value());
                return Err(self.error(span, message));
            }
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        let selector = VectorSelector { name, matchers, offset: None, at: None, extension: None };
        Ok(Expr { kind: ExprKind::Vector(selector), span })
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, ParseError> {
        self.bump();
        let mut matchers = Vec::new();
        loop {
            if self.accept(&TokenKind::RightBrace) {
                return Ok(matchers);
            }
            matchers.push(self.matcher()?);
            if !self.accept(&TokenKind::Comma) && self.peek() != &TokenKind::RightBrace {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    /// `job="api"`, `"a label"="x"` or, as the name of a metric, `"a metric"`.
    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let start = self.span();
        let quoted = self.peek() == &TokenKind::String;
        let name = match self.peek() {
            TokenKind::String => self.valid_string()?,
            TokenKind::Identifier => self.slice(start).to_owned(),
            _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
        };
        self.bump();
        let op = match self.peek() {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            TokenKind::Comma | TokenKind::RightBrace if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
        };
        self.bump();
        if self.peek() != &TokenKind::String {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let value = self.valid_string()?;
        let end = self.bump();
        Matcher::new(name, op, value)
            .map_err(|error| self.error(start.to(end), format!("invalid regular expression: {error}")))
    }

    /// The text of the string token that is next. The token stays.
    pub(super) fn valid_string(&self) -> Result<String, ParseError> {
        match self.string()? {
            (text, None) => Ok(text),
            (_, Some(_)) => Err(self.error(self.span(), "names and values of labels are UTF-8, this text is not")),
        }
    }
}
