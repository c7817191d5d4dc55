"""Many processes that share a folder show one page, whichever way they came and whichever way they go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as text_families

from gds_metrics import PrometheusMetrics
from tests.metrics.programs import Program, run
from tests.services.process import http_text, wait_until

pytestmark = pytest.mark.timing

TORN = ("gds_metrics_multiprocess_skipped_total", {"reason": "torn"})


def setup(folder: Path, settings: str = "start_server=False") -> str:
    return (
        "from gds_metrics import PrometheusMetrics\n"
        f"metrics = PrometheusMetrics(prefix='', multiprocess_dir={str(folder)!r}, {settings})"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def metrics(folder: Path) -> PrometheusMetrics:
    return PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Program]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Program(setup(folder)))


def openmetrics_families(page: str) -> list[Metric]:
    return list(openmetrics_parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]


def members(folder: Path, ending: str = "gds") -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == f".{ending}")


def test_every_process_shows_the_sum_of_all(metrics: PrometheusMetrics, start: Callable[[], Program]) -> None:
    programs = [start() for _ in range(3)]
    for times, program in enumerate(programs, 1):
        program.do(f"for _ in range({times}): metrics.increment('requests', 2, {{'path': '/'}})")
        program.do("metrics.histogram('size', 0.3); metrics.timing('took', 300)")
    metrics.increment("requests", 1, {"path": "/"})
    expected = {"requests": 13.0, "size": 3.0, "size_sum": 0.3 * 3, "took_count": 3.0}
    for name, value in expected.items():
        labels = {"path": "/"} if name == "requests" else None
        assert metrics.sample(name, labels) == pytest.approx(value)
        for program in programs:
            assert program.ask(f"metrics.sample({name!r}, {labels!r})") == pytest.approx(value)
    assert metrics.sample("took_bucket", {"le": "0.5"}) == 3
    assert metrics.sample("took_bucket", {"le": "0.25"}) == 0


def test_the_folder_may_come_from_the_environment(metrics: PrometheusMetrics, folder: Path) -> None:
    source = """
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False)
metrics.increment("requests", 2)
print(metrics.sample("requests"))
"""
    metrics.increment("requests")
    assert run(source, extra={"PROMETHEUS_MULTIPROC_DIR": str(folder)}) == "3.0\n"
    assert metrics.sample("requests") == 3


def test_an_empty_folder_setting_overrides_the_environment(folder: Path) -> None:
    source = """
from gds_metrics import PrometheusMetrics
PrometheusMetrics(start_server=False, multiprocess_dir="").increment("requests")
"""
    run(source, extra={"PROMETHEUS_MULTIPROC_DIR": str(folder)})
    assert not folder.exists()


def test_gauges_become_one_as_described(metrics: PrometheusMetrics, start: Callable[[], Program]) -> None:
    ways = ("sum", "min", "max", "last", "pid")
    described = f"for way in {ways}: metrics.describe(way, aggregation=way)"
    programs = [start() for _ in range(3)]
    for value, program in zip((5, 2, 9), programs, strict=True):
        program.do(described)
        # All but `last` have their values from the first line on.
        program.do(f"for way in {ways}: metrics.gauge(way, {value}, {{'a': 'b'}})")
    labels = {"a": "b"}
    assert [metrics.sample(way, labels) for way in ("sum", "min", "max")] == [16, 2, 9]
    page = metrics.render().decode()
    for value, program in zip((5, 2, 9), programs, strict=True):
        assert f'pid{{a="b",pid="{program.process.pid}"}} {value}.0\n' in page

    # Time goes on in steps of a clock that is coarse: until this one's stamp is later than the others'.
    def last_is_seven() -> bool:
        programs[0].do("metrics.gauge('last', 7, {'a': 'b'})")
        return metrics.sample("last", labels) == 7

    assert wait_until(last_is_seven, what="the latest value of all processes")


def test_gauges_of_the_dead_go_and_their_counts_stay(
    metrics: PrometheusMetrics, start: Callable[[], Program], folder: Path
) -> None:
    program = start()
    program.do("metrics.describe('version', aggregation='last'); metrics.gauge('version', 3)")
    program.do("metrics.gauge('busy', 1); metrics.increment('requests', 5); metrics.histogram('size', 1)")
    assert (metrics.sample("busy"), metrics.sample("requests")) == (1, 5)
    program.kill()
    for _ in range(3):
        assert (metrics.sample("busy"), metrics.sample("requests"), metrics.sample("size")) == (None, 5, 1)
        assert metrics.sample("version") == 3
        assert len(members(folder)) == 1
    assert len(members(folder, "gds-archive")) == 1


def test_exemplars_of_another_process_are_shown_and_outlive_it(
    metrics: PrometheusMetrics, start: Callable[[], Program]
) -> None:
    program = start()
    program.do("""
from opentelemetry import context, trace
span = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
metrics.increment("requests")
metrics.timing("took", 300)
""")
    for alive in (True, False):
        families = {family.name: family for family in openmetrics_families(metrics.render(openmetrics=True).decode())}
        [count] = [sample for sample in families["requests"].samples if sample.name == "requests_total"]
        [bucket] = [sample for sample in families["took"].samples if sample.exemplar]
        for sample, value in ((count, 1), (bucket, 0.3)):
            assert sample.exemplar is not None
            assert sample.exemplar.labels["trace_id"] == f"{0xABC:032x}"
            assert sample.exemplar.value == value
        if alive:
            program.kill()


def test_parsers_of_prometheus_client_read_the_merged_page(
    metrics: PrometheusMetrics, start: Callable[[], Program]
) -> None:
    programs = [start() for _ in range(2)]
    for program in programs:
        program.do("""
metrics.describe("size", help="Sizes.", buckets=[1, 10])
metrics.describe("held", aggregation="pid")
for n in range(50):
    metrics.increment("requests", labels={"path": f"/{n}", "quoted": 'a"b\\\\c\\n'})
    metrics.histogram("size", n, {"path": "/"})
metrics.gauge("held", 4)
""")
    programs[0].kill()
    text = {family.name: family for family in text_families(metrics.render().decode())}
    openmetrics = {family.name: family for family in openmetrics_families(metrics.render(openmetrics=True).decode())}
    for families in (text, openmetrics):
        counts = [sample for sample in families["requests"].samples if sample.name == "requests_total"]
        assert [sample.value for sample in counts] == [2.0] * 50
        assert {sample.labels["quoted"] for sample in counts} == {'a"b\\c\n'}
        buckets = {
            sample.labels["le"]: sample.value for sample in families["size"].samples if sample.name == "size_bucket"
        }
        assert list(buckets.values()) == [4, 22, 100]
        assert [sample.value for sample in families["held"].samples] == [4]


def test_a_scrape_of_the_port_that_workers_share_shows_the_sum(folder: Path) -> None:
    with ExitStack() as stack:
        programs = [stack.enter_context(Program(setup(folder, "port=0, addr='127.0.0.1'")))]
        port = programs[0].ask("metrics.port")
        serving = setup(folder, f"port={port}, addr='127.0.0.1'")
        programs += [stack.enter_context(Program(serving)) for _ in range(2)]
        for program in programs:
            program.do("metrics.describe('who', aggregation='pid'); metrics.gauge('who', 1)")
        for total in range(1, 21):
            programs[total % 3].do("metrics.increment('requests')")
            page = http_text(port, "/metrics")
            assert f"\nrequests_total {total}.0\n" in page
            assert set(map(int, re.findall(r'who\{pid="(\d+)"\} 1\.0\n', page))) == {p.process.pid for p in programs}
        # Whoever is left answers for those who were killed.
        for program in programs[:2]:
            program.kill()
        assert "\nrequests_total 20.0\n" in http_text(port, "/metrics")


def test_a_port_of_another_program_is_taken_also_where_that_one_shares_it(
    folder: Path, tmp_path: Path, leased_port: int
) -> None:
    with Program(setup(tmp_path / "other")) as other:
        assert other.ask(f"metrics.start_server({leased_port})") == leased_port
        with pytest.raises(OSError, match=f"port {leased_port}"):
            PrometheusMetrics(port=leased_port, multiprocess_dir=folder)


def test_files_of_others_in_the_folder_are_left_alone(folder: Path, start: Callable[[], Program]) -> None:
    folder.mkdir()
    others = {
        folder / "counter_4242.db": b"\x00" * 4096,
        folder / "gauge_livesum_4242.db": b"not ours",
        folder / "notes.txt": b"",
        folder / ".hidden": b"x",
    }
    for path, content in others.items():
        path.write_bytes(content)
    (folder / "below").mkdir()
    metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
    program = start()
    program.do("metrics.increment('requests')")
    program.kill()
    assert metrics.sample("requests") == 1
    assert {path: path.read_bytes() for path in others} == others
    assert (folder / "below").is_dir()
    assert metrics.sample(*TORN) is None


def test_forked_and_spawned_workers_of_multiprocessing_count_on_one_page(folder: Path, tmp_path: Path) -> None:
    module = tmp_path / "app.py"
    module.write_text(f"""
import multiprocessing, sys
from gds_metrics import PrometheusMetrics

metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir={str(folder)!r})

def work(times):
    for _ in range(times):
        metrics.increment("requests")
        metrics.histogram("size", 1)
    return metrics.sample("requests") >= times

if __name__ == "__main__":
    metrics.increment("requests")
    for way in sys.argv[1:]:
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert all(pool.map(work, [100] * 6, chunksize=1))
    print(metrics.sample("requests"), metrics.sample("size"))
""")
    source = f"""
import runpy, sys
sys.path.insert(0, {str(tmp_path)!r})
runpy.run_path({str(module)!r}, None, "__main__")
"""
    assert run(source, "fork", "spawn", "forkserver") == "1801.0 1800.0\n"


def test_forks_of_forks_count_on_one_page(metrics: PrometheusMetrics, folder: Path) -> None:
    source = (
        setup(folder)
        + """
import os
metrics.increment("requests", 1, {"depth": "any"})
for depth in range(4):
    if os.fork():
        os.wait()
        break
    metrics.increment("requests", 1, {"depth": "any"})
else:
    assert metrics.sample("requests", {"depth": "any"}) == 5, metrics.sample("requests", {"depth": "any"})
os._exit(0)
"""
    )
    run(source)
    assert metrics.sample("requests", {"depth": "any"}) == 5
    assert len(members(folder)) == 1


WORKERS = (
    """
import os, random, select, signal, sys, time
folder, kills = sys.argv[1], int(sys.argv[2])
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
told, tell = os.pipe()

def work(number):
    # A byte for each increment, after it: what this worker acknowledged.
    while True:
        metrics.increment("work", labels={"kind": "a"})
        metrics.timing("took", 1)
        os.write(tell, bytes([number]))

def scrape():
    last = (0, 0)
    while True:
        now = (metrics.sample("work", {"kind": "a"}) or 0, metrics.sample("took_count") or 0)
        if now[0] < last[0] or now[1] < last[1]:
            os._exit(1)
        last = now

def fork(run, *arguments):
    process_id = os.fork()
    if process_id == 0:
        try:
            run(*arguments)
        finally:
            os._exit(2)
    return process_id

def end(process_id):
    os.kill(process_id, signal.SIGKILL)
    status = os.waitpid(process_id, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGKILL, f"{process_id} had ended with {status}"

acknowledged = []
def worker():
    acknowledged.append(0)
    number = len(acknowledged) - 1
    return fork(work, number), number

def hear(seconds):
    # Counts what was acknowledged, waiting so long for any of it; whether there was any.
    if not select.select([told], [], [], seconds)[0]:
        return False
    for number in os.read(told, 1 << 16):
        acknowledged[number] += 1
    return True

chance = random.Random(1)
"""
    # What follows runs the workers and kills them.
)


def test_no_count_is_lost_or_doubled_when_workers_are_killed_under_load(folder: Path) -> None:
    folder.mkdir()
    source = (
        WORKERS
        + """
workers = [worker() for _ in range(3)]
scrapers = [fork(scrape) for _ in range(2)]
last = 0
for kill in range(kills):
    place = chance.randrange(len(workers))
    process_id, number = workers[place]
    enough = chance.randrange(1, 50)
    while acknowledged[number] < enough:
        assert hear(30), "a worker that does not work"
    before = sum(acknowledged)
    now = metrics.sample("work", {"kind": "a"})
    assert now >= before and now >= last, (now, before, last)
    last = now
    end(process_id)
    workers[place] = worker()
for process_id, _ in workers:
    end(process_id)
for process_id in scrapers:
    end(process_id)
while hear(0):
    pass
killed = kills + len(workers)
assert killed == len(acknowledged)
for _ in range(3):
    for name, labels in (("work", {"kind": "a"}), ("took_count", None)):
        total = metrics.sample(name, labels)
        assert sum(acknowledged) <= total <= sum(acknowledged) + killed, (name, sum(acknowledged), total, killed)
assert metrics.sample("gds_metrics_multiprocess_skipped_total", {"reason": "torn"}) is None
"""
    )
    run(source, folder, 40)
    assert len(members(folder)) <= 1
    metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
    metrics.render()
    assert len(members(folder)) == 1, "the files of the dead are removed"
    assert len(members(folder, "gds-archive")) == 1


def test_scrapers_killed_while_they_fold_count_nothing_twice(folder: Path) -> None:
    folder.mkdir()
    source = (
        WORKERS
        + """
def count(times):
    for _ in range(times):
        metrics.increment("work", labels={"kind": "a"})
        metrics.timing("took", 1)
    os._exit(0)

expected = 0
for kill in range(kills):
    dead = [fork(count, 3) for _ in range(2)]
    for process_id in dead:
        assert os.waitpid(process_id, 0)[1] == 0
    expected += 6
    scrapers = [fork(scrape) for _ in range(2)]
    # From before the scraper's first scrape to after the fold, in steps smaller than that takes.
    deadline = time.perf_counter() + chance.random() * 0.012
    while time.perf_counter() < deadline:
        pass
    for process_id in scrapers:
        end(process_id)
    if kill % 8 == 7:
        now = metrics.sample("work", {"kind": "a"}), metrics.sample("took_count")
        assert now == (expected, expected), (now, expected)
now = metrics.sample("work", {"kind": "a"}), metrics.sample("took_count")
assert now == (expected, expected), (now, expected)
left = sorted(name for name in os.listdir(folder) if name.endswith((".gds", ".gds-archive")))
assert len(left) == 2, left
"""
    )
    run(source, folder, 160)


def test_two_processes_that_fold_at_once_count_nothing_twice(
    metrics: PrometheusMetrics, start: Callable[[], Program], folder: Path
) -> None:
    scrapers = [start() for _ in range(2)]
    fold = "seen = [metrics.sample('requests') for _ in range(20)]"
    for expected in range(10, 60, 10):
        run(
            setup(folder)
            + """
import os
for _ in range(10):
    if os.fork() == 0:
        metrics.increment("requests")
        os._exit(0)
    os.wait()
"""
        )
        for scraper in scrapers:
            assert scraper.process.stdin is not None
            # Told without waiting for the answer, so that both are at it together.
            scraper.process.stdin.write(f'["do", "{fold}"]\n')
            scraper.process.stdin.flush()
        for scraper in scrapers:
            scraper.line()
        assert [scraper.ask(f"set(seen) == {{{expected}}}") for scraper in scrapers] == [True, True]
    assert metrics.sample("requests") == 50


def whole_file(folder: Path) -> bytes:
    """What a process leaves that dies without being folded."""
    source = (
        setup(folder)
        + """
for n in range(20):
    metrics.increment("requests", 1, {"n": str(n)})
    metrics.histogram("size", n)
"""
    )
    run(source)
    [path] = members(folder)
    return path.read_bytes()


def test_torn_files_are_left_out_counted_and_set_aside(tmp_path: Path, folder: Path) -> None:
    whole = whole_file(tmp_path / "elsewhere")
    used = int.from_bytes(whole[16:24], "little")
    torn = [b"", b"garbage", os.urandom(4096)]
    torn += [whole[:length] for length in (10, 63, 64, used // 2, used - 1)]
    # A bit of the layout: magic, end, and of the first record length, checksum, kind, length of text and text.
    for at in (0, 7, 18, 23, 64, 68, 72, 76, 80, 96, 100):
        flipped = bytearray(whole)
        flipped[at] ^= 0x40
        torn.append(bytes(flipped))
    metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
    metrics.increment("requests", 1, {"n": "0"})
    for number, content in enumerate(torn, 1):
        (folder / f"{number}-1-1.gds").write_bytes(content)
        assert metrics.sample("requests", {"n": "0"}) == 1, f"case {number}"
        assert metrics.sample(*TORN) == number, f"case {number}"
        assert len(members(folder, "torn")) == number
    assert len(members(folder)) == 1
    # Counted once, and whole ones are still taken.
    (folder / "4242-1-1.gds").write_bytes(whole)
    assert metrics.sample("requests", {"n": "0"}) == 2
    assert metrics.sample(*TORN) == len(torn)
    list(text_families(metrics.render().decode()))


def test_any_flipped_bit_leaves_a_page(tmp_path: Path, folder: Path) -> None:
    whole = whole_file(tmp_path / "elsewhere")
    used = int.from_bytes(whole[16:24], "little")
    metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
    metrics.increment("alive")
    for at in range(0, used, 29):
        flipped = bytearray(whole[: used + 64])
        flipped[at] ^= 1 << at % 8
        (folder / "4242-1-1.gds").write_bytes(flipped)
        assert metrics.sample("alive") == 1
        # The archive is as far from being trusted: whatever it says now, it must be read again.
        (folder / "archive.gds-archive").write_bytes(flipped)
        assert metrics.sample("alive") == 1


def test_a_torn_file_of_a_living_process_is_left_where_it_is(
    metrics: PrometheusMetrics, start: Callable[[], Program], folder: Path
) -> None:
    before = set(members(folder))
    program = start()
    [path] = set(members(folder)) - before
    program.do("metrics.increment('requests')")
    assert metrics.sample("requests") == 1
    with path.open("r+b") as file:
        file.write(b"X")
    assert metrics.sample("requests") is None
    assert path.exists()
    with path.open("r+b") as file:
        file.write(b"G")
    assert metrics.sample("requests") == 1
    assert (metrics.sample(*TORN) or 0) >= 1


def test_a_disk_that_is_full_drops_and_counts_new_series_and_keeps_the_rest(folder: Path) -> None:
    # A limit on the size of files answers a process as a full disk does; Python ignores the signal that comes with it.
    source = (
        setup(folder)
        + """
import logging, resource
class Keep(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
said = []
logging.getLogger("gds_metrics").addHandler(Keep())
logging.getLogger("gds_metrics").propagate = False
metrics.increment("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for n in range(3000):
    metrics.increment("requests", 1, {"n": str(n)})
kept = 0
for n in range(3000):
    kept += metrics.sample("requests", {"n": str(n)}) == 1 if n % 50 == 0 else 0
assert 1 < kept < 60, kept
dropped = metrics.sample("gds_metrics_dropped_total", {"reason": "storage_full"})
# Each of the others was dropped, and those that are kept go on.
series = metrics.sample("gds_metrics_series")
page = metrics.render().decode()
shown = sum(line.startswith("requests_total{") for line in page.splitlines())
assert dropped == 3000 - shown, (dropped, shown)
metrics.increment("first")
metrics.increment("requests", 1, {"n": "0"})
assert (metrics.sample("first"), metrics.sample("requests", {"n": "0"})) == (2, 2)
about_storage = [text for text in said if "takes no more" in text]
assert len(about_storage) == 1, said
assert len(said) <= 2, said
"""
    )
    run(source)


def test_a_full_disk_keeps_the_counts_of_the_dead(folder: Path) -> None:
    source = (
        setup(folder)
        + """
import os, resource
def die():
    if os.fork() == 0:
        metrics.increment("requests")
        os._exit(0)
    os.wait()
die()
assert metrics.sample("requests") == 1
die()
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
for _ in range(3):
    assert metrics.sample("requests") == 2
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
for _ in range(3):
    assert metrics.sample("requests") == 2
print(sorted(name.rpartition(".")[2] for name in os.listdir(sys_argv)))
""".replace("sys_argv", repr(str(folder)))
    )
    assert run(source) == "['gds', 'gds-archive', 'lock']\n"


def test_a_scrape_costs_no_more_files_after_many_deaths(metrics: PrometheusMetrics, folder: Path) -> None:
    run(
        setup(folder)
        + """
import os
for _ in range(100):
    if os.fork() == 0:
        metrics.increment("requests")
        metrics.gauge("busy", 1)
        os._exit(0)
    os.wait()
"""
    )
    assert len(members(folder)) == 102
    assert metrics.sample("requests") == 100
    assert len(members(folder)) == 1
    assert metrics.sample("busy") is None


def test_what_is_described_before_a_fork_holds_in_the_child(metrics: PrometheusMetrics, folder: Path) -> None:
    run(
        setup(folder)
        + """
import os
metrics.describe("size", help="Sizes.", buckets=[1, 10])
metrics.describe("level", aggregation="max")
metrics.histogram("size", 5)
metrics.gauge("level", 4)
if os.fork() == 0:
    metrics.histogram("size", 5)
    metrics.gauge("level", 3)
    assert (metrics.sample("size"), metrics.sample("level")) == (2, 4), metrics.render().decode()
    os._exit(0)
assert os.wait()[1] == 0
"""
    )
    assert metrics.sample("size_bucket", {"le": "10"}) == 2
    assert b"# HELP size Sizes." in metrics.render()
