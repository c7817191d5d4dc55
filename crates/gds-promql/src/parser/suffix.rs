//! What follows an expression: ranges, `offset`, `@`, `anchored` and `smoothed`.

use crate::ast::{At, Expr, ExprKind, Extension, MAX_DEPTH, MatrixSelector, Span, Subquery};
use crate::lexer::{Keyword, TokenKind};
use crate::parser::{ParseError, Parser};

impl Parser<'_> {
    /// Ranges, `offset`, `@`, `anchored` and `smoothed`: all of them bind more strongly than operators.
    pub(super) fn suffixes(&mut self, mut expr: Expr) -> Result<Expr, ParseError> {
        loop {
            match self.peek() {
                TokenKind::LeftBracket => expr = self.range(expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                TokenKind::At => self.at(&mut expr)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extension(&mut expr, Extension::Anchored)?,
                TokenKind::Keyword(Keyword::Smoothed) => self.extension(&mut expr, Extension::Smoothed)?,
                _ => return Ok(expr),
            }
        }
    }

    /// `[5m]` or `[5m:1m]`
    fn range(&mut self, expr: Expr) -> Result<Expr, ParseError> {
        const DURATION: &str = "number, duration, step(), or range()";
        let open = self.bump();
        let range = self.positive_duration("subquery or range selector", DURATION)?;
        let brackets = |end: usize| Span::new(open.start, end);
        if self.accept(&TokenKind::Colon) {
            let step = if self.peek() == &TokenKind::RightBracket {
                None
            } else {
                Some(self.positive_duration("subquery selector", "number, duration, step(), range(), or \"]\"")?)
            };
            let close = self.expect(&TokenKind::RightBracket, "subquery selector", "\"]\"")?;
            self.height += 1;
            self.within(self.height, MAX_DEPTH)?;
            let span = expr.span.to(close);
            let subquery = Subquery { expr: Box::new(expr), range, step, offset: None, at: None };
            return Ok(Expr { kind: ExprKind::Subquery(subquery), span });
        }
        let close = self.expect(&TokenKind::RightBracket, "subquery or range", "\":\" or \"]\"")?;
        let refuse = |message| Err(self.error(brackets(close.end), message));
        match expr.kind {
            ExprKind::Vector(selector) if selector.offset.is_some() => {
                refuse("no offset modifiers allowed before range")
            }
            ExprKind::Vector(selector) if selector.at.is_some() => refuse("no @ modifiers allowed before range"),
            ExprKind::Vector(selector) => Ok(Expr {
                kind: ExprKind::Matrix(MatrixSelector { selector, selector_span: expr.span, range }),
                span: expr.span.to(close),
            }),
            _ => refuse("ranges only allowed for vector selectors"),
        }
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), ParseError> {
        self.bump();
        let duration = self.offset_duration()?;
        let span = expr.span;
        let place = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.offset,
            ExprKind::Matrix(matrix) => &mut matrix.selector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                return Err(self.error(
                    span,
                    "offset modifier must be preceded by an instant vector selector or range vector selector or a \
                     subquery",
                ));
            }
        };
        if place.is_some() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        *place = Some(duration);
        expr.span.end = self.last_end();
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Result<(), ParseError> {
        self.bump();
        let span = expr.span;
        let at = if let TokenKind::Keyword(keyword @ (Keyword::Start | Keyword::End)) = *self.peek() {
            self.bump();
            self.expect(&TokenKind::LeftParen, "@", "\"(\"")?;
            self.expect(&TokenKind::RightParen, "@", "\")\"")?;
            if keyword == Keyword::Start { At::Start } else { At::End }
        } else {
            let seconds = self.signed_number("@", "timestamp")?;
            // The greatest times that are whole milliseconds and fit.
            if seconds.is_nan() || seconds.abs() >= 9.2e15 {
                return Err(self.error(span, format!("timestamp out of bounds for @ modifier: {seconds:.6}")));
            }
            #[expect(clippy::cast_possible_truncation, reason = "looked at above")]
            At::Timestamp((seconds * 1e3).round() as i64)
        };
        let place = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.at,
            ExprKind::Matrix(matrix) => &mut matrix.selector.at,
            ExprKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                return Err(self.error(
                    span,
                    "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
                ));
            }
        };
        if place.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        *place = Some(at);
        expr.span.end = self.last_end();
        Ok(())
    }

    fn extension(&mut self, expr: &mut Expr, extension: Extension) -> Result<(), ParseError> {
        let word = self.bump();
        let name = self.slice(word).to_ascii_lowercase();
        let place = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.extension,
            ExprKind::Matrix(matrix) => &mut matrix.selector.extension,
            ExprKind::Subquery(_) => {
                return Err(self.error(expr.span, format!("{name} modifier is not supported for subqueries")));
            }
            _ => return Err(self.error(expr.span, format!("{name} modifier not implemented"))),
        };
        if place.is_some_and(|before| before != extension) {
            return Err(self.error(expr.span, "anchored and smoothed modifiers cannot be used together"));
        }
        *place = Some(extension);
        expr.span.end = word.end;
        Ok(())
    }
}
