"""The first metric: count something and look at the page."""

from gds_metrics import PrometheusMetrics

metrics = PrometheusMetrics(port=0)  # 0 picks a free port; a program that is scraped names one
metrics.increment("requests", labels={"path": "/"})
print(f"served at http://127.0.0.1:{metrics.port}/metrics")
print(metrics.render(names=["gds_requests_total"]).decode())
