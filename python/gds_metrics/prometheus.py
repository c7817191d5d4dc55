"""`PrometheusMetrics`: counts in Rust, shown to Prometheus over HTTP, by push or as a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gds_metrics._collector import Managed, Pinned
from gds_metrics._observable import Observes
from gds_metrics._settings import DEFAULT_BUCKETS, checked_buckets, described, seconds, secret_pairs, text, whole
from gds_metrics._settings import path as _path
from gds_native._lib import PrometheusCore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_metrics._web import AsgiApp, WsgiApp

__all__ = ["DEFAULT_BUCKETS", "PrometheusMetrics"]


class PrometheusMetrics(Observes, Managed, Pinned, PrometheusCore):
    """Counts in memory and shows the page that Prometheus scrapes.

    Reporting costs a look-up and an atomic addition, never waits for a scrape and never raises; what it cannot take is
    dropped and counted in ``gds_metrics_dropped_total``. Settings are checked here, once: a bad one is a `ValueError`
    or `TypeError` (a port that is taken or a file that cannot be read an `OSError`) that says what to change.

    A second collector of this process on the same port shares the server and the page. In a forked child the
    collector starts at zero and without a server; with ``multiprocess_dir`` the child counts in a file of its own and
    every process shows the sum of all.

    Args:
        prefix: Put before every name with an underscore; may be empty.
        port: Where to serve; 0 picks a free port, which `port` then tells.
        start_server: Whether to serve at once. Without, use `start_server`, `asgi_app`, `wsgi_app`, `push` or
            `write_to_textfile`.
        addr: The address to listen on, IPv4 or IPv6. All IPv4 addresses by default, as scrapers come from elsewhere.
        certfile: PEM certificate chain; makes it HTTPS. Read again when the file changes.
        keyfile: PEM key of the certificate, where it is not in ``certfile``.
        client_cafile: PEM certificates of the authorities whose clients may connect (mutual TLS).
        bearer_token_file: A file with the token that clients must send. Read again when it changes.
        basic_auth_file: A file of ``user:password`` lines, one of which clients must send.
        buckets: Upper bounds of distributions that `describe` gives none, ascending, without infinity.
        max_series: Series of one name before the rest goes to the one labelled ``overflow="true"``.
        expire_after_seconds: Series not updated for this long leave the page; never by default.
        multiprocess_dir: A folder on a local disk that the processes of this program share. By default the variable
            ``PROMETHEUS_MULTIPROC_DIR``; an empty string is none.
        exemplars: Whether counters and distributions keep the trace that was active, for OpenMetrics pages.
        process_metrics: Whether the page tells of the process (CPU, memory, descriptors) and the interpreter. Never
            with a ``multiprocess_dir``.
    """

    __slots__ = ("_addr", "_multiprocess_dir", "_observables", "_port", "_prefix")

    def __init__(
        self,
        prefix: str = "gds",
        port: int = 8080,
        start_server: bool = True,
        *,
        addr: str = "0.0.0.0",  # noqa: S104 - the scraper is on another machine; `addr` narrows it
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        client_cafile: str | os.PathLike[str] | None = None,
        bearer_token_file: str | os.PathLike[str] | None = None,
        basic_auth_file: str | os.PathLike[str] | None = None,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
        max_series: int = 10_000,
        expire_after_seconds: float | None = None,
        multiprocess_dir: str | os.PathLike[str] | None = None,
        exemplars: bool = True,
        process_metrics: bool = True,
    ) -> None:
        self._prefix = text("prefix", prefix)
        self._port = whole("port", port, 0, 65_535, "0 picks a free port")
        self._addr = text("addr", addr)
        files = {
            "certfile": certfile,
            "keyfile": keyfile,
            "client_cafile": client_cafile,
            "bearer_token_file": bearer_token_file,
            "basic_auth_file": basic_auth_file,
        }
        paths = {setting: None if file is None else _path(setting, file) for setting, file in files.items()}
        if keyfile is not None and certfile is None:
            raise ValueError(f"keyfile={paths['keyfile']!r}: expected certfile= beside it; give the certificate too")
        if client_cafile is not None and certfile is None:
            raise ValueError(
                f"client_cafile={paths['client_cafile']!r}: expected certfile= beside it; clients can only be "
                "asked for a certificate over TLS"
            )
        if bearer_token_file is not None and basic_auth_file is not None:
            raise ValueError("bearer_token_file and basic_auth_file: expected one of them; give one or neither")
        if multiprocess_dir is None:
            multiprocess_dir = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        folder = "" if multiprocess_dir is None else _path("multiprocess_dir", multiprocess_dir)
        self._multiprocess_dir = folder or None
        self._open(
            {
                "prefix": self._prefix,
                "port": self._port,
                "addr": self._addr,
                **paths,
                "buckets": checked_buckets(buckets),
                "max_series": whole("max_series", max_series, 1, 100_000_000, "how many series one name may have"),
                "expire_after_seconds": None
                if expire_after_seconds is None
                else seconds("expire_after_seconds", expire_after_seconds),
                "multiprocess_dir": self._multiprocess_dir,
                "exemplars": bool(exemplars),
                "process_metrics": bool(process_metrics),
            },
            bool(start_server),
        )

    @property
    def port(self) -> int:
        """The port the server listens on, or the one asked for where this process has no server."""
        bound = self._bound_port
        return self._port if bound is None else bound

    @property
    def prefix(self) -> str:
        """What is put before every name."""
        return self._prefix

    def start_server(self, port: int | None = None) -> int:
        """Serve the page, where this process does not yet: after ``start_server=False``, or in a forked child.

        Args:
            port: Where; the port of the constructor by default.

        Returns:
            The port.

        Raises:
            OSError: The port is taken.
        """
        return self._serve(self._port if port is None else whole("port", port, 0, 65_535, "0 picks a free port"))

    def _begins_answer(self) -> None:
        self._answers_here()

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        aggregation: str | None = None,
        max_series: int | None = None,
        **_settings: object,
    ) -> None:
        """Tell about a metric, before it is first reported.

        Args:
            name: The name as it is reported.
            help: One sentence about it, for the page.
            unit: What its values are in: ``seconds``, ``bytes``. Shown where the name ends in it.
            buckets: Upper bounds of a distribution, ascending, without infinity; seconds for timings.
            aggregation: How gauges of several processes become one: ``sum``, ``min``, ``max``, ``last`` or ``pid``
                (one series for each process).
            max_series: Series before the rest goes to the one labelled ``overflow="true"``.

        Raises:
            ValueError: A setting makes no sense, or comes after values that were counted another way.
        """
        self._describe(
            text("name", name),
            aggregation=None if aggregation is None else text("aggregation", aggregation),
            **described(help, unit, buckets, max_series),
        )

    def render(self, *, openmetrics: bool = False, names: Sequence[str] = ()) -> bytes:
        """The page: Prometheus text 0.0.4, or OpenMetrics 1.0, which alone has exemplars.

        Args:
            openmetrics: Which of the two.
            names: Only the families that show these names; all by default.
        """
        if isinstance(names, str):
            raise TypeError(f"names={names!r}: expected a sequence of names; put it into a list")
        return self._page(bool(openmetrics), [text("names", name) for name in names])

    def sample(self, name: str, labels: dict[str, str] | None = None) -> float | None:
        """One value as the page shows it, or None; for tests.

        Args:
            name: As reported or as on the page. A distribution by its name gives its count; with ``_sum``, ``_count``
                or ``_bucket`` (and label ``le``) what these say.
            labels: Which series.
        """
        return self._sample(name, labels)

    def asgi_app(self) -> AsgiApp:
        """The page as an ASGI application, to mount in FastAPI or Starlette. Access is the application's business."""
        from gds_metrics._web import asgi_app

        return asgi_app(self._respond)

    def wsgi_app(self) -> WsgiApp:
        """The page as a WSGI application, to mount in Flask. Access is the application's business."""
        from gds_metrics._web import wsgi_app

        return wsgi_app(self._respond)

    def push(
        self,
        gateway_url: str,
        job: str,
        grouping_key: Mapping[str, object] | None = None,
        *,
        replace: bool = True,
        timeout_seconds: float = 10.0,
        cafile: str | os.PathLike[str] | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the page to a Pushgateway, for a job that ends before it is scraped.

        Args:
            gateway_url: ``http://host:9091``; user and password in it are sent as basic authentication.
            job: Label ``job`` of the group.
            grouping_key: Further labels of the group.
            replace: Whether to replace the group (PUT) or only the names pushed (POST).
            timeout_seconds: How long to try.
            cafile: PEM certificates to trust instead of the system's.
            certfile: PEM certificate chain to present.
            keyfile: PEM key of that certificate, where it is not in ``certfile``.
            headers: Sent along; for the credentials of a proxy before the gateway.

        Raises:
            ConnectionError: The gateway was not reached.
            TimeoutError: It did not answer in time.
            OSError: It answered, and refused.
        """
        way = {"cafile": cafile, "certfile": certfile, "keyfile": keyfile}
        self._push(_gateway(gateway_url, job, grouping_key, timeout_seconds, headers, way), bool(replace))

    def delete_from_gateway(
        self,
        gateway_url: str,
        job: str,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float = 10.0,
        cafile: str | os.PathLike[str] | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Delete a group that was pushed: a Pushgateway keeps it for ever. One that is not there counts as deleted.

        Args:
            gateway_url: As for `push`.
            job: Label ``job`` of the group.
            grouping_key: Further labels of the group: those that it was pushed with.
            timeout_seconds: How long to try.
            cafile: PEM certificates to trust instead of the system's.
            certfile: PEM certificate chain to present.
            keyfile: PEM key of that certificate, where it is not in ``certfile``.
            headers: Sent along; for the credentials of a proxy before the gateway.

        Raises:
            ConnectionError: The gateway was not reached.
            TimeoutError: It did not answer in time.
            OSError: It answered, and refused.
        """
        way = {"cafile": cafile, "certfile": certfile, "keyfile": keyfile}
        self._delete_from_gateway(_gateway(gateway_url, job, grouping_key, timeout_seconds, headers, way))

    def write_to_textfile(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, in one step: a reader sees the old page or the new one.

        Args:
            path: For a node exporter it must end in ``.prom`` and lie in its textfile folder.

        Raises:
            OSError: The folder is missing or may not be written to.
        """
        self._write_to_textfile(_path("path", path))

    def flush(self, timeout_seconds: float = 5.0) -> bool:  # noqa: ARG002 - a page is read, nothing is on its way
        """Nothing to do: Prometheus fetches the page."""
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:  # noqa: ARG002 - stopping does not wait
        """Stop serving, unless another collector of this process shares the port. Reporting afterwards still counts."""
        self._stop()

    def __repr__(self) -> str:
        if not hasattr(self, "_multiprocess_dir"):  # shown in the traceback of a constructor that failed
            return f"<{type(self).__name__} without settings>"
        return f"{type(self).__name__}(prefix={self._prefix!r}, port={self.port})"

    def __str__(self) -> str:
        return f"Prometheus Metrics (port {self.port})"


def _gateway(
    gateway_url: str,
    job: str,
    grouping_key: Mapping[str, object] | None,
    timeout_seconds: float,
    headers: Mapping[str, str] | None,
    files: Mapping[str, str | os.PathLike[str] | None],
) -> dict[str, object]:
    try:
        items = [] if grouping_key is None else list(grouping_key.items())
    except AttributeError as error:
        message = f"grouping_key={grouping_key!r}: expected a dict of label names to values"
        raise TypeError(message) from error
    return {
        "url": text("gateway_url", gateway_url),
        "job": text("job", job),
        "grouping_key": [(text("grouping_key", name), str(value)) for name, value in items],
        "headers": secret_pairs("headers", headers) or [],
        "timeout_seconds": seconds("timeout_seconds", timeout_seconds),
        **{setting: None if file is None else _path(setting, file) for setting, file in files.items()},
    }
