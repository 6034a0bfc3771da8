"""Prometheus metrics of the edge. Labels are few by construction: route templates and names of deployments."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mainspring.api.context import Context
from mainspring.core.seams import Models

__all__ = ["Metrics"]

_TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PER_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


class Metrics:
    """One registry for each application, so that two in one process (tests) do not share counts."""

    def __init__(self, models: Models) -> None:
        registry = self._registry = CollectorRegistry()
        self.in_flight = Gauge("mainspring_http_requests_in_flight", "Requests being answered.", registry=registry)
        self._requests = Counter(
            "mainspring_http_requests", "Requests answered.", ["dialect", "route", "status"], registry=registry
        )
        self._ttft = Histogram(
            "mainspring_time_to_first_token_seconds",
            "From a request's arrival to its first event.",
            ["model"],
            buckets=_TTFT_S,
            registry=registry,
        )
        self._per_token = Histogram(
            "mainspring_time_per_output_token_seconds",
            "Mean gap between the tokens of a request after its first.",
            ["model"],
            buckets=_PER_TOKEN_S,
            registry=registry,
        )
        self._tokens = Counter(
            "mainspring_tokens",
            "Tokens of finished requests: kind is prompt, cached (a part of prompt) or completion.",
            ["model", "kind"],
            registry=registry,
        )
        registry.register(_LoadCollector(models))

    def request(self, context: Context) -> None:
        """Count an answered request."""
        self._requests.labels(context.dialect, context.route, str(context.status)).inc()

    def first_token(self, model: str, seconds: float) -> None:
        """Record how long a client waited for its first token."""
        self._ttft.labels(model).observe(seconds)

    def finished(self, model: str, *, prompt: int, cached: int, completion: int, decode_s: float) -> None:
        """Record a request that ran to its end; `decode_s` is the time since its first event."""
        self._tokens.labels(model, "prompt").inc(prompt)
        self._tokens.labels(model, "cached").inc(cached)
        self._tokens.labels(model, "completion").inc(completion)
        if completion > 1:
            self._per_token.labels(model).observe(decode_s / (completion - 1))

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)


class _LoadCollector(Collector):
    """Reads the deployments' load when it is scraped, so nothing has to push it."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        running = GaugeMetricFamily("mainspring_requests_running", "Requests being computed.", labels=["model"])
        waiting = GaugeMetricFamily("mainspring_requests_waiting", "Requests in the queue.", labels=["model"])
        used = GaugeMetricFamily("mainspring_kv_tokens_used", "Tokens held in the KV cache.", labels=["model"])
        total = GaugeMetricFamily("mainspring_kv_tokens", "Tokens that the KV cache can hold.", labels=["model"])
        busy = CounterMetricFamily("mainspring_engine_busy_seconds", "Time in engine steps.", labels=["model"])
        drafts = CounterMetricFamily("mainspring_draft_tokens", "Tokens guessed ahead, and of them those that stood.",
                                     labels=["model", "kind"])  # fmt: skip
        for model in self._models.list():
            if model.base is not None:
                continue  # an adapter's load is that of its base
            load = self._models.load(model.id)
            running.add_metric([model.id], load.running)
            waiting.add_metric([model.id], load.waiting)
            used.add_metric([model.id], load.kv_used)
            total.add_metric([model.id], load.kv_total)
            busy.add_metric([model.id], load.busy_s)
            drafts.add_metric([model.id, "guessed"], load.guessed)
            drafts.add_metric([model.id, "stood"], load.stood)
        yield from (running, waiting, used, total, busy, drafts)
