"""Counts requests for ``/metrics``, in Prometheus' text format."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Counters:
    """Requests by path and status, and a histogram of their seconds by path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: Counter[str] = Counter()

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            self._requests[path, status] += 1
            self._buckets[path][bisect_left(BOUNDS, seconds)] += 1
            self._seconds[path] += seconds

    def text(self, **others: float) -> str:
        """Write all counts, and present values of others: gauges, or counters where they end in _total."""
        with self._lock:
            lines = ["# TYPE server_requests_total counter"]
            lines += [
                f'server_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            failures = sum(count for (_, status), count in self._requests.items() if status >= 400)
            lines += ["# TYPE server_failures_total counter", f"server_failures_total {failures}"]
            lines.append("# TYPE server_request_seconds histogram")
            for path, counts in sorted(self._buckets.items()):
                lines += self._histogram(path, counts)
        for name, value in others.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE server_{name} {kind}", f"server_{name} {value}"]
        return "\n".join(lines) + "\n"

    def _histogram(self, path: str, counts: list[int]) -> list[str]:
        name, total, lines = "server_request_seconds", 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{path="{path}",le="{bound}"}} {total}')
        return [
            *lines,
            f'{name}_sum{{path="{path}"}} {self._seconds[path]}',
            f'{name}_count{{path="{path}"}} {total}',
        ]
