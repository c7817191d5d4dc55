"""A real Prometheus scrapes the built-in server and answers queries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

from gds_metrics import PrometheusMetrics
from tests.helpers.certificates import make_pki
from tests.services.fixtures import require_service
from tests.services.run import Prometheus, scrape_job

TOKEN = "s3cret-token"


@dataclass(frozen=True)
class Scraped:
    """One Prometheus with a job for each way to reach a page; its first scrape takes five seconds."""

    prometheus: Prometheus
    metrics: dict[str, PrometheusMetrics]
    trace: dict[str, str]


pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    require_service("prometheus")
    folder: Path = tmp_path_factory.mktemp("real")
    pki = make_pki(folder)
    (folder / "token").write_text(TOKEN)
    (folder / "wrong").write_text("wrong")
    (folder / "users").write_text("prom:pa:ss\n")
    tls = {"certfile": pki.server_cert, "keyfile": pki.server_key}
    with ExitStack() as opened:

        def serve(**settings: Any) -> PrometheusMetrics:
            return opened.enter_context(PrometheusMetrics(port=0, addr="127.0.0.1", **settings))

        metrics = {
            "plain": serve(),
            "secure": serve(**tls, client_cafile=pki.ca, bearer_token_file=folder / "token"),
            "users": serve(basic_auth_file=folder / "users"),
        }
        trace = fill(metrics["plain"])
        for name in ("secure", "users"):
            fill(metrics[name])
        target = {name: [f"127.0.0.1:{collector.port}"] for name, collector in metrics.items()}
        client: dict[str, Any] = {"ca": pki.ca, "cert": pki.client_cert, "key": pki.client_key}
        jobs = [
            scrape_job("plain", target["plain"]),
            scrape_job("filtered", target["plain"], params={"name[]": ["gds_requests_total"]}),
            scrape_job("secure", target["secure"], scheme="https", bearer_token_file=folder / "token", **client),
            scrape_job("no_token", target["secure"], scheme="https", **client),
            scrape_job("wrong_token", target["secure"], scheme="https", bearer_token_file=folder / "wrong", **client),
            scrape_job("no_certificate", target["secure"], scheme="https", ca=pki.ca),
            scrape_job("users", target["users"], basic_auth=("prom", "pa:ss")),
            scrape_job("wrong_user", target["users"], basic_auth=("prom", "pass")),
        ]
        prometheus = opened.enter_context(Prometheus(jobs))
        prometheus.wait_for("count(up)", lambda samples: bool(samples) and samples[0].value == len(jobs))
        yield Scraped(prometheus, metrics, trace)


def fill(metrics: PrometheusMetrics) -> dict[str, str]:
    """The same for every job; returns the ids of the trace in its exemplars."""
    metrics.describe("latency_seconds", help="Time to answer.", unit="seconds", buckets=[0.1, 0.2, 0.4, 0.8])
    for number in range(100):
        metrics.increment("requests", 2, {"status": "200" if number % 4 else "500"})
        metrics.timing("latency_seconds", 5 + number * 10)
    metrics.gauge("depth", -3.5, {"queue": 'a "b"\\\n日'})
    metrics.gauge("nothing", math.nan)
    metrics.gauge("everything", math.inf)
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work") as span:
        metrics.increment("traced")
        metrics.histogram("traced_size", 0.3)
    context = span.get_span_context()
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


@pytest.mark.parametrize("job", ["plain", "filtered", "secure", "users"])
def test_a_scrape_with_the_right_credentials_is_up(scraped: Scraped, job: str) -> None:
    scraped.prometheus.wait_for(f'up{{job="{job}"}} == 1')


@pytest.mark.parametrize(
    ("job", "why"),
    [("no_token", "401"), ("wrong_token", "401"), ("wrong_user", "401"), ("no_certificate", "certificate")],
)
def test_a_scrape_with_the_wrong_credentials_is_down(scraped: Scraped, job: str, why: str) -> None:
    scraped.prometheus.wait_for(f'up{{job="{job}"}} == 0')
    (target,) = (target for target in scraped.prometheus.targets() if target.job == job)
    assert why in target.last_error


@pytest.mark.parametrize("job", ["plain", "secure", "users"])
def test_queries_return_what_was_reported(scraped: Scraped, job: str) -> None:
    prometheus = scraped.prometheus
    prometheus.wait_for(f'gds_requests_total{{job="{job}"}}')
    for expression, value in [
        (f'gds_requests_total{{job="{job}",status="200"}}', 150),
        (f'sum(gds_requests_total{{job="{job}"}})', 200),
        (f'gds_latency_seconds_count{{job="{job}"}}', 100),
        (f'gds_latency_seconds_sum{{job="{job}"}}', 50),
        (f'gds_depth{{job="{job}",queue="a \\"b\\"\\\\\\n日"}}', -3.5),
        (f'gds_everything{{job="{job}"}}', math.inf),
    ]:
        (sample,) = prometheus.query(expression)
        assert sample.value == pytest.approx(value), expression
    (sample,) = prometheus.query(f'gds_nothing{{job="{job}"}}')
    assert math.isnan(sample.value)


@pytest.mark.parametrize(("quantile", "low", "high"), [(0.5, 0.4, 0.6), (0.15, 0.1, 0.2), (0.05, 0.0, 0.1)])
def test_quantiles_of_a_histogram_are_plausible(scraped: Scraped, quantile: float, low: float, high: float) -> None:
    expression = f'histogram_quantile({quantile}, gds_latency_seconds_bucket{{job="plain"}})'
    (sample,) = scraped.prometheus.wait_for(expression)
    assert low <= sample.value <= high


def test_exemplars_lead_to_the_trace(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    prometheus.wait_for('gds_traced_total{job="plain"}')
    (counter,) = prometheus.query_exemplars('gds_traced_total{job="plain"}')
    assert (counter.labels, counter.value) == (scraped.trace, 1)
    (bucket,) = prometheus.query_exemplars('gds_traced_size_bucket{job="plain"}')
    assert (bucket.labels, bucket.value) == (scraped.trace, 0.3)
    assert bucket.series_labels["le"] == "0.5"


def test_a_filtered_scrape_has_the_names_asked_for_alone(scraped: Scraped) -> None:
    scraped.prometheus.wait_for('gds_requests_total{job="filtered"}')
    found = {sample.labels["__name__"] for sample in scraped.prometheus.query('{job="filtered",__name__=~"gds_.*"}')}
    assert found == {"gds_requests_total"}


def test_a_counter_that_rises_is_seen_rising(scraped: Scraped) -> None:
    scraped.metrics["plain"].increment("rising", 10)
    scraped.prometheus.wait_for('gds_rising_total{job="plain"} == 10')
    scraped.metrics["plain"].increment("rising", 5)
    scraped.prometheus.wait_for('gds_rising_total{job="plain"} == 15')
    scraped.prometheus.wait_for('gds_metrics_scrape_duration_seconds{job="plain"} > 0')
    scraped.prometheus.wait_for('process_resident_memory_bytes{job="plain"} > 1e6')
