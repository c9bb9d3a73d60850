"""Metrics of a server, in the text format of Prometheus (by prometheus-client)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

# The format of `generate_latest`; the name of its constant depends on the version of prometheus-client.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# In seconds: from a short clip on an idle machine to a long one behind a full queue.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_NAMESPACE = "genrescope"


class Metrics:
    """Counters, gauges and a histogram of durations, in a registry of their own.

    The registry is not prometheus-client's global one, so that several apps in one process (as in the tests)
    do not share their counts.

    Attributes
    ----------
    registry : CollectorRegistry
        Holds all metrics below.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "requests",
            "Requests answered.",
            ["method", "route", "status"],
            namespace=_NAMESPACE,
            registry=self.registry,
        )
        self._failures = Counter(
            "failures",
            "Requests that failed, by error code.",
            ["code"],
            namespace=_NAMESPACE,
            registry=self.registry,
        )
        self._duration = Histogram(
            "classify_seconds",
            "From request to answer of a classification.",
            namespace=_NAMESPACE,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._audio_seconds = Counter(
            "music_seconds", "Seconds of music classified.", namespace=_NAMESPACE, registry=self.registry
        )
        self._upload_bytes = Counter(
            "upload_bytes", "Bytes of bodies received.", namespace=_NAMESPACE, registry=self.registry
        )

    def add_gauges(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Add values that are read whenever the metrics are asked for.

        Parameters
        ----------
        gauges : mapping
            From name to help text and a function that returns the value.
        """
        for name, (documentation, value) in gauges.items():
            gauge = Gauge(name, documentation, namespace=_NAMESPACE, registry=self.registry)
            gauge.set_function(value)

    def count_request(self, method: str, route: str, status: int) -> None:
        """Count an answered request.

        Parameters
        ----------
        method : str
            HTTP method, or ``other``.
        route : str
            Path of the route as the code has it, or ``other``.
        status : int
            HTTP status of the response.
        """
        self._requests.labels(method, route, str(status)).inc()

    def count_failure(self, code: str) -> None:
        """Count a failed request by its error ``code``."""
        self._failures.labels(code).inc()

    def count_upload(self, size: int) -> None:
        """Count a body of ``size`` bytes that has arrived."""
        self._upload_bytes.inc(size)

    def count_classification(self, duration: float, audio_seconds: float) -> None:
        """Count a classified file.

        Parameters
        ----------
        duration : float
            Seconds from request to answer.
        audio_seconds : float
            Length of the audio in seconds.
        """
        self._duration.observe(duration)
        self._audio_seconds.inc(audio_seconds)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)
