"""Metrics: what is counted for which request, under which names, and that nobody can make too many of them."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mainspring.api.context import ROUTE, Context, Work
from mainspring.api.metrics import MAX_SERIES, PER_TOKEN_S, TTFT_S, Metrics
from mainspring.core.errors import ContentFiltered, RateLimited
from mainspring.core.types import ModelInfo, Screened
from mainspring.engine.fake import FakeEngine

CHAT = "/v1/chat/completions"
INFO = ModelInfo(id="mine", version="abc", created=0, context_length=64, state="ready", model="smollm2")
NAMES = {
    "project": "default", "model_deployment_name": "mine", "model_name": "smollm2", "model_version": "abc",
    "stream_type": "Streaming", "api_name": "chat/completions", "region": "here",
}  # fmt: skip


def context(route: str = CHAT, status: int = 200, info: ModelInfo | None = INFO) -> Context:
    made = Context({"type": "http", "method": "POST", "path": route, "headers": [], ROUTE: route})
    made.project, made.status, made.deployment = "default", status, info
    return made


def work(*, streams: bool = True) -> Work:
    done = Work(streams=streams)
    done.first_s, done.last_s = 0.2, 1.2
    done.prompt, done.cached, done.completion = 100, 25, 11
    return done


class Scraped:
    def __init__(self, metrics: Metrics) -> None:
        self.families = list(text_string_to_metric_families(metrics.render().decode()))

    def value(self, name: str, **labels: str) -> float | None:
        found = [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and all(sample.labels[key] == value for key, value in labels.items())
        ]
        assert len(found) < 2
        return found[0] if found else None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(FakeEngine(), "here", lambda: [("default", "mine", 0.5)])


def test_an_answer_in_azures_names(metrics: Metrics) -> None:
    done = context()
    done.work = work()
    metrics.request(done)
    scraped = Scraped(metrics)
    expected = {
        "processed_prompt_tokens_total": 100,
        "generated_tokens_total": 11,
        "token_transaction_total": 111,
        "active_tokens_total": 86,
        "rai_rejected_requests_total": 0,
        "rai_harmful_requests_total": 0,
        "azure_openai_time_to_response_sum": 200,
        "azure_openai_ttlt_in_ms_sum": 1200,
        "azure_openai_normalized_tbt_in_ms_sum": 100,
        "azure_openai_token_per_second_sum": 10,
        "azure_openai_availability_rate": 100,
        "azure_openai_context_tokens_cache_match_rate": 25,
    }
    assert {name: scraped.value(name, **NAMES) for name in expected} == pytest.approx(expected)
    assert scraped.value("azure_openai_requests_total", **NAMES, status_code="200") == 1
    utilised = scraped.value(
        "azure_openai_provisioned_managed_utilization_v2", project="default", model_deployment_name="mine"
    )
    assert utilised == 50


def test_an_answer_in_our_own_names(metrics: Metrics) -> None:
    for streams in (True, False):
        done = context()
        done.work = work(streams=streams)
        metrics.request(done)
    scraped = Scraped(metrics)
    assert scraped.value("mainspring_time_to_first_token_seconds_sum", model="mine") == pytest.approx(0.2)
    assert scraped.value("mainspring_time_per_output_token_seconds_sum", model="mine") == pytest.approx(0.1)
    assert scraped.value("mainspring_e2e_request_latency_seconds_sum", model="mine") == pytest.approx(2.4)
    assert scraped.value("mainspring_tokens_total", model="mine", kind="cached") == 50
    # Nobody sees the first token of an answer that comes as a whole.
    names = NAMES | {"stream_type": "Non-Streaming"}
    assert scraped.value("azure_openai_time_to_response_sum", **names) == pytest.approx(1200)
    assert scraped.value("azure_openai_normalized_tbt_in_ms_count", **names) == 0
    assert scraped.value("azure_openai_token_per_second_sum", **names) == pytest.approx(11 / 1.2)


def test_the_buckets_are_those_of_vllm(metrics: Metrics) -> None:
    done = context()
    done.work = work()
    metrics.request(done)
    text = metrics.render().decode()
    for name, bounds in (("time_to_first_token", TTFT_S), ("time_per_output_token", PER_TOKEN_S)):
        found = re.findall(rf'mainspring_{name}_seconds_bucket{{le="([^"]+)"', text)
        assert [float(bound) for bound in found] == [*map(float, bounds), float("inf")]


def test_faults_lower_the_availability_and_refusals_do_not(metrics: Metrics) -> None:
    for status in (200, 429, 500, 503):
        metrics.request(context(status=status))
    scraped = Scraped(metrics)
    assert scraped.value("azure_openai_availability_rate", model_deployment_name="mine") == 50
    assert scraped.value("azure_openai_requests_total", model_deployment_name="mine", status_code="429") == 1


def test_what_was_blocked_and_what_was_only_found(metrics: Metrics) -> None:
    refused = context(status=400)
    refused.error = ContentFiltered("No.")
    metrics.request(refused)
    limited = context(status=429)
    limited.error = RateLimited("Later.")
    metrics.request(limited)
    for blocked, reasons in ((True, "[1]"), (False, "[1]"), (False, "")):
        done = context()
        done.work = work(streams=False)
        done.work.note(Screened(0, {}, reasons=reasons, blocked=blocked))
        metrics.request(done)
    scraped = Scraped(metrics)
    assert scraped.value("rai_rejected_requests_total", **NAMES | {"stream_type": "Non-Streaming"}) == 2
    assert scraped.value("rai_harmful_requests_total", **NAMES | {"stream_type": "Non-Streaming"}) == 3


def test_a_request_that_left_early_is_counted_and_not_timed(metrics: Metrics) -> None:
    gone = context(status=499)
    gone.work = Work(streams=True)
    metrics.request(gone)
    scraped = Scraped(metrics)
    assert scraped.value("azure_openai_requests_total", **NAMES, status_code="499") == 1
    assert scraped.value("azure_openai_ttlt_in_ms_count", **NAMES) == 0


def test_only_the_model_apis_are_azures_requests(metrics: Metrics) -> None:
    metrics.request(context("/v1/models"))
    metrics.request(context("none", 404, None))
    assert "azure_openai_requests_total{" not in metrics.render().decode()


def test_labels_are_bounded(metrics: Metrics) -> None:
    for number in range(2 * MAX_SERIES):
        done = context(info=ModelInfo(id=f"d{number}", version="v", created=0, context_length=1, state="ready"))
        done.work = work()
        metrics.request(done)
    unknown = context(status=404, info=None)
    unknown.project = "made-up"
    metrics.request(unknown)
    scraped = Scraped(metrics)
    samples = [s for family in scraped.families for s in family.samples if s.name == "azure_openai_requests_total"]
    assert len(samples) == MAX_SERIES + 2  # and one for all others, and one for what is not known
    assert sum(sample.value for sample in samples) == 2 * MAX_SERIES + 1
    assert "made-up" not in metrics.render().decode()
