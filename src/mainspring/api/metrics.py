"""Prometheus metrics of the edge: our own names, and Azure's in snake case (Azure Monitor's reference of them).

Each answered request is recorded once, when it has ended. Labels are few by construction: route templates, statuses,
and names of what is deployed, of which `MAX_SERIES` are told apart and the rest is one. Buckets are vLLM's, so that a
dashboard for the one reads the other. Durations with Azure's names are in milliseconds, as Azure's are.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mainspring.api.context import Context, Work
from mainspring.core.errors import ContentFiltered
from mainspring.core.seams import Models
from mainspring.core.types import ModelInfo

__all__ = ["Metrics"]

MAX_SERIES = 512
OTHER = "other"

TTFT_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
PER_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
WHOLE_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
TOKENS_PER_SECOND = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000)

AZURE = ("project", "model_deployment_name", "model_name", "model_version", "stream_type", "api_name", "region")
APIS = ("chat/completions", "completions", "embeddings", "infill")


Key = tuple[str, str, str, str, str, str]
"""`Names` without the region, which is always the same."""


class Names(NamedTuple):
    """What Azure's metrics are told apart by."""

    project: str
    model_deployment_name: str
    model_name: str
    model_version: str
    stream_type: str
    api_name: str
    region: str


class _Series:
    """The metrics of one `Names`, bound: looking labels up takes longer than counting."""

    def __init__(self, families: "_Families", names: Names) -> None:
        self.names = names
        model = names.model_deployment_name
        self.ttft, self.per_token = families.ttft.labels(model), families.per_token.labels(model)
        self.whole = families.whole.labels(model)
        self.tokens = {kind: families.tokens.labels(model, kind) for kind in ("prompt", "cached", "completion")}
        self.requests = families.requests
        self.prompt, self.generated = families.prompt.labels(*names), families.generated.labels(*names)
        self.transaction, self.active = families.transaction.labels(*names), families.active.labels(*names)
        self.rejected, self.harmful = families.rejected.labels(*names), families.harmful.labels(*names)
        self.to_response, self.to_last = families.to_response.labels(*names), families.to_last.labels(*names)
        self.between = families.between.labels(*names)
        self.per_second = families.per_second.labels(*names)
        # What the two rates are made of, when somebody asks.
        self.num_requests = self.num_faults = self.num_prompt = self.num_cached = 0

    def ended(self, status: int, error: Exception | None) -> None:
        """Count a request."""
        self.requests.labels(*self.names, str(status)).inc()
        self.num_requests += 1
        self.num_faults += status >= 500
        if isinstance(error, ContentFiltered):
            self.rejected.inc()
            self.harmful.inc()

    def worked(self, work: Work) -> None:
        """Record what a request came to that reached a model and was answered."""
        if work.first_s is None or work.last_s is None:
            return
        self.whole.observe(work.last_s)
        self.to_last.observe(1000 * work.last_s)
        if work.streams:
            self.ttft.observe(work.first_s)
            self.to_response.observe(1000 * work.first_s)
            decode_s, gaps = work.last_s - work.first_s, work.completion - 1
            if gaps > 0:
                self.per_token.observe(decode_s / gaps)
                self.between.observe(1000 * decode_s / gaps)
                self.per_second.observe(gaps / max(decode_s, 1e-6))
        else:  # nobody sees its first token before its last; the content filters look at it in large pieces, too
            self.to_response.observe(1000 * work.last_s)
            if work.completion:
                self.per_second.observe(work.completion / work.last_s)
        self._count(work)

    def _count(self, work: Work) -> None:
        self.tokens["prompt"].inc(work.prompt)
        self.tokens["cached"].inc(work.cached)
        self.tokens["completion"].inc(work.completion)
        self.prompt.inc(work.prompt)
        self.generated.inc(work.completion)
        self.transaction.inc(work.prompt + work.completion)
        self.active.inc(work.prompt - work.cached + work.completion)
        self.num_prompt += work.prompt
        self.num_cached += work.cached
        if work.is_blocked:
            self.rejected.inc()
        if work.is_harmful:
            self.harmful.inc()


class _Families:
    """Every metric that requests are recorded in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, what: str, labels: Iterable[str], buckets: Iterable[float]) -> Histogram:
            return Histogram(name, what, labels, buckets=tuple(buckets), registry=registry)

        def counter(name: str, what: str, labels: Iterable[str] = AZURE) -> Counter:
            return Counter(name, what, labels, registry=registry)

        def ms(seconds: Iterable[float]) -> list[float]:
            return [1000 * each for each in seconds]

        own = ("model",)
        self.ttft = histogram(
            "mainspring_time_to_first_token_seconds", "From a stream's request to its first event.", own, TTFT_S
        )
        self.per_token = histogram(
            "mainspring_time_per_output_token_seconds", "Mean gap between the tokens of a stream.", own, PER_TOKEN_S
        )
        self.whole = histogram(
            "mainspring_e2e_request_latency_seconds", "From a request's arrival to its last event.", own, WHOLE_S
        )
        self.tokens = counter(
            "mainspring_tokens", "Tokens: kind is prompt, cached (a part of prompt) or completion.", ("model", "kind")
        )
        self.requests = counter("azure_openai_requests", "Requests of the model APIs.", (*AZURE, "status_code"))
        self.prompt = counter("processed_prompt_tokens", "Prompt tokens, cached ones too.")
        self.generated = counter("generated_tokens", "Tokens generated.")
        self.transaction = counter("token_transaction", "Prompt tokens and tokens generated.")
        self.active = counter("active_tokens", "The same without cached ones.")
        self.rejected = counter("rai_rejected_requests", "Requests that a content filter blocked.")
        self.harmful = counter("rai_harmful_requests", "Requests that a content filter found something in.")
        self.to_response = histogram(
            "azure_openai_time_to_response", "Milliseconds to what is sent first.", AZURE, ms(TTFT_S)
        )
        self.to_last = histogram("azure_openai_ttlt_in_ms", "Milliseconds to the last byte.", AZURE, ms(WHOLE_S))
        self.between = histogram(
            "azure_openai_normalized_tbt_in_ms", "Mean milliseconds between tokens.", AZURE, ms(PER_TOKEN_S)
        )
        self.per_second = histogram(
            "azure_openai_token_per_second", "Tokens a second: of a stream after its first.", AZURE, TOKENS_PER_SECOND
        )


class Metrics:
    """One registry for each application, so that two in one process (tests) do not share counts.

    Args:
        models: what runs, whose load is read when it is asked for.
        provisioned: see `Services`.
    """

    def __init__(
        self, models: Models, region: str = "local", provisioned: Callable[[], Iterable[tuple[str, str, float]]] = tuple
    ) -> None:
        registry = self._registry = CollectorRegistry()
        self._region = region
        self.in_flight = Gauge("mainspring_http_requests_in_flight", "Requests being answered.", registry=registry)
        self._http = Counter(
            "mainspring_http_requests", "Requests answered.", ["dialect", "route", "status"], registry=registry
        )
        self._families = _Families(registry)
        self._series: dict[Key, _Series] = {}
        registry.register(_LoadCollector(models))
        registry.register(_RateCollector(self._series, provisioned))

    def request(self, context: Context) -> None:
        """Record an answered request."""
        route = context.route
        self._http.labels(context.dialect, route, str(context.status)).inc()
        api = next((name for name in APIS if route.endswith(f"/{name}")), None)
        if api is None:
            return
        work = context.work
        series = self._of(context.deployment, context.project, api, streams=work is not None and work.streams)
        series.ended(context.status, context.error)
        if work is not None:
            series.worked(work)

    def _of(self, info: ModelInfo | None, project: str, api: str, *, streams: bool) -> _Series:
        stream = "Streaming" if streams else "Non-Streaming"
        if info is None:  # refused before it was known what is meant: the names are the client's to invent
            key = ("", "", "", "", stream, api)
        else:
            key = (project, info.id, info.model or info.base or info.id, info.version, stream, api)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                key = (OTHER, OTHER, OTHER, OTHER, stream, api)
            series = self._series.get(key) or _Series(self._families, Names(*key, self._region))
            self._series[key] = series
        return series

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)


class _RateCollector(Collector):
    """What is a ratio of counts: made when it is asked for. In per cent, since the start of the server."""

    def __init__(self, series: dict[Key, _Series], provisioned: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        self._series, self._provisioned = series, provisioned

    def collect(self) -> Iterator[Metric]:
        available = GaugeMetricFamily(
            "azure_openai_availability_rate", "Requests that did not end with a fault of the server's.", labels=AZURE
        )
        matched = GaugeMetricFamily(
            "azure_openai_context_tokens_cache_match_rate", "Prompt tokens that were cached.", labels=AZURE
        )
        utilised = GaugeMetricFamily(
            "azure_openai_provisioned_managed_utilization_v2", "How much of what was provisioned is in use.",
            labels=("project", "model_deployment_name"),
        )  # fmt: skip
        for each in list(self._series.values()):
            available.add_metric(each.names, 100 * (1 - each.num_faults / max(each.num_requests, 1)))
            if each.num_prompt:
                matched.add_metric(each.names, 100 * each.num_cached / each.num_prompt)
        for project, deployment, utilisation in self._provisioned():
            utilised.add_metric((project, deployment), 100 * utilisation)
        yield from (available, matched, utilised)


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
