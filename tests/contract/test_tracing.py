"""Traces as a collector gets them: OTLP over HTTP, decoded from its protobuf."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mainspring.api.tracing import Tracing
from mainspring.core.config import TracingSettings
from tests.contract.target import Target, fake_embedding_target, fake_target

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "the colour of the safe is teal"


class Collector:
    """Keeps every span that is sent to it, by its name, and the headers and the service that came with the last."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.count = 0
        self.headers: dict[str, str] = {}
        self.service: dict[str, Any] = {}
        self.paths: set[str] = set()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.paths.add(path)
        self.headers = headers
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for resource in request.resource_spans:
            self.service = attributes(resource.resource)
            for scope in resource.scope_spans:
                self.count += len(scope.spans)
                self.spans |= {span.name: span for span in scope.spans}


def attributes(span: Any) -> dict[str, Any]:
    def value(of: Any) -> Any:
        kind = of.WhichOneof("value")
        return [value(each) for each in of.array_value.values] if kind == "array_value" else getattr(of, kind)

    return {each.key: value(each.value) for each in span.attributes}


@pytest.fixture
def collector() -> Generator[tuple[Collector, str]]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.take(self.path, {name.lower(): each for name, each in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def traced(endpoint: str, target: Any = fake_target, **settings: Any) -> Generator[Target]:
    """A server whose spans have all been sent when this ends."""
    tracing = Tracing(TracingSettings(endpoint=endpoint, **settings))
    try:
        with target(tracing=tracing) as found:
            yield found
    finally:
        tracing.close()


def chat(target: Target, text: str = SECRET, **fields: Any) -> httpx.Response:
    body = {"model": target.model, "messages": [{"role": "user", "content": text}], **fields}
    with target.http() as client:
        return client.post("/v1/chat/completions", json=body, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_two_spans_of_the_clients_trace(collector: tuple[Collector, str], *, stream: bool) -> None:
    found, endpoint = collector
    with traced(f"{endpoint}/", headers={"x-tenant": "us"}) as target:
        answer = chat(target, max_tokens=7, temperature=0.5, seed=3, stop=["never"], stream=stream)
    assert found.paths == {"/v1/traces"}
    assert found.headers["x-tenant"] == "us"
    assert found.service["service.name"] == "mainspring"
    server, call = found.spans["POST /v1/chat/completions"], found.spans["chat fake"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert (call.trace_id, call.parent_span_id) == (server.trace_id, server.span_id)
    assert server.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano
    assert call.end_time_unix_nano <= server.end_time_unix_nano
    assert attributes(server).items() >= {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "mainspring.request.id": answer.headers["x-request-id"],
    }.items()  # fmt: skip
    assert attributes(call).items() >= {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mainspring",
        "gen_ai.request.model": "fake",
        "gen_ai.response.model": "fake",
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ["never"],
        "gen_ai.output.type": "text",
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.response.finish_reasons": ["length"],
    }.items()  # fmt: skip
    assert attributes(call)["gen_ai.usage.input_tokens"] > 0
    assert attributes(call)["gen_ai.response.time_to_first_chunk"] > 0
    if not stream:
        assert attributes(call)["gen_ai.response.id"] == answer.json()["id"]


def test_what_is_said_is_in_no_span_unless_asked_for(collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with traced(endpoint) as target:
        said = chat(target).json()["choices"][0]["message"]["content"]
    everything = b"".join(span.SerializeToString() for span in found.spans.values())
    assert SECRET.encode() not in everything
    assert said.encode() not in everything
    with traced(endpoint, content=True) as target:
        said = chat(target).json()["choices"][0]["message"]["content"]
    call = attributes(found.spans["chat fake"])
    assert json.loads(call["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": SECRET}]}
    ]
    assert json.loads(call["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": said}]}
    ]


def test_failures(collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with traced(endpoint) as target:
        assert chat(target, "!raise Unavailable").status_code == 503
    server, call = found.spans["POST /v1/chat/completions"], found.spans["chat fake"]
    assert attributes(server)["http.response.status_code"] == 503
    assert attributes(server)["error.type"] == attributes(call)["error.type"] == "replica_unavailable"
    assert server.status.code == call.status.code == 2
    found.spans.clear()
    with traced(endpoint) as target:
        assert chat(target, "x", n=0).status_code == 400
        assert httpx.get(f"{target.base_url}/made/up").status_code == 401
    server = found.spans["POST /v1/chat/completions"]
    assert "chat fake" not in found.spans
    assert server.status.code == 0  # the client's mistake
    assert "GET none" in found.spans  # a name of few


def test_other_operations(collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with traced(endpoint) as target:
        target.post({"prompt": "once", "max_tokens": 2}, "completions")
    assert attributes(found.spans["text_completion fake"])["gen_ai.usage.output_tokens"] == 2
    with traced(endpoint, fake_embedding_target) as target:
        answer = target.post({"input": "once upon"}, "embeddings")
    call = attributes(found.spans["embeddings fake-embed"])
    assert call["gen_ai.operation.name"] == "embeddings"
    assert call["gen_ai.usage.input_tokens"] == answer.json()["usage"]["prompt_tokens"]


def test_a_sample(collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with traced(endpoint, sample=0.0) as target:
        target.chat("not traced")
        chat(target)  # the client has decided
    assert found.count == 2


def test_a_collector_that_is_gone_harms_nobody() -> None:
    with traced("http://127.0.0.1:1") as target:
        assert chat(target).status_code == 200


def test_nothing_is_imported_that_is_not_wanted() -> None:
    check = "import sys, mainspring.api.app, mainspring.api.tracing\nprint([n for n in sys.modules if 'opentel' in n])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
