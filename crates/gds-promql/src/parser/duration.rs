//! Durations in brackets and after `offset`.

use crate::ast::{BinaryOp, DurationExpr, DurationKind, MAX_NESTING, Number, Span};
use crate::duration::is_out_of_range;
use crate::lexer::{Keyword, TokenKind};
use crate::parser::{POWER, ParseError, Parser};

impl Parser<'_> {
    /// The duration of a range or a step.
    pub(super) fn positive_duration(&mut self, context: &str, expected: &str) -> Result<DurationExpr, ParseError> {
        if !self.is_duration_start() {
            return Err(self.unexpected(context, expected));
        }
        self.duration_parts = 0;
        let duration = self.duration(0)?;
        match duration.kind {
            DurationKind::Number(number) if number.value <= 0.0 => {
                Err(self.error(duration.span, "duration must be greater than 0"))
            }
            _ => Ok(plain(duration)),
        }
    }

    /// What follows `offset`. Without parentheses it is one number or one call with its sign, so that
    /// `x offset 5m + 1` is `(x offset 5m) + 1`.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr, ParseError> {
        if !self.is_duration_start() {
            return Err(self.unexpected("offset", "number, duration, step(), or range()"));
        }
        self.duration_parts = 0;
        let duration = match self.peek() {
            // As Prometheus has it: what follows the parenthesis belongs to the duration.
            TokenKind::LeftParen => self.duration(0)?,
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let negative = self.peek() == &TokenKind::Operator(BinaryOp::Sub);
                let sign = self.bump();
                let inner = self.duration_operand()?;
                negated(negative, sign.start, inner)
            }
            _ => self.duration_operand()?,
        };
        Ok(plain(duration))
    }

    fn is_duration_start(&self) -> bool {
        matches!(
            self.peek(),
            TokenKind::Number
                | TokenKind::Duration
                | TokenKind::LeftParen
                | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
                | TokenKind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
        )
    }

    /// Operands and the operators between them that bind at least so strongly. All parts of a duration
    /// are at most [`MAX_NESTING`].
    fn duration(&mut self, least: u8) -> Result<DurationExpr, ParseError> {
        self.duration_parts += 1;
        self.within(self.duration_parts, MAX_NESTING)?;
        let mut lhs = match self.peek() {
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let negative = self.peek() == &TokenKind::Operator(BinaryOp::Sub);
                let sign = self.bump();
                let inner = self.duration(POWER)?;
                negated(negative, sign.start, inner)
            }
            _ => self.duration_operand()?,
        };
        while let TokenKind::Operator(
            op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow),
        ) = *self.peek()
            && op.precedence() >= least
        {
            let sign = self.bump();
            let rhs = self.duration(if op == BinaryOp::Pow { POWER } else { op.precedence() + 1 })?;
            let zero = matches!(rhs.kind, DurationKind::Number(number) if number.value == 0.0);
            match op {
                BinaryOp::Div if zero => return Err(self.error(sign, "division by zero")),
                BinaryOp::Mod if zero => return Err(self.error(sign, "modulo by zero")),
                _ => {}
            }
            lhs = DurationExpr {
                span: lhs.span.to(rhs.span),
                kind: DurationKind::Binary(op, Box::new(lhs), Box::new(rhs)),
            };
        }
        Ok(lhs)
    }

    fn duration_operand(&mut self) -> Result<DurationExpr, ParseError> {
        let span = self.span();
        match *self.peek() {
            TokenKind::Number | TokenKind::Duration => {
                let number = self.number()?;
                if is_out_of_range(number.value) || number.value.is_nan() {
                    return Err(self.error(span, "duration out of range"));
                }
                Ok(DurationExpr { kind: DurationKind::Number(number), span })
            }
            TokenKind::LeftParen => {
                self.bump();
                let inner = self.duration(0)?;
                let close = self.expect(&TokenKind::RightParen, "duration expression", "\")\"")?;
                Ok(DurationExpr { kind: DurationKind::Paren(Box::new(inner)), span: span.to(close) })
            }
            TokenKind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.bump();
                self.expect(&TokenKind::LeftParen, "duration expression", "\"(\"")?;
                let close = self.expect(&TokenKind::RightParen, "duration expression", "\")\"")?;
                let kind = if keyword == Keyword::Step { DurationKind::Step } else { DurationKind::Range };
                Ok(DurationExpr { kind, span: span.to(close) })
            }
            TokenKind::Keyword(keyword @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.bump();
                self.expect(&TokenKind::LeftParen, "duration expression", "\"(\"")?;
                let first = Box::new(self.duration(0)?);
                self.expect(&TokenKind::Comma, "duration expression", "\",\"")?;
                let second = Box::new(self.duration(0)?);
                let close = self.expect(&TokenKind::RightParen, "duration expression", "\")\"")?;
                let kind = if keyword == Keyword::MinOf {
                    DurationKind::MinOf(first, second)
                } else {
                    DurationKind::MaxOf(first, second)
                };
                Ok(DurationExpr { kind, span: span.to(close) })
            }
            _ => Err(self.unexpected("duration expression", "number, duration, step(), or range()")),
        }
    }
}

/// A duration behind a sign; a number takes it in.
fn negated(negative: bool, start: usize, mut inner: DurationExpr) -> DurationExpr {
    if let DurationKind::Number(number) = &mut inner.kind {
        inner.span.start = start;
        number.value = if negative { -number.value } else { number.value };
        inner
    } else if negative {
        DurationExpr { span: Span::new(start, inner.span.end), kind: DurationKind::Negated(Box::new(inner)) }
    } else {
        inner
    }
}

/// A number that is a duration by where it stands: `[300]` is `[5m]`, as long as it is whole milliseconds.
fn plain(mut duration: DurationExpr) -> DurationExpr {
    if let DurationKind::Number(Number { value, duration }) = &mut duration.kind {
        let milliseconds = *value * 1e3;
        *duration = milliseconds.fract() == 0.0 && milliseconds.abs() < 9e15;
    }
    duration
}
