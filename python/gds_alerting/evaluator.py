"""`AlertEvaluator`: metrics in, alerts out."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gds_alerting.alert import Alert, AlertState, Seen
from gds_alerting.circuit import span_seconds
from gds_alerting.custom import RuleThread
from gds_alerting.errors import AlertConfigurationError
from gds_alerting.rules import ThresholdRule, check_rule, checked_severity, rule_id
from gds_metrics import NoOpMetrics
from gds_native._lib import AlertEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_alerting.alert import MeasuredMetric
    from gds_alerting.rules import AlertRule
    from gds_metrics import MetricsCollector

__all__ = ["AlertEvaluator"]

logger = logging.getLogger("gds_alerting")

CHANNEL = "python"
SOURCE = "gds_metric"
"""The tag that tells the metric of a rule of one's own: the engine knows only what the rule said of it."""
VERDICT = "gds_alerting.rule/"
"""What the metric is called that says it, before the name of the rule."""
KEY_TEMPLATE = "{{ rule.id }}:{{ tags.instance_id }}:{{ tags.gds_metric or metric }}"
LAST_SECOND = 2**33
"""In the year 2242; what is more are no seconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_Sample = tuple[str, str, str, dict[str, str], float, "str | None", "int | None"]
# By name and instance.
_Measured = dict[tuple[str, str], "list[tuple[MeasuredMetric, _Sample]]"]


class AlertEvaluator:
    """Rules, and the alerts that came of the metrics they have seen. Threads may share one.

        evaluator = AlertEvaluator([ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING)])
        evaluator.evaluate_metrics(metrics)     # what fires
        evaluator.evaluate_metrics(metrics)     # nothing: it is known, and told again after the cooldown

    An alert is a rule for an instance and a metric. It goes by the time of the metrics: one that is not newer than the
    newest of its series changes nothing.

    Args:
        rules: `ThresholdRule`, or rules of your own.
        cooldown: Seconds (or a timedelta) before an alert that is still open, or open again, is told again. With 0 it
            is told each time that it opens, and never again while it is open.
        clock: Seconds since the epoch.
        metrics: Any `MetricsCollector`, told what is evaluated, fires and fails.
        state: What `state` of another gave: it goes on from there.

    Raises:
        AlertConfigurationError: A rule or a setting makes no sense, or two rules have one name.
    """

    def __init__(
        self,
        rules: Iterable[AlertRule] = (),
        *,
        cooldown: float | timedelta = 300.0,
        clock: Callable[[], float] = time.time,
        metrics: MetricsCollector | None = None,
        state: str | None = None,
    ) -> None:
        self._cooldown_ms = round(span_seconds("cooldown", cooldown, least=0.0) * 1000)
        self._clock = clock
        self._report = metrics or NoOpMetrics()
        self._lock = threading.RLock()
        self._rules: dict[str, AlertRule] = {}
        self._threads: dict[str, RuleThread] = {}
        self._wanted: set[str] = set()
        self._said: dict[str, Alert] = {}
        self._counts: Counter[str] = Counter()
        self._failures: dict[str, Counter[str]] = {}
        self._last_ms = 0
        given: object = rules
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise AlertConfigurationError(f"rules={rules!r}: expected a list of rules")
        for rule in rules:
            self._register(rule)
        self._engine: AlertEngine = self._made(lambda: AlertEngine(self._document(), state))

    # ------------------------------------------------------------------ rules
    @property
    def rules(self) -> list[AlertRule]:
        """In the order in which they were added."""
        return list(self._rules.values())

    def add_rule(self, rule: AlertRule) -> None:
        """Evaluate one more, from now on.

        Raises:
            AlertConfigurationError: It makes no sense, or another has its name.
        """
        with self._lock:
            self._register(rule)
            self._made(lambda: self._engine.reload(self._document()))

    def remove_rule(self, id: str) -> None:
        """Evaluate a rule no more. Its open alerts stay open until `resolve`.

        Raises:
            KeyError: There is none of this name.
        """
        with self._lock:
            del self._rules[id]
            thread = self._threads.pop(id, None)
            if thread is not None:
                thread.stop()
            self._wanted = {str(rule.metric_name) for rule in self._rules.values() if isinstance(rule, ThresholdRule)}
            self._engine.reload(self._document())

    def _register(self, rule: AlertRule) -> None:
        check_rule(rule)
        name = rule_id(rule)
        if name in self._rules:
            raise AlertConfigurationError(f"rule {name} is there twice; give one of them another id")
        self._rules[name] = rule
        if isinstance(rule, ThresholdRule) and type(rule).evaluate is ThresholdRule.evaluate:
            self._wanted.add(str(rule.metric_name))
        else:
            self._threads[name] = RuleThread(rule, self._failed)

    def _made(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ValueError as error:
            raise AlertConfigurationError(f"the rules cannot be used: {error}") from None

    def _document(self) -> str:
        """The rules as the engine reads them: JSON is YAML."""
        cooldown = f"{self._cooldown_ms}ms"
        # Told again by the clock, as often as the cooldown lets it.
        routing = {"default_channel": CHANNEL, "channels": {CHANNEL: {"type": "log"}}, "repeat_interval": cooldown}
        document = {
            "version": 1,
            "routing": routing,
            "policy": {"cooldown": cooldown},
            "alert_key_template": KEY_TEMPLATE,
            "rules": [self._described(name, rule) for name, rule in self._rules.items()],
        }
        return json.dumps(document, ensure_ascii=False)

    def _described(self, name: str, rule: AlertRule) -> dict[str, Any]:
        if name in self._threads:
            condition: dict[str, Any] = {"metric": VERDICT + name, "threshold": {"op": ">", "value": "0"}}
        else:
            assert isinstance(rule, ThresholdRule)  # noqa: S101 - for the reader and the type checker
            condition = {"metric": rule.metric_name, "threshold": {"op": rule.operator, "value": rule.threshold}}
        for_ms = round(span_seconds("for_seconds", rule.for_seconds, least=0.0) * 1000)
        described = {
            "id": name,
            **condition,
            "for": f"{for_ms}ms",
            "severity": rule.severity.value,
            "labels": dict(rule.labels),
            "description": rule.description,
            "runbook_url": rule.runbook_url,
            "routing_key": rule.routing_key,
        }
        return {key: value for key, value in described.items() if value not in (None, "", {})}

    # ------------------------------------------------------------------ evaluating
    def evaluate_metrics(self, metrics: Iterable[MeasuredMetric]) -> list[Alert]:
        """What begins to fire, or is to be told again. It raises nothing: what is no metric is counted in `counts`.

        Args:
            metrics: Anything with ``metric_name``, ``value``, ``instance_id``, ``timestamp`` and ``tags``. A timestamp
                is a datetime (one without a zone is local time), ISO 8601, or seconds since the epoch; None is now.
        """
        return [alert for alert in self.evaluate(metrics) if alert.is_open]

    def evaluate(self, metrics: Iterable[MeasuredMetric] = ()) -> list[Alert]:
        """As `evaluate_metrics`, with the alerts that are over as well. Without metrics, what the clock brings."""
        with self._lock:
            now_ms = round(self._clock() * 1000)
            taken = self._taken(metrics, now_ms)
            samples = [sample for _, sample in taken if sample[0] in self._wanted]
            samples += self._verdicts(taken)
            effects = json.loads(self._engine.evaluate(samples, now_ms))
            return self._alerts_of(effects, taken)

    def _taken(self, metrics: Iterable[MeasuredMetric], now_ms: int) -> list[tuple[MeasuredMetric, _Sample]]:
        taken: list[tuple[MeasuredMetric, _Sample]] = []
        given = iter(metrics)
        # Without times, those of another call, and the next of one series, are later, also within a millisecond.
        call_ms = max(now_ms, self._last_ms + 1)
        seen: Counter[tuple[str, str, frozenset[tuple[str, str]]]] = Counter()
        while True:
            try:
                metric = next(given)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - observing raises nothing
                self._invalid(error)
                break
            try:
                sample = self._sample(metric)
                if sample[6] is None:
                    series = sample[0], sample[1], frozenset(sample[3].items())
                    sample = (*sample[:6], call_ms + seen[series])
                    seen[series] += 1
                    self._last_ms = max(self._last_ms, call_ms + seen[series] - 1)
                taken.append((metric, sample))
            except Exception as error:  # noqa: BLE001 - observing raises nothing
                self._invalid(error)
        self._counts["metrics"] += len(taken)
        return taken

    def _sample(self, metric: MeasuredMetric) -> _Sample:
        value: Any = metric.value
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise TypeError(f"value={value!r}: expected an int, a float or a Decimal")
        number = float(value)
        if number != number:
            raise ValueError("value is no number")
        text = str(value) if isinstance(value, (int, Decimal)) and Decimal(value).is_finite() else None
        name: Any = metric.metric_name
        instance: Any = metric.instance_id
        if not isinstance(name, str) or not name or not isinstance(instance, str):
            raise TypeError(f"metric_name={name!r}, instance_id={instance!r}: expected text")
        given: Mapping[Any, Any] = metric.tags or {}
        tags = {str(key): "" if each is None else str(each) for key, each in given.items()}
        kind = getattr(metric, "database_type", None)
        kind = kind if isinstance(kind, str) else ""
        for each in (name, instance, kind, *tags, *tags.values()):
            each.encode()  # lone surrogates are no text, and would take the others of the batch with them
        return name, instance, kind, tags, number, text, _time(metric)

    def _verdicts(self, taken: list[tuple[MeasuredMetric, _Sample]]) -> list[_Sample]:
        """What rules of users say, as samples: 1 where something is wrong."""
        begun = []
        of = {id(metric): sample for metric, sample in taken}
        for name, thread in self._threads.items():
            wanted = thread.rule.metric_name
            metrics = [metric for metric, sample in taken if wanted is None or sample[0] == wanted]
            if metrics and (work := thread.begin(metrics)) is not None:
                begun.append((name, thread, work))
        samples: list[_Sample] = []
        for name, thread, work in begun:
            for metric, said in thread.end(work):
                metric_name, instance, kind, tags, _, _, time_ms = of[id(metric)]
                wrong = self._is_wrong(thread.rule, said)
                if wrong is None:
                    continue
                key = f"{name}:{tags.get('instance_id') or instance}:{metric_name}"
                if wrong and isinstance(said, Alert):
                    self._said[key] = said
                tags = {**tags, SOURCE: metric_name}
                samples.append((VERDICT + name, instance, kind, tags, float(wrong), str(int(wrong)), time_ms))
        return samples

    def _is_wrong(self, rule: AlertRule, said: object) -> bool | None:
        try:
            if isinstance(said, Alert):
                checked_severity(said.severity)
                said.message.encode()
            return bool(said)
        except Exception as error:  # noqa: BLE001 - an answer of a user's own type
            self._failed(rule, "raised", error)
            return None

    # ------------------------------------------------------------------ what came of it
    def _alerts_of(self, effects: list[dict[str, Any]], taken: list[tuple[MeasuredMetric, _Sample]]) -> list[Alert]:
        alerts = []
        measured: _Measured = {}
        if any("notify" in effect for effect in effects):
            for metric, sample in taken:
                series = sample[0], sample[3].get("instance_id") or sample[1]
                measured.setdefault(series, []).append((metric, sample))
        for effect in effects:
            if (rejected := effect.get("rejected")) is not None:
                self._invalid(ValueError(rejected["reason"]))
            elif (notification := effect.get("notify")) is not None:
                kind = notification["kind"]
                for view in notification["alerts"][: notification["news"]]:
                    alert = self._alert(view, measured)
                    if kind in {"reminder", "escalation"}:
                        again = f"{alert.id}:{kind}:{notification['at_ms']}"
                        alert = replace(alert, reminder=True, id=again)
                    alerts.append(alert)
                    if not alert.is_open:
                        self._said.pop(alert.key, None)
                self._counts[kind] += notification["news"]
                self._report.increment("alerting.alerts", notification["news"], labels={"kind": kind})
        return alerts

    def _alert(self, view: dict[str, Any], measured: _Measured) -> Alert:
        labels = dict(view["labels"])
        # Of a rule of one's own, the metric that it was asked about.
        metric_name = labels.pop(SOURCE, None) or labels.get("metric", "")
        labels["metric"] = metric_name
        rule = self._rules.get(view["rule"])
        state = AlertState(view["state"])
        metric = self._metric(view, labels, measured)
        said = self._said.get(view["key"])
        severity = checked_severity(view["severity"] if said is None else said.severity)
        labels["severity"] = severity.value
        message = said.message if said is not None and said.message else _message(rule, labels, view["value"])
        return Alert(
            id=view["transition_id"],
            rule_id=view["rule"],
            severity=severity,
            message=message if state is not AlertState.RESOLVED else f"over: {message}",
            metric=metric,
            timestamp=_moment(view["since_ms"]),
            state=state,
            key=view["key"],
            correlation_id=view["correlation_id"],
            started_at=_moment(view["started_at_ms"]),
            labels=labels,
            description="" if rule is None else rule.description,
            runbook_url=view["runbook_url"],
            routing_key=view["routing_key"],
        )

    def _metric(self, view: dict[str, Any], labels: dict[str, str], measured: _Measured) -> Any:
        """The one of these metrics that it is about; else what is known of it."""
        instance, name = labels.get("instance_id", ""), labels["metric"]
        if found := measured.get((name, instance)):
            exact = (metric for metric, sample in found if view["value"] in (sample[5], repr(sample[4])))
            return next(exact, found[-1][0])
        custom = view["rule"] in self._threads
        own = {"alertname", "severity", "page", "metric", "instance_id", "database_type"}
        return Seen(
            name,
            None if custom or not view["value"] else float(view["value"]),
            instance,
            _moment(view["since_ms"]),
            {key: each for key, each in labels.items() if key not in own},
        )

    # ------------------------------------------------------------------ to look at
    @property
    def active_alerts(self) -> dict[str, Alert]:
        """What is firing now, by its key."""
        with self._lock:
            views = json.loads(self._engine.alerts())
            return {view["key"]: self._alert(view, {}) for view in views if view["state"] != "pending"}

    @property
    def counts(self) -> dict[str, int]:
        """How many ``metrics`` were evaluated, were ``invalid``, and of each kind of alert were told."""
        with self._lock:
            return dict(self._counts)

    @property
    def failures(self) -> dict[str, dict[str, int]]:
        """Metrics that a rule of your own said nothing about, by rule and reason.

        ``raised``; ``deadline``: it took too long; ``busy``: it had not come back from metrics before.
        """
        with self._lock:
            return {name: dict(counts) for name, counts in self._failures.items()}

    @property
    def state(self) -> str:
        """What another evaluator can go on from."""
        with self._lock:
            return self._engine.state()

    def _failed(self, rule: AlertRule, reason: str, error: BaseException | None) -> None:
        name = rule_id(rule)
        counts = self._failures.setdefault(name, Counter())
        counts[reason] += 1
        self._report.increment("alerting.rule_failures", labels={"rule": name, "reason": reason})
        if counts[reason] == 1:
            logger.warning("rule %s: %s; more of it is only counted", name, _why(reason, error))

    def _invalid(self, error: Exception) -> None:
        self._counts["invalid"] += 1
        self._report.increment("alerting.invalid_metrics")
        if self._counts["invalid"] == 1:
            logger.warning("a metric was not evaluated: %s; more of it is only counted", error)

    def __repr__(self) -> str:
        return f"AlertEvaluator({len(self._rules)} rules)"


def _why(reason: str, error: BaseException | None) -> str:
    if error is not None:
        return f"{type(error).__name__}: {error}"
    return "it took longer than its deadline" if reason == "deadline" else "it has not come back from metrics before"


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _message(rule: AlertRule | None, labels: Mapping[str, str], value: str) -> str:
    where = f"{labels['metric']} of {labels.get('instance_id', '')}"
    if isinstance(rule, ThresholdRule):
        return f"{where} is {value} ({rule.operator} {rule.threshold})"
    about = rule.description if rule is not None and rule.description else labels.get("alertname", "")
    return f"{about}: {where}"


def _time(metric: MeasuredMetric) -> int | None:
    given: Any = getattr(metric, "timestamp", None)
    if given is None:
        return None
    if isinstance(given, str):
        given = datetime.fromisoformat(given.strip().replace("Z", "+00:00"))
    if isinstance(given, datetime):
        if given.tzinfo is None:
            given = given.astimezone()
        return int((given - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"timestamp={given!r}: expected a datetime, ISO 8601, or seconds since the epoch")
    if not abs(given) < LAST_SECOND:
        raise ValueError(f"timestamp={given!r}: expected seconds since the epoch; these may be milliseconds")
    return round(given * 1000)
