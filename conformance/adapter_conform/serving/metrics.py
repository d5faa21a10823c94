"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_GAUGES = {
    "requests_in_flight": "Requests that wait or are at work.",
    "sequences_running": "Sequences in the batch.",
    "requests_waiting": "Requests that wait for a place in the batch.",
    "cache_blocks_used": "Blocks of the cache that sequences own.",
    "cache_blocks": "Blocks of the cache.",
    "engine_ready": "1 where the engine serves, else 0.",
    "engine_steps": "Steps of the present engine.",
    "engine_failures": "Times that the engine's process or its device failed.",
}


class Metrics:
    """A registry of its own, so that several servers fit into a process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, title: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"adapter_{name}", title, labels, registry=registry)

        self.requests = counter(
            "requests", "Requests answered, by HTTP status; 499: the client went away.", ("endpoint", "status")
        )
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts of answered requests.")
        self.generated_tokens = counter("generated_tokens", "Tokens generated.")
        self.shared_tokens = counter("shared_tokens", "Prompt tokens that came out of the cache.")
        self.first_token = Histogram(
            "adapter_time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.per_token = Histogram(
            "adapter_time_per_output_token_seconds",
            "Between two tokens of an answer, its mean.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._gauges = {name: Gauge(f"adapter_{name}", title, registry=registry) for name, title in _GAUGES.items()}

    def text(self, gauges: Mapping[str, float]) -> bytes:
        """Everything in Prometheus' text format."""
        for name, value in gauges.items():
            self._gauges[name].set(value)
        text: bytes = generate_latest(self._registry)
        return text
