"""What a server has done and is doing, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

# In seconds: from a short clip on an idle machine to a long one behind a full queue.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters, and how long answers took."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.failures: Counter[str] = Counter()
        self.music_seconds = 0.0
        self.upload_bytes = 0
        self._slots: Counter[float] = Counter()
        self._total = 0.0

    def record_answer(self, seconds: float) -> None:
        """Note how long a classification took, from request to answer."""
        self._total += seconds
        self._slots[next((bound for bound in BUCKETS if seconds <= bound), float("inf"))] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return everything, with ``gauges``: name to help text and value."""
        return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
        yield from _family("requests_total", "counter", "Requests answered.")
        for (method, route, status), number in sorted(self.requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"genrescope_requests_total{{{labels}}} {number}"
        yield from _family("failures_total", "counter", "Requests that failed, by error code.")
        for code, number in sorted(self.failures.items()):
            yield f'genrescope_failures_total{{code="{code}"}} {number}'
        yield from self._histogram()
        yield from _single(
            "music_seconds_total", "counter", "Seconds of music classified.", self.music_seconds
        )
        yield from _single("upload_bytes_total", "counter", "Bytes of bodies received.", self.upload_bytes)
        for name, (meaning, value) in gauges.items():
            yield from _single(name, "gauge", meaning, value)

    def _histogram(self) -> Iterator[str]:
        name, seen = "classify_seconds", 0
        yield from _family(name, "histogram", "From request to answer of a classification.")
        for bound in (*BUCKETS, float("inf")):
            seen += self._slots[bound]
            yield f'genrescope_{name}_bucket{{le="{"+Inf" if bound == float("inf") else bound}"}} {seen}'
        yield f"genrescope_{name}_sum {self._total:.6f}"
        yield f"genrescope_{name}_count {seen}"


def _family(name: str, kind: str, meaning: str) -> Iterable[str]:
    return f"# HELP genrescope_{name} {meaning}", f"# TYPE genrescope_{name} {kind}"


def _single(name: str, kind: str, meaning: str, value: float) -> Iterable[str]:
    return *_family(name, kind, meaning), f"genrescope_{name} {value:g}" if kind == "gauge" else (
        f"genrescope_{name} {value:.3f}".removesuffix(".000")
    )
