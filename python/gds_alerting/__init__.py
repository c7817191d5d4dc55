"""Alerts in Python: rules, rules of your own, notifiers, and a system that reads metrics from the hub.

    from gds_alerting import AlertEvaluator, AlertSeverity, ThresholdRule

    evaluator = AlertEvaluator([ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING)])
    for alert in evaluator.evaluate_metrics(metrics):
        print(alert.severity.value, alert.message)

Rules are evaluated by the engine of ``gds alert run``: comparisons are exact, and an alert fires once. Importing this
package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_alerting.alert import Alert, AlertSeverity, AlertState
    from gds_alerting.circuit import CircuitBreaker, CircuitState
    from gds_alerting.errors import AlertConfigurationError, CircuitOpenError
    from gds_alerting.evaluator import AlertEvaluator
    from gds_alerting.gds_notification import GDSNotificationNotifier
    from gds_alerting.notifier import AlertNotifier, Delivery
    from gds_alerting.rules import AlertEvaluationStrategy, AlertRule, ThresholdRule
    from gds_alerting.system import AlertingSystem

__all__ = [
    "Alert",
    "AlertConfigurationError",
    "AlertEvaluationStrategy",
    "AlertEvaluator",
    "AlertNotifier",
    "AlertRule",
    "AlertSeverity",
    "AlertState",
    "AlertingSystem",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "Delivery",
    "GDSNotificationNotifier",
    "ThresholdRule",
]

_HOME = {
    "Alert": "alert",
    "AlertConfigurationError": "errors",
    "AlertEvaluationStrategy": "rules",
    "AlertEvaluator": "evaluator",
    "AlertNotifier": "notifier",
    "AlertRule": "rules",
    "AlertSeverity": "alert",
    "AlertState": "alert",
    "AlertingSystem": "system",
    "CircuitBreaker": "circuit",
    "CircuitOpenError": "errors",
    "CircuitState": "circuit",
    "Delivery": "notifier",
    "GDSNotificationNotifier": "gds_notification",
    "ThresholdRule": "rules",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
