//! Whether a tree is well typed.

use crate::ast::{Binary, Call, Cardinality, Expr, ExprKind, Span, ValueType, VectorSelector};
use crate::parser::ParseError;

/// Checks a tree and what it holds, and brings the matching of binary expressions into its final shape.
pub(super) fn check(text: &str, expr: &mut Expr) -> Result<ValueType, ParseError> {
    let checker = Checker { text };
    checker.expr(expr)?;
    Ok(expr.value_type())
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn refuse<T>(&self, span: Span, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.text, span, message))
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, context: &str) -> Result<(), ParseError> {
        let found = self.expr(expr)?;
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.documented(), found.documented());
        self.refuse(expr.span, format!("expected type {wanted} in {context}, got {found}"))
    }

    fn expr(&self, expr: &mut Expr) -> Result<ValueType, ParseError> {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(selector) => self.selector(selector, span)?,
            ExprKind::Matrix(matrix) => self.selector(&matrix.selector, matrix.selector_span)?,
            ExprKind::Subquery(subquery) => {
                let inner = self.expr(&mut subquery.expr)?;
                if inner != ValueType::Vector {
                    let inner = inner.text();
                    return self
                        .refuse(span, format!("subquery is only allowed on instant vector, got {inner} instead"));
                }
            }
            ExprKind::Paren(inner) => {
                self.expr(inner)?;
            }
            ExprKind::Unary(unary) => {
                let inner = self.expr(&mut unary.expr)?;
                if !matches!(inner, ValueType::Scalar | ValueType::Vector) {
                    let inner = inner.documented();
                    return self.refuse(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got \
                             {inner:?}"
                        ),
                    );
                }
            }
            ExprKind::Binary(binary) => self.binary(binary, span)?,
            ExprKind::Aggregate(aggregate) => {
                self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
                if let (Some(param), Some(wanted)) = (&mut aggregate.param, aggregate.op.parameter()) {
                    self.expect(param, wanted, "aggregation parameter")?;
                }
            }
            ExprKind::Call(call) => self.call(call, span)?,
        }
        Ok(expr.value_type())
    }

    fn selector(&self, selector: &VectorSelector, span: Span) -> Result<(), ParseError> {
        if selector.matchers.iter().all(|matcher| matcher.matches("")) {
            return self.refuse(span, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }

    fn binary(&self, binary: &mut Binary, span: Span) -> Result<(), ParseError> {
        let (lhs, rhs) = (self.expr(&mut binary.lhs)?, self.expr(&mut binary.rhs)?);
        let op = binary.op;
        let between = self.between(binary.lhs.span, binary.rhs.span);
        if binary.return_bool && !op.is_comparison() {
            return self.refuse(between, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !binary.return_bool && (lhs, rhs) == (ValueType::Scalar, ValueType::Scalar) {
            return self.refuse(between, "comparisons between scalars must use BOOL modifier");
        }
        let matching = binary.matching.get_or_insert_default();
        if let Some(label) = matching.labels.iter().find(|label| matching.on && matching.include.contains(label)) {
            return self.refuse(between, format!("label {label:?} must not occur in ON and GROUP clause at once"));
        }
        for (found, operand) in [(lhs, &binary.lhs), (rhs, &binary.rhs)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                return self
                    .refuse(operand.span, "binary expression must contain only scalar and instant vector types");
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (lhs, rhs) != (ValueType::Vector, ValueType::Vector) {
            if !matching.labels.is_empty() {
                return self.refuse(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                return self.refuse(span, "filling in missing series only allowed between instant vectors");
            }
            if op.is_set() {
                let op = op.text();
                return self.refuse(span, format!("set operator {op:?} not allowed in binary scalar expression"));
            }
            binary.matching = None;
        } else if op.is_set() {
            if matching.cardinality != Cardinality::OneToOne {
                return self.refuse(span, format!("no grouping allowed for {:?} operation", op.text()));
            }
            if fills {
                return self.refuse(span, "filling in missing series not allowed for set operators");
            }
            matching.cardinality = Cardinality::ManyToMany;
        }
        Ok(())
    }

    /// The operator and its modifiers between two operands.
    fn between(&self, lhs: Span, rhs: Span) -> Span {
        let text = &self.text[lhs.end..rhs.start];
        let start = lhs.end + (text.len() - text.trim_start().len());
        Span::new(start, start + text.trim().len())
    }

    fn call(&self, call: &mut Call, span: Span) -> Result<(), ParseError> {
        let (name, count) = (call.function.name, call.args.len());
        let (least, most) = (call.function.least, call.function.most);
        if most == Some(least) && count != least {
            return self.refuse(span, format!("expected {least} argument(s) in call to {name:?}, got {count}"));
        }
        if count < least {
            return self
                .refuse(span, format!("expected at least {least} argument(s) in call to {name:?}, got {count}"));
        }
        if let Some(most) = most
            && count > most
        {
            return self.refuse(span, format!("expected at most {most} argument(s) in call to {name:?}, got {count}"));
        }
        let context = format!("call to function {name:?}");
        for (index, arg) in call.args.iter_mut().enumerate() {
            // Its second argument is no selection of series, so it may match all of them.
            if name == "info" && index == 1 {
                self.info(arg, &context)?;
            } else if let Some(wanted) = call.function.argument_type(index) {
                self.expect(arg, wanted, &context)?;
            }
        }
        Ok(())
    }

    fn info(&self, arg: &Expr, context: &str) -> Result<(), ParseError> {
        let found = arg.value_type();
        if found != ValueType::Vector {
            let (wanted, found) = (ValueType::Vector.documented(), found.documented());
            return self.refuse(arg.span, format!("expected type {wanted} in {context}, got {found}"));
        }
        match &arg.kind {
            ExprKind::Vector(selector) if selector.name.is_none() => Ok(()),
            ExprKind::Vector(_) => self.refuse(arg.span, "expected label selectors only, got vector selector instead"),
            _ => self.refuse(arg.span, "expected label selectors only"),
        }
    }
}
