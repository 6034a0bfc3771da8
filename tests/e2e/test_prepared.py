"""The default model in a prepared format: what it says stays the same, and a server serves it."""

import psutil
import pytest

from mainspring.core.config import EngineSettings
from mainspring.engine.formats import BOUND_NATS, FORMATS
from mainspring.engine.llama import binding
from mainspring.engine.llama.measure import PASSAGE, Probe, divergence
from mainspring.engine.llama.quantise import Quantiser, rewrite
from tests.e2e.server import running

pytestmark = pytest.mark.model


def test_eight_bits_are_within_the_bound_and_four_are_not(model_file, tmp_path):
    library, settings = binding.load(), EngineSettings()
    shipped = Probe(model_file, settings, library)
    tokens = shipped.tokenize(PASSAGE.read_bytes())
    assert 500 <= len(tokens) <= 1000
    reference = list(shipped.log_probs(tokens))
    shipped.close()
    found = {}
    for name in ("q8_0", "q4_0"):
        path = tmp_path / f"{name}.gguf"
        with path.open("wb") as file:
            rewrite([model_file], FORMATS[name], file, Quantiser(library.path, 2), lambda *_: None)
        probe = Probe(path, settings, library)
        found[name] = divergence(reference, probe.log_probs(tokens))
        probe.close()
    print(f"mean KL divergence over {len(tokens)} tokens: {found}")
    assert 0 < found["q8_0"] <= BOUND_NATS < found["q4_0"]


def test_a_server_prepares_and_serves_the_format_it_is_told(model_file):
    with running(model_file, MAINSPRING_ENGINE__FORMAT="q8_0") as server, server.http() as client:
        model = client.get("/v1/models").json()["data"][0]["id"]
        (path,) = (server.home / "models").glob("*/*/prepared/q8_0.*.gguf")
        (replica,) = server.replicas()
        assert str(path) in {one.path for one in psutil.Process(replica.pid).memory_maps()}
        body = {"model": model, "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0}
        assert "Paris" in client.post("/v1/completions", json=body).json()["choices"][0]["text"]
