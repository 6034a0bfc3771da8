"""Receipts of answers of the default model: made again, and what was tampered with is found."""

import json
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running

pytestmark = pytest.mark.model

MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    with running(model_file) as found:
        yield found


def ask(server: Server, text: str, **fields: Any) -> Any:
    body = {"model": MODEL, "input": text, "max_output_tokens": 24, **fields}
    with server.http() as client:
        return client.post("/v1/responses", json=body, timeout=300).json()


def receipt(server: Server, response: str) -> Any:
    with server.http() as client:
        return client.get(f"/v1/x/responses/{response}/receipt").json()


def again(server: Server, response: str, **body: Any) -> Any:
    with server.http() as client:
        return client.post(f"/v1/x/responses/{response}/receipt/rerun", json=body, timeout=300).json()


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0}, {"top_p": 0.8}])
def test_an_answer_is_made_again_from_its_receipt(server: Server, sampling: dict[str, Any]) -> None:
    made = ask(server, f"Name a river. {sampling}", **sampling)
    found = receipt(server, made["id"])
    [run] = found["generations"]
    with server.http() as client:
        files = {each["id"]: each for each in client.get("/v1/models").json()["data"]}
    assert MODEL in files
    assert run["weights"]["model"].startswith(f"{MODEL}@")
    assert len(run["weights"]["files"][0]["sha256"]) == 64
    assert run["engine"]["build"].startswith("xllamacpp ")
    assert (found["unknown"], found["altered"]) == ([], [])
    assert run["prompt"]["tokens"] == made["usage"]["input_tokens"]
    assert run["tokens"] == made["usage"]["output_tokens"]
    verdict = again(server, made["id"], receipt=found)
    assert (verdict["consistent"], verdict["receipt"], verdict["why"]) == (True, "matches", None), verdict


def test_an_answer_that_another_seed_has_made_is_told_from_one_that_was_rounded(server: Server) -> None:
    made = ask(server, "Tell me about the sea.", max_output_tokens=48)
    seed = receipt(server, made["id"])["generations"][0]["drawing"]["seed"]
    other = ask(server, "Tell me about the sea.", max_output_tokens=48)
    # The seed of one with the tokens of the other: as who forges a record would have it.
    from mainspring.store.receipts import _PRESET, lzma

    with sqlite3.connect(server.home / "mainspring.db", timeout=30) as database:
        find = "SELECT seq, body FROM response_traces WHERE response = ?"
        traces = {seq: lzma.decompress(body) for seq, body in database.execute(find, (other["id"],))}
        trace = json.loads(traces[1])
        place = next(at for at, value in enumerate(trace["prompted"]) if value == _seed_of(trace))
        trace["prompted"][place] = seed
        forged = json.dumps(trace, separators=(",", ":")).encode()
        import hashlib

        end = json.loads(traces[0]) | {"traces": {"1": hashlib.sha256(forged).hexdigest()}}
        for seq, body in ((1, forged), (0, json.dumps(end).encode())):
            change = "UPDATE response_traces SET body = ? WHERE response = ? AND seq = ?"
            database.execute(change, (lzma.compress(body, preset=_PRESET), other["id"], seq))
    verdict = again(server, other["id"])
    assert verdict["altered"] == []  # whoever can write to the database can make the hashes fit
    assert (verdict["identical"], verdict["consistent"]) == (False, False), verdict
    assert verdict["runs"][0]["farthest"] > 0.3


def _seed_of(trace: Any) -> int:
    return next(value for value in trace["prompted"] if isinstance(value, int) and value > 2**32)


def test_a_model_file_that_was_changed_is_found(model_file: Path, tmp_path: Path) -> None:
    with running(model_file, home=tmp_path) as server:
        made = ask(server, "Say hello.")
        [file] = (tmp_path / "models").rglob("*.gguf")
        body = bytearray(file.read_bytes())
        body[-1] ^= 1
        copy = file.with_suffix(".copy")  # a file of its own: the one of the tests may be the same by a link
        copy.write_bytes(body)
        copy.replace(file)
        verdict = again(server, made["id"])
        assert verdict["identical"] is None
        assert "no longer what it was" in verdict["why"]
        assert verdict["runs"][0]["tokens"] is None
