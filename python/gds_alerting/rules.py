"""Rules: `ThresholdRule`, and `AlertRule` for those of your own.

class Doubled(AlertRule):
def evaluate(self, metric):
return metric.metric_name == "queue_length" and metric.value > 2 * usual(metric.instance_id)
"""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC, abstractmethod
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gds_alerting.alert import Alert, AlertSeverity
from gds_alerting.circuit import span_seconds
from gds_alerting.errors import AlertConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from gds_alerting.alert import MeasuredMetric

__all__ = ["OPERATORS", "AlertEvaluationStrategy", "AlertRule", "ThresholdRule"]

OPERATORS = (">", ">=", "<", "<=", "==", "!=")
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class AlertEvaluationStrategy(ABC):
    """How rules are evaluated: one may serve many, as ``AlertRule(id, strategy=...)``."""

    @abstractmethod
    def evaluate(self, metric: MeasuredMetric, rule: AlertRule) -> Alert | bool | None:
        """Whether the metric is what the rule is to tell of; see `AlertRule.evaluate`."""


class AlertRule:
    """A rule of your own: inherit, and say in `evaluate` what is wrong.

    It runs in a thread of its own. One that raises, or takes longer than ``deadline_seconds``, is counted in
    `AlertEvaluator.failures`, says nothing about that metric, and holds up no other rule.

    Args:
        id: Its name, which no other rule has; without one that of the class.
        metric_name: The metric that it looks at; None is all of them.
        severity: How bad it is.
        description: What it is about.
        runbook_url: What to do.
        routing_key: Where receivers are to route it.
        labels: Labels for its alerts, beside the tags of the metric.
        for_seconds: For how long it has to be true before an alert fires; a timedelta is taken, too.
        deadline_seconds: How long it may take for one metric.
        strategy: What evaluates it, in place of a method of its own.

    Raises:
        AlertConfigurationError: A setting makes no sense.
    """

    # What a subclass with an __init__ of its own has without calling this one.
    id: str = ""
    metric_name: str | None = None
    severity: AlertSeverity = AlertSeverity.WARNING
    description: str = ""
    runbook_url: str | None = None
    routing_key: str | None = None
    labels: Mapping[str, str] = {}
    for_seconds: float | timedelta = 0.0
    deadline_seconds: float | timedelta = 1.0
    strategy: AlertEvaluationStrategy | None = None

    def __init__(
        self,
        id: str | None = None,
        *,
        metric_name: str | None = None,
        severity: AlertSeverity | str | None = None,
        description: str | None = None,
        runbook_url: str | None = None,
        routing_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        for_seconds: float | timedelta | None = None,
        deadline_seconds: float | timedelta | None = None,
        strategy: AlertEvaluationStrategy | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in {"self", "__class__"}}
        for name, value in given.items():
            # Without one that of the class holds.
            if value is not None:
                setattr(self, name, value)
        if severity is not None:
            self.severity = checked_severity(severity)

    def evaluate(self, metric: MeasuredMetric) -> Alert | bool | None:
        """Whether something is wrong.

        Returns:
            An `Alert` with a message of its own, or True; False or None where all is well.
        """
        if self.strategy is None:
            raise NotImplementedError(f"{type(self).__name__} has no evaluate(self, metric)")
        return self.strategy.evaluate(metric, self)

    def alert(self, metric: MeasuredMetric, message: str) -> Alert:
        """An alert of this rule, to be returned by `evaluate`."""
        return Alert(rule_id=self.id, severity=self.severity, message=message, metric=metric)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({rule_id(self)!r}, severity={self.severity.value!r})"


class ThresholdRule(AlertRule):
    """A metric beside a fixed number.

        ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING)

    Numbers that come as `int`, `~decimal.Decimal` or decimal text are compared exactly, and a float counts as the
    shortest decimal that reads as it: 0.3 is not above ``Decimal("0.3")``.

    Args:
        metric_name: The metric that it looks at.
        operator: ``>``, ``>=``, ``<``, ``<=``, ``==`` or ``!=``.
        threshold: What it is compared with.
        severity: How bad it is.
        id: Its name; without one as it reads: ``cpu_usage > 80``.
        settings: As for `AlertRule`.

    Raises:
        AlertConfigurationError: The operator is unknown, the threshold no finite number, the name no text.
    """

    def __init__(
        self,
        metric_name: str,
        operator: str,
        threshold: float | Decimal | str,
        severity: AlertSeverity | str = AlertSeverity.WARNING,
        *,
        id: str | None = None,
        **settings: Any,
    ) -> None:
        if not (metric_name and isinstance(metric_name, str)):
            raise AlertConfigurationError(
                f"metric_name={metric_name!r}: expected the name of a metric, such as cpu_usage"
            )
        if operator not in OPERATORS:
            raise AlertConfigurationError(f"operator={operator!r}: expected one of {' '.join(OPERATORS)}")
        self.threshold = _number(threshold)
        self.operator = operator
        super().__init__(
            id or f"{metric_name} {operator} {self.threshold}", metric_name=metric_name, severity=severity, **settings
        )

    def evaluate(self, metric: MeasuredMetric) -> bool:
        """Whether one metric breaches it; for yourself, since an evaluator asks the engine."""
        if metric.metric_name != self.metric_name:
            return False
        try:
            found, wanted = exact(metric.value), Decimal(self.threshold)
        except (TypeError, ValueError):
            return False
        if found.is_nan():
            return False
        answers = {
            ">": found > wanted,
            ">=": found >= wanted,
            "<": found < wanted,
            "<=": found <= wanted,
            "==": found == wanted,
            "!=": found != wanted,
        }
        return answers[self.operator]


def exact(value: object) -> Decimal:
    """A number with all its digits; a float is the shortest decimal that reads as it.

    Raises:
        TypeError: It is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise TypeError(f"{value!r} is no number")
    return Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)


def _number(threshold: object) -> str:
    expected = AlertConfigurationError(
        f"threshold={threshold!r}: expected a finite number, such as 80 or Decimal('0.1')"
    )
    if isinstance(threshold, bool):
        raise expected
    try:
        number = Decimal(threshold) if isinstance(threshold, str) else exact(threshold)
    except (TypeError, InvalidOperation):
        raise expected from None
    if not math.isfinite(number) or not DECIMAL.fullmatch(str(number)):
        raise expected
    return str(number).lower()


def rule_id(rule: AlertRule) -> str:
    """Its name."""
    return rule.id or type(rule).__name__


def checked_severity(severity: object) -> AlertSeverity:
    """A severity, or its name."""
    try:
        return AlertSeverity(severity.lower() if isinstance(severity, str) else severity)
    except ValueError:
        names = ", ".join(each.value for each in AlertSeverity)
        raise AlertConfigurationError(f"severity={severity!r}: expected an AlertSeverity: {names}") from None


def check_rule(rule: object) -> AlertRule:
    """A rule that can be evaluated.

    Raises:
        AlertConfigurationError: It is none, or a setting of it makes no sense.
    """
    if not isinstance(rule, AlertRule):
        raise AlertConfigurationError(f"{rule!r} is no rule: expected a ThresholdRule, or a subclass of AlertRule")
    name = rule_id(rule)
    if not isinstance(name, str):
        raise AlertConfigurationError(f"id={name!r}: expected text")
    kind = type(rule)
    if kind.evaluate is AlertRule.evaluate and rule.strategy is None:
        raise AlertConfigurationError(f"rule {name}: {kind.__name__} has no evaluate(self, metric), and no strategy")
    asked = kind.evaluate if rule.strategy is None else rule.strategy.evaluate
    if inspect.iscoroutinefunction(asked):
        raise AlertConfigurationError(f"rule {name}: evaluate is a coroutine function; expected a function")
    rule.severity = checked_severity(rule.severity)
    span_seconds(f"rule {name}: for_seconds", rule.for_seconds, least=0.0)
    span_seconds(f"rule {name}: deadline_seconds", rule.deadline_seconds)
    labels = rule.labels
    if not all(isinstance(each, str) for pair in labels.items() for each in pair):
        raise AlertConfigurationError(f"rule {name}: labels={labels!r}: expected a dict of str to str")
    return rule
