"""A program under load, and what Prometheus sees of it.

    python demo.py --seconds 10

Threads play a client of a secret store and a database tool. A real Prometheus scrapes them when there is one (on the
path, or where `make test` installs it); without one the demo scrapes by itself. It ends by itself with a summary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from gds_metrics import NoOpMetrics, PrometheusMetrics

WIDTH = 92
SCRAPE_INTERVAL_MS = 200
# Prometheus looks for targets for five seconds before its first scrape; a busy machine takes longer.
PATIENCE_SECONDS = 20.0
BUCKETS = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.064)
TABLES = ("users", "orders", "invoices")
# The environment's proxies are for other machines.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# ------------------------------------------------------------------ what is shown
class Screen:
    """Plain lines, with colour and a moving line where a person looks at a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.live = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.live and "NO_COLOR" not in os.environ

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, if colours are shown."""
        return f"\033[{code}m{text}\033[0m" if self._colour else text

    def line(self, text: str = "") -> None:
        """One line."""
        print(text, file=self._out, flush=True)

    def title(self, text: str) -> None:
        """The head of a section."""
        self.line()
        self.line(self.paint(text, "1;36"))

    def moving(self, text: str) -> None:
        """A line that replaces the one before; nothing where lines cannot be replaced."""
        if self.live:
            print(f"\r\033[K{text}", end="", file=self._out, flush=True)

    def row(self, what: str, *cells: str, mark: str = "") -> None:
        """A row of a table."""
        texts = "".join(f"{cell:>14}" for cell in cells)
        self.line(f"  {what:<42}{texts}  {mark}".rstrip())


# ------------------------------------------------------------------ the program under load
class Program:
    """What is observed: it counts for itself as well, so that the answers can be checked."""

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self.metrics = metrics
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.latencies_ms: dict[str, list[float]] = {"vault": [], "query": []}
        metrics.describe("vault.secret.fetch", help="Time to fetch a secret from the store.", buckets=BUCKETS)
        metrics.describe("db.query", help="Time of a query.", buckets=BUCKETS)
        metrics.describe("db.rows", help="Rows that a query returned.", buckets=(1, 10, 100, 1000))
        metrics.describe("vault.cache", help="Secrets asked for, by what the cache knew.")

    def threads(self) -> list[threading.Thread]:
        """Four that play the client of the secret store, two that play the database tool."""
        plays = [self._read_secrets] * 4 + [self._run_queries] * 2
        return [threading.Thread(target=play, args=(seed,), daemon=True) for seed, play in enumerate(plays)]

    def _wait(self, rng: random.Random, median_ms: float) -> float:
        begin = time.perf_counter()
        self.stop.wait(rng.lognormvariate(0, 0.5) * median_ms / 1000)
        return (time.perf_counter() - begin) * 1000

    def _count(self, what: str, latencies: str = "", value_ms: float = 0.0) -> None:
        with self.lock:
            self.counts[what] += 1
            if latencies:
                self.latencies_ms[latencies].append(value_ms)

    def _read_secrets(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self.stop.is_set():
            if rng.random() < 0.6:
                self.metrics.increment("vault.cache", labels={"result": "hit"})
                self._count("hit")
                self.stop.wait(0.002)
                continue
            failed = rng.random() < 0.05
            result = "error" if failed else "miss"
            value_ms = self._wait(rng, 9 if failed else 5)
            self.metrics.increment("vault.cache", labels={"result": result})
            self.metrics.timing("vault.secret.fetch", value_ms)
            self._count(result, "vault", value_ms)

    def _run_queries(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self.stop.is_set():
            table = rng.choice(TABLES)
            self.metrics.gauge("db.connections", rng.randint(1, 8))
            value_ms = self._wait(rng, 8)
            self.metrics.timing("db.query", value_ms, {"table": table})
            self.metrics.histogram("db.rows", rng.randint(0, 500), {"table": table})
            self._count("query", "query", value_ms)


# ------------------------------------------------------------------ who scrapes it
def find_prometheus() -> Path | None:
    """The newest Prometheus on the path or in the cache of the tests."""
    on_path = shutil.which("prometheus")
    if on_path:
        return Path(on_path)
    cache = Path(os.environ.get("GDS_CACHE_DIR") or Path.home() / ".cache" / "gds-telemetry")
    found = sorted(path for path in cache.glob("prometheus-*/bin/prometheus") if os.access(path, os.X_OK))
    return found[-1] if found else None


class PrometheusServer:
    """A Prometheus of this demo's own, in a temporary folder, on a free port."""

    name = "Prometheus"

    def __init__(self, binary: Path, target: str) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gds-demo-")))
        every = f"{SCRAPE_INTERVAL_MS}ms"
        job = {"job_name": "demo", "static_configs": [{"targets": [target]}]}
        settings = {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": [job]}
        (folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
        self._log = folder / "log"
        log = self._stack.enter_context(self._log.open("wb"))
        self._process = subprocess.Popen(
            [binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the demo, which still has questions
        )
        self._stack.callback(self._end)
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self.close()
            raise

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            log = self._log.read_text(errors="replace")
            port = re.search(r'msg="Listening on".*address=127\.0\.0\.1:(\d+)', log)
            if port and "ready to receive web requests" in log:
                return f"http://127.0.0.1:{port[1]}"
            time.sleep(0.05)
        raise OSError(f"{self._process.args!r} did not start: {self._log.read_text(errors='replace')[-300:]}")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, expression: str, at_seconds: float | None = None) -> float | None:
        """The value of an expression, now or at a time; None while there is none."""
        query = {"query": expression} | ({} if at_seconds is None else {"time": str(at_seconds)})
        with HTTP.open(f"{self.url}/api/v1/query?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def scrapes(self) -> int:
        """How many scrapes have come back so far."""
        return int(self.ask('count_over_time(up{job="demo"}[5m])') or 0)

    def total(self, name: str, labels: str) -> float | None:
        """The sum over the series of a counter."""
        return self.ask(f"sum({name}{{{labels}}})")

    def rate(self, name: str, at_seconds: float) -> float | None:
        """How fast a counter grew, per second, in the two seconds before a time."""
        return self.ask(f"sum(rate({name}[2s]))", at_seconds)

    def quantile(self, name: str, quantile: float) -> float | None:
        """A quantile of a histogram, in its unit."""
        return self.ask(f"histogram_quantile({quantile}, sum by (le) ({name}_bucket))")

    def close(self) -> None:
        """Stop it and remove its folder."""
        self._stack.close()


class OwnScrapes:
    """Without a Prometheus: the demo fetches the page and reckons as Prometheus does."""

    name = "the page"

    def __init__(self, target: str) -> None:
        self._url = f"http://{target}/metrics"
        self._begin_seconds = time.time()
        self._scrapes = 0

    def _samples(self, name: str, labels: str) -> list[tuple[str, float]]:
        with HTTP.open(self._url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        self._scrapes += 1
        samples = (re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line) for line in lines)
        return [(s[2] or "", float(s[3])) for s in samples if s and s[1] == name and labels in (s[2] or "")]

    def scrapes(self) -> int:
        """How many scrapes have come back so far."""
        self._samples("up", "")
        return self._scrapes

    def total(self, name: str, labels: str) -> float | None:
        """The sum over the series of a counter."""
        return sum(value for _, value in self._samples(name, labels))

    def rate(self, name: str, at_seconds: float) -> float | None:
        """How fast a counter grew, per second, since the demo began."""
        return (self.total(name, "") or 0.0) / (at_seconds - self._begin_seconds)

    def quantile(self, name: str, quantile: float) -> float | None:
        """A quantile of a histogram, linear within its bucket."""
        buckets: defaultdict[float, float] = defaultdict(float)
        for labels, value in self._samples(f"{name}_bucket", ""):
            buckets[float(labels.rpartition('le="')[2].rstrip('"'))] += value
        wanted = quantile * buckets[float("inf")]
        low, below = 0.0, 0.0
        for bound, count in sorted(buckets.items()):
            if count >= wanted > below:
                return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return None

    def close(self) -> None:
        """Nothing is open."""


def start_scraping(screen: Screen, target: str) -> PrometheusServer | OwnScrapes:
    """A real Prometheus if there is one."""
    binary = find_prometheus()
    if binary is None:
        screen.line("There is no Prometheus on the path or in the cache, so the demo scrapes by itself.")
        return OwnScrapes(target)
    try:
        server = PrometheusServer(binary, target)
    except OSError as error:
        screen.line(f"The demo scrapes by itself, because Prometheus cannot be started: {error}")
        return OwnScrapes(target)
    screen.line(f"A real Prometheus scrapes it every {SCRAPE_INTERVAL_MS} ms: {server.url}")
    return server


# ------------------------------------------------------------------ the demo
TOTALS = (
    ("secrets found in the cache", "hit", "demo_vault_cache_total", 'result="hit"'),
    ("secrets fetched", "miss", "demo_vault_cache_total", 'result="miss"'),
    ("fetches that failed", "error", "demo_vault_cache_total", 'result="error"'),
    ("queries", "query", "demo_db_query_count", ""),
)
LATENCIES = (("fetch of a secret", "vault", "demo_vault_secret_fetch"), ("query", "query", "demo_db_query"))
QUANTILES = (0.5, 0.9, 0.99)


def run_load(screen: Screen, program: Program, scraper: PrometheusServer | OwnScrapes, seconds: float) -> float:
    """Keep the program busy until the time is up and it was scraped; returns how long it was."""
    begin, least_scrapes = time.monotonic(), 12
    threads = program.threads()
    try:
        for thread in threads:
            thread.start()
        screen.line(f"Under load for {seconds:g} s; Ctrl-C ends it early.")
        while True:
            elapsed = time.monotonic() - begin
            is_late = elapsed > seconds + PATIENCE_SECONDS
            if elapsed >= seconds and (is_late or scraper.scrapes() >= least_scrapes):
                break
            done = min(1.0, elapsed / seconds)
            bar = screen.paint("#" * int(done * 40), "32") + "." * (40 - int(done * 40))
            reported = sum(program.counts.values())
            state = "under load" if elapsed < seconds else "until Prometheus has found it"
            screen.moving(f"  [{bar}] {elapsed:4.1f} s, {reported:,} events, {state}")
            program.stop.wait(0.1)
    except KeyboardInterrupt:
        screen.moving("")
        screen.line("  interrupted: here is what there is so far")
    program.stop.set()
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    screen.moving("")
    return time.monotonic() - begin


def wait_for_last_scrape(program: Program, scraper: PrometheusServer | OwnScrapes) -> dict[str, float | None]:
    """The totals as the scraper has them, asked until they are those of the program or the time is up."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answers = {key: scraper.total(name, labels) for _, key, name, labels in TOTALS}
        is_same = all((answers[key] or 0) == program.counts[key] for key in answers)
        if is_same or time.monotonic() > deadline:
            return answers
        time.sleep(0.1)


def show_page(screen: Screen, metrics: PrometheusMetrics) -> None:
    """The beginning of each family of the program's own, and what was left out."""
    lines = metrics.render().decode().splitlines()
    shown = 0
    screen.title("The page, shortened")
    for name in ("demo_vault_cache", "demo_vault_secret_fetch", "demo_db_query", "demo_db_connections"):
        own = [line for line in lines if re.match(rf"(# \w+ )?{name}(_total|_bucket|_count|_sum)?[ {{]", line)]
        kept = own if len(own) <= 6 else [*own[:5], "...", own[-2], own[-1]]
        shown += len([line for line in kept if line != "..."])
        for line in kept:
            text = line if len(line) <= WIDTH - 4 else f"{line[: WIDTH - 7]}..."
            screen.line("  " + (screen.paint(text, "2") if line.startswith(("#", "...")) else text))
    screen.line(screen.paint(f"  ({shown} of {len(lines)} lines; the others are of the same kind)", "2"))


def show_totals(
    screen: Screen,
    program: Program,
    scraper: PrometheusServer | OwnScrapes,
    answers: dict[str, float | None],
    elapsed: float,
    end_seconds: float,
) -> bool:
    """What the program counted for itself beside what the scraper answers; whether the two are the same."""
    screen.title("What was reported, and what is answered for it")
    screen.row("", "program", scraper.name)
    is_right = True
    for what, key, _, _ in TOTALS:
        expected, answer = program.counts[key], answers.get(key) or 0.0
        is_same = answer == expected
        is_right = is_right and is_same
        mark = screen.paint("same", "32") if is_same else screen.paint("differs", "31")
        screen.row(what, f"{expected:,}", f"{answer:,.0f}", mark=mark)
    asked = sum(program.counts[key] for key in ("hit", "miss", "error"))
    rate = scraper.rate("demo_vault_cache_total", end_seconds)
    shown_rate = "-" if rate is None else f"{rate:,.0f}/s"
    screen.row("secrets asked for, per second", f"{asked / elapsed:,.0f}/s", shown_rate)
    return is_right


def show_latencies(screen: Screen, program: Program, scraper: PrometheusServer | OwnScrapes) -> None:
    """Exact quantiles of the program beside those of the histogram."""
    screen.title("How long it took, in milliseconds (buckets are coarse, so the answers are near, not equal)")
    screen.row("", *(f"p{quantile * 100:g}" for quantile in QUANTILES))
    for what, key, name in LATENCIES:
        values = program.latencies_ms[key]
        if len(values) < 2:
            continue
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        screen.row(f"{what}, by the program", *(f"{cuts[round(quantile * 100) - 1]:.1f}" for quantile in QUANTILES))
        answers = [scraper.quantile(name, quantile) for quantile in QUANTILES]
        shown = ("-" if answer is None else f"{answer * 1000:.1f}" for answer in answers)
        screen.row(f"{what}, by {scraper.name}", *shown)


def show_cost(screen: Screen) -> None:
    """The cost of a call, measured now, on a collector of its own."""
    metrics, nothing, labels = PrometheusMetrics(start_server=False), NoOpMetrics(), {"result": "hit"}
    calls = {
        "increment with a label": lambda: metrics.increment("calls", labels=labels),
        "timing with a label": lambda: metrics.timing("time", 1.5, labels),
        "increment of NoOpMetrics": lambda: nothing.increment("calls", labels=labels),
    }
    number, best_seconds = 5_000, dict.fromkeys(calls, float("inf"))
    for _ in range(20):  # in turn, so that a busy moment of the machine falls on all of them
        for what, call in calls.items():
            best_seconds[what] = min(best_seconds[what], timeit.timeit(call, number=number) / number)
    screen.title("What a call costs here, now, the loop around it included")
    for what, seconds in best_seconds.items():
        screen.row(what, f"{seconds * 1e9:,.0f} ns")


def summary(screen: Screen, program: Program, scraper: PrometheusServer | OwnScrapes, elapsed: float) -> int:
    """Ask, compare and show; the exit code."""
    end_seconds = time.time()
    try:
        answers = wait_for_last_scrape(program, scraper)
    except KeyboardInterrupt:
        answers = {}
    show_page(screen, program.metrics)
    is_right = show_totals(screen, program, scraper, answers, elapsed, end_seconds)
    show_latencies(screen, program, scraper)
    show_cost(screen)
    page = program.metrics.render(names=["gds_metrics_dropped_total"]).decode()
    dropped = sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if not line.startswith("#"))
    events = sum(program.counts.values())
    screen.title("In short")
    screen.line(f"  {events:,} events in {elapsed:.1f} s, scraped {scraper.scrapes():,} times, dropped {dropped:.0f}.")
    if is_right or not answers:
        return 0
    screen.line("  The totals differ. Either the last scrape never came or this is a defect.")
    return 1


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the program is under load (10)")
    seconds = max(0.5, parser.parse_args().seconds)
    screen = Screen(sys.stdout)
    metrics = PrometheusMetrics(prefix="demo", port=0, addr="127.0.0.1")
    target = f"127.0.0.1:{metrics.port}"
    screen.line(screen.paint("gds-telemetry: a program under load, and what Prometheus sees of it", "1"))
    screen.line(f"Six threads play a client of a secret store and a database tool: http://{target}/metrics")
    with ExitStack() as stack:
        stack.callback(metrics.close)
        scraper = start_scraping(screen, target)
        stack.callback(scraper.close)
        program = Program(metrics)
        elapsed = run_load(screen, program, scraper, seconds)
        return summary(screen, program, scraper, elapsed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
