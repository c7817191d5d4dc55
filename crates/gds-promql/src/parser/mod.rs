//! From a text to its [tree](crate::ast): a parser that climbs operators by how strongly they bind.

mod check;
mod duration;
mod error;
mod selector;
mod suffix;

use crate::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, MAX_DEPTH, MAX_NESTING, Number, Span,
    StringLiteral, Unary, VectorMatching,
};
use crate::functions::{FUNCTIONS, Function};
use crate::lexer::{self, Keyword, Token, TokenKind};
use crate::matcher::Matcher;
use crate::text::{unquote, write_quoted};

pub use self::error::ParseError;

/// The tree of a query, well typed.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text);
    if parser.peek() == &TokenKind::End {
        return Err(parser.error(parser.span(), "no expression found in input"));
    }
    let mut expr = parser.binary(0)?;
    parser.end()?;
    check::check(text, &mut expr)?;
    Ok(expr)
}

/// The matchers of a selector such as `up{job="api"}`, as the HTTP interface takes them in `match[]`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text);
    let mut expr = parser.selector()?;
    parser.end()?;
    check::check(text, &mut expr)?;
    match expr.kind {
        ExprKind::Vector(selector) => Ok(selector.matchers),
        _ => unreachable!("a selector is what was read"),
    }
}

/// How strongly `^` binds. A sign takes in nothing weaker: `-a ^ b` is `-(a ^ b)`, `-a * b` is `(-a) * b`.
const POWER: u8 = 6;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// The next token.
    at: usize,
    /// How many expressions are being read, one inside the other.
    depth: usize,
    /// How deep the expression is that was read last.
    height: usize,
    /// How many parts the duration has that is being read.
    duration_parts: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, tokens: lexer::lex(text), at: 0, depth: 0, height: 0, duration_parts: 0 }
    }

    // -------------------------------------------------------------- tokens
    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn peek_second(&self) -> &TokenKind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// Takes the next token; the last one stays.
    fn bump(&mut self) -> Span {
        let span = self.span();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    fn accept(&mut self, kind: &TokenKind) -> bool {
        let found = self.peek() == kind;
        if found {
            self.bump();
        }
        found
    }

    fn accept_keyword(&mut self, keyword: Keyword) -> bool {
        self.accept(&TokenKind::Keyword(keyword))
    }

    /// The end of what was taken last.
    fn last_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].span.end
    }

    fn slice(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, span, message)
    }

    /// That the next token has no place here.
    fn unexpected(&self, context: &str, expected: &str) -> ParseError {
        let token = self.token();
        let mut message = match &token.kind {
            TokenKind::Error(message) => return self.error(token.span, message.clone()),
            kind => format!("unexpected {}", described(kind, self.slice(token.span))),
        };
        if !context.is_empty() {
            message += " in ";
            message += context;
        }
        if !expected.is_empty() {
            message += ", expected ";
            message += expected;
        }
        if token.kind == TokenKind::Identifier {
            message += &error::did_you_mean(self.slice(token.span), lexer::words());
        }
        self.error(token.span, message)
    }

    fn expect(&mut self, kind: &TokenKind, context: &str, expected: &str) -> Result<Span, ParseError> {
        if self.peek() == kind { Ok(self.bump()) } else { Err(self.unexpected(context, expected)) }
    }

    fn end(&self) -> Result<(), ParseError> {
        if self.peek() == &TokenKind::End { Ok(()) } else { Err(self.unexpected("", "")) }
    }

    /// Refuses what is deeper than it may be.
    fn within(&self, depth: usize, most: usize) -> Result<(), ParseError> {
        if depth <= most {
            return Ok(());
        }
        Err(self.error(self.span(), format!("expressions one inside the other are more than {most}")))
    }

    // -------------------------------------------------------------- operators
    /// Operands and the operators between them that bind at least so strongly.
    fn binary(&mut self, least: u8) -> Result<Expr, ParseError> {
        self.depth += 1;
        self.within(self.depth, MAX_NESTING)?;
        let mut lhs = self.operand()?;
        let mut height = self.height;
        while let TokenKind::Operator(op) = *self.peek()
            && op.precedence() >= least
        {
            self.bump();
            let (return_bool, matching) = self.modifiers()?;
            let rhs = self.binary(if op == BinaryOp::Pow { POWER } else { op.precedence() + 1 })?;
            height = 1 + height.max(self.height);
            self.within(height, MAX_DEPTH)?;
            lhs = Expr {
                span: lhs.span.to(rhs.span),
                kind: ExprKind::Binary(Binary {
                    op,
                    lhs: Box::new(lhs),
                    rhs: Box::new(rhs),
                    return_bool,
                    matching: Some(matching),
                }),
            };
        }
        self.height = height;
        self.depth -= 1;
        Ok(lhs)
    }

    /// `bool on (a) group_left (b) fill (0)`, any of it.
    fn modifiers(&mut self) -> Result<(bool, VectorMatching), ParseError> {
        let return_bool = self.accept_keyword(Keyword::Bool);
        let mut matching = VectorMatching { on: self.accept_keyword(Keyword::On), ..VectorMatching::default() };
        if matching.on || self.accept_keyword(Keyword::Ignoring) {
            matching.labels = self.labels()?;
            if self.accept_keyword(Keyword::GroupLeft) {
                matching.cardinality = Cardinality::ManyToOne;
            } else if self.accept_keyword(Keyword::GroupRight) {
                matching.cardinality = Cardinality::OneToMany;
            }
            if matching.cardinality != Cardinality::OneToOne && self.peek() == &TokenKind::LeftParen {
                matching.include = self.labels()?;
            }
        }
        if self.accept_keyword(Keyword::Fill) {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok((return_bool, matching));
        }
        loop {
            let side = match self.peek() {
                TokenKind::Keyword(Keyword::FillLeft) if matching.fill_left.is_none() => &mut matching.fill_left,
                TokenKind::Keyword(Keyword::FillRight) if matching.fill_right.is_none() => &mut matching.fill_right,
                _ => return Ok((return_bool, matching)),
            };
            self.bump();
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Result<f64, ParseError> {
        self.expect(&TokenKind::LeftParen, "fill", "\"(\"")?;
        let value = self.signed_number("fill", "number")?;
        self.expect(&TokenKind::RightParen, "fill", "\")\"")?;
        Ok(value)
    }

    /// The labels of `by`, `on` and the like.
    fn labels(&mut self) -> Result<Vec<String>, ParseError> {
        const CONTEXT: &str = "grouping opts";
        self.expect(&TokenKind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if self.accept(&TokenKind::RightParen) {
                return Ok(labels);
            }
            let label = match self.peek() {
                TokenKind::String => self.valid_string()?,
                kind if is_word(kind) => self.slice(self.span()).to_owned(),
                _ if labels.is_empty() => return Err(self.unexpected(CONTEXT, "label or \")\"")),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            };
            if label.is_empty() {
                return Err(self.error(self.span(), "invalid label name for grouping: \"\""));
            }
            self.bump();
            labels.push(label);
            if !self.accept(&TokenKind::Comma) && self.peek() != &TokenKind::RightParen {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
    }

    /// A sign, or what stands without one.
    fn operand(&mut self) -> Result<Expr, ParseError> {
        let negative = match self.peek() {
            TokenKind::Operator(BinaryOp::Sub) => true,
            TokenKind::Operator(BinaryOp::Add) => false,
            _ => {
                let expr = self.primary()?;
                return self.suffixes(expr);
            }
        };
        let sign = self.bump();
        let mut expr = self.binary(POWER)?;
        let span = sign.to(expr.span);
        if let ExprKind::Number(number) = &mut expr.kind {
            number.value = if negative { -number.value } else { number.value };
            expr.span = span;
            return Ok(expr);
        }
        self.height += 1;
        self.within(self.height, MAX_DEPTH)?;
        Ok(Expr { kind: ExprKind::Unary(Unary { negative, expr: Box::new(expr) }), span })
    }

    // -------------------------------------------------------------- what stands between operators
    fn primary(&mut self) -> Result<Expr, ParseError> {
        self.height = 1;
        let span = self.span();
        let call = self.peek_second() == &TokenKind::LeftParen;
        match *self.peek() {
            TokenKind::Number | TokenKind::Duration => {
                let number = self.number()?;
                Ok(Expr { kind: ExprKind::Number(number), span })
            }
            TokenKind::String => {
                let (value, invalid) = self.string()?;
                self.bump();
                Ok(Expr { kind: ExprKind::String(StringLiteral { value, invalid }), span })
            }
            TokenKind::LeftParen => {
                self.bump();
                let inner = self.binary(0)?;
                let close = self.expect(&TokenKind::RightParen, "", "an operator or \")\"")?;
                self.height += 1;
                self.within(self.height, MAX_DEPTH)?;
                Ok(Expr { kind: ExprKind::Paren(Box::new(inner)), span: span.to(close) })
            }
            TokenKind::Aggregate(op)
                if call || matches!(self.peek_second(), TokenKind::Keyword(Keyword::By | Keyword::Without)) =>
            {
                self.aggregate(op)
            }
            TokenKind::Identifier
            | TokenKind::Keyword(
                Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf,
            ) if call => self.call(),
            _ => self.selector(),
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Expr, ParseError> {
        let start = self.bump();
        let mut grouping = self.grouping()?;
        if self.peek() != &TokenKind::LeftParen {
            return Err(self.unexpected("aggregation", "\"(\""));
        }
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = Span::new(start.start, self.last_end());
        let (without, grouping) = grouping.unwrap_or_default();
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        let wanted = if op.parameter().is_some() { 2 } else { 1 };
        let wrong = format!(
            "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
            args.len()
        );
        let (Some(expr), param) = (args.pop(), if wanted == 2 { args.pop() } else { None }) else {
            return Err(self.error(span, wrong));
        };
        if !args.is_empty() || param.is_some() != (wanted == 2) {
            return Err(self.error(span, wrong));
        }
        let aggregate = Aggregate { op, expr: Box::new(expr), param: param.map(Box::new), grouping, without };
        Ok(Expr { kind: ExprKind::Aggregate(aggregate), span })
    }

    /// `by (a)` or `without (a)`: whether it is the latter, and the labels.
    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>, ParseError> {
        let without = match self.peek() {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.bump();
        Ok(Some((without, self.labels()?)))
    }

    fn call(&mut self) -> Result<Expr, ParseError> {
        let start = self.bump();
        let name = self.slice(start);
        let function = Function::named(name).ok_or_else(|| {
            let names = FUNCTIONS.iter().map(|function| function.name);
            let names = names.chain(AggregateOp::ALL.into_iter().map(AggregateOp::text));
            let hint = error::did_you_mean(name, names);
            self.error(start, format!("unknown function with name {}{hint}", quoted(name)))
        })?;
        let args = self.arguments()?;
        let span = Span::new(start.start, self.last_end());
        Ok(Expr { kind: ExprKind::Call(Call { function, args }), span })
    }

    /// Expressions in parentheses; they make the expression they belong to one deeper.
    fn arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.bump();
        let mut args = Vec::new();
        let mut height = 0;
        if !self.accept(&TokenKind::RightParen) {
            loop {
                args.push(self.binary(0)?);
                height = height.max(self.height);
                if self.accept(&TokenKind::RightParen) {
                    break;
                }
                let comma = self.expect(&TokenKind::Comma, "", "an operator, \",\" or \")\"")?;
                if self.peek() == &TokenKind::RightParen {
                    return Err(self.error(comma, "trailing commas not allowed in function call args"));
                }
            }
        }
        self.height = height + 1;
        self.within(self.height, MAX_DEPTH)?;
        Ok(args)
    }

    /// A number or a duration token.
    fn number(&mut self) -> Result<Number, ParseError> {
        let duration = self.peek() == &TokenKind::Duration;
        let span = self.bump();
        let text = self.slice(span);
        if duration {
            let milliseconds = crate::duration::parse(text).map_err(|error| self.error(span, error.to_string()))?;
            return Ok(Number { value: milliseconds as f64 / 1e3, duration });
        }
        let value = lexer::number(text)
            .ok_or_else(|| self.error(span, format!("error parsing number: {text:?} is out of range")))?;
        Ok(Number { value, duration })
    }

    fn signed_number(&mut self, context: &str, expected: &str) -> Result<f64, ParseError> {
        let negative = self.accept(&TokenKind::Operator(BinaryOp::Sub));
        if !negative {
            self.accept(&TokenKind::Operator(BinaryOp::Add));
        }
        if !matches!(self.peek(), TokenKind::Number | TokenKind::Duration) {
            return Err(self.unexpected(context, expected));
        }
        let value = self.number()?.value;
        Ok(if negative { -value } else { value })
    }

    /// The text of the string token that is next, and its bytes where they are no UTF-8. The token stays.
    fn string(&self) -> Result<(String, Option<Vec<u8>>), ParseError> {
        let quoted = self.slice(self.span());
        let bytes = unquote(quoted).ok_or_else(|| {
            self.error(self.span(), format!("error unquoting string {}: invalid syntax", self::quoted(quoted)))
        })?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes())),
        })
    }
}

/// Whether a token is a word, whatever it means elsewhere.
fn is_word(kind: &TokenKind) -> bool {
    match kind {
        TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Keyword(_) | TokenKind::Aggregate(_) => true,
        TokenKind::Operator(op) => op.is_set() || *op == BinaryOp::Atan2,
        _ => false,
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    // A String takes everything.
    let _ = write_quoted(&mut out, text);
    out
}

/// A token as errors name it.
fn described(kind: &TokenKind, text: &str) -> String {
    match kind {
        TokenKind::End => "end of input".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quoted(text)),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quoted(text)),
        TokenKind::Number => format!("number {}", quoted(text)),
        TokenKind::Duration => format!("duration {}", quoted(text)),
        TokenKind::String => format!("string {}", quoted(text)),
        TokenKind::Keyword(_) => format!("<{text}>"),
        TokenKind::Operator(_) => format!("<op:{text}>"),
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        _ => quoted(text),
    }
}

#[cfg(test)]
mod tests;
