"""The whole product on the real model, and what happens to it when things go wrong."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest

from tests.e2e.server import running

pytestmark = pytest.mark.model

NUM_REQUESTS = 1000
CHAT = {"messages": [{"role": "user", "content": "Count from one to a hundred."}], "max_tokens": 400, "temperature": 0}


@pytest.fixture(scope="module")
def server(model_file):
    with running(model_file, MAINSPRING_SERVER__HEADER_TIMEOUT_S="1") as started:
        yield started


@pytest.fixture(scope="module")
def model(server):
    with server.http() as client:
        return client.get("/v1/models").json()["data"][0]["id"]


def chat_stream(client, model):
    return client.stream("POST", "/v1/chat/completions", json={"model": model, "stream": True, **CHAT})


def until_idle(server):
    """Wait until nothing is in flight; what waits for ever is a leak."""
    limit = time.monotonic() + 30
    while (
        server.metric("mainspring_requests_(running|waiting)")
        or server.metric("mainspring_http_requests_in_flight") > 1  # this one
    ):
        assert time.monotonic() < limit, "requests are left behind"
        time.sleep(0.05)


def test_what_up_prints_can_be_pasted(server):
    snippet = re.search(r"^from .*?^print\(.*?\)$", server.text, re.MULTILINE | re.DOTALL).group()
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip()


def test_cached_tokens_are_told(server, model):
    messages = [{"role": "user", "content": "Tell me about the sea. " * 20}]
    with server.http() as client:
        usage = [
            client.post("/v1/chat/completions", json={"model": model, "messages": messages, "max_tokens": 3}).json()[
                "usage"
            ]
            for _ in range(2)
        ]
    assert usage[1]["prompt_tokens_details"]["cached_tokens"] == usage[0]["prompt_tokens"] - 1


def test_a_killed_replica_is_an_event_and_not_an_outage(server, model):
    with server.http() as client:
        with chat_stream(client, model) as reply:
            lines = reply.iter_lines()
            for line in lines:
                if '"content":"' in line and '"content":""' not in line:
                    break
            (replica,) = server.replicas()
            replica.kill()
            rest = [line for line in lines if line]
        error = json.loads(rest[-1].removeprefix("data: "))["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == "replica_unavailable"
        began = time.monotonic()
        answer = client.post("/v1/chat/completions", json={"model": model, **CHAT, "max_tokens": 3})
        print(f"next answer {time.monotonic() - began:.1f} s after the kill")
        assert answer.status_code == 200


def test_disconnects_leave_nothing_behind(server, model):
    rng = random.Random(7)
    failures: list[Exception] = []

    def one(client):
        body = {"model": model, "prompt": f"{rng.random()}", "max_tokens": rng.choice([2, 100]), "stream": True}
        with client.stream("POST", "/v1/completions", json=body) as reply:
            assert reply.status_code == 200
            if body["max_tokens"] > 2:
                return  # leaves at the first byte, or before it
            assert reply.read().endswith(b"data: [DONE]\n\n")

    def worker(count):
        try:
            with server.http() as client:
                for _ in range(count):
                    one(client)
        except Exception as error:
            failures.append(error)

    def run(count):
        threads = [threading.Thread(target=worker, args=(count // 20,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until_idle(server)

    run(200)
    (replica,) = server.replicas()
    processes = [psutil.Process(server.process.pid), replica]
    before = [process.memory_info().rss for process in processes]
    run(NUM_REQUESTS - 200)
    grown = [(process.memory_info().rss - old) / 2**20 for process, old in zip(processes, before, strict=True)]
    print(f"memory grew by {grown[0]:.1f} MiB (server) and {grown[1]:.1f} MiB (replica) over 800 requests")
    assert not failures
    assert grown[0] < 15
    assert grown[1] < 60


def test_a_hundred_megabytes_are_refused(server):
    with server.http() as client:
        body = b"x" * 100 * 2**20
        answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "payload_too_large"


def test_a_head_that_never_ends_is_cut_off(server):
    url = httpx.URL(server.base_url)
    with socket.create_connection((url.host, url.port), timeout=10) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        assert slow.recv(1) == b"", "the server kept waiting"
    with socket.create_connection((url.host, url.port), timeout=10) as large:
        large.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for _ in range(20):
                large.sendall(b"x-header: " + b"y" * 8000 + b"\r\n")
        except OSError:
            return
        assert large.recv(12).startswith(b"HTTP/1.1 431")


def test_what_is_not_http_gets_the_same_error_shape(server):
    url = httpx.URL(server.base_url)
    with socket.create_connection((url.host, url.port), timeout=10) as odd:
        odd.sendall(b"hello there\r\n\r\n")
        reply = b""
        while part := odd.recv(4096):
            reply += part
    assert reply.startswith(b"HTTP/1.1 400")
    assert set(json.loads(reply.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}


def test_a_second_model_never_notices(model_file, tmp_path):
    other = tmp_path / "other.gguf"
    shutil.copy(model_file, other)
    with other.open("ab") as file:
        file.write(b"\0" * 32)  # another file, so another model
    with running(model_file, other) as server, server.http() as client:
        names = [one["id"] for one in client.get("/v1/models").json()["data"]]
        assert len(set(names)) == 2
        with chat_stream(client, names[1]) as reply:
            lines = reply.iter_lines()
            next(lines)
            # Whose replica is whose: the one that computes now belongs to the second.
            idle = min(server.replicas(), key=lambda process: sum(process.cpu_times()[:2]))
            idle.kill()
            text = list(lines)
        assert "data: [DONE]" in text
        for name in names:
            assert client.post("/v1/chat/completions", json={"model": name, **CHAT, "max_tokens": 2}).status_code == 200


def test_a_stop_ends_streams_and_leaves_no_process(model_file):
    with running(model_file) as server, server.http() as client:
        replicas = server.replicas()
        name = client.get("/v1/models").json()["data"][0]["id"]
        with chat_stream(client, name) as reply:
            lines = reply.iter_lines()
            next(lines)
            took = []
            stopping = threading.Thread(target=lambda: took.append(server.stop()))
            stopping.start()
            rest = [line for line in lines if line]
            stopping.join()
        print(f"stopped in {took[0]:.1f} s with a stream in flight")
        assert took[0] < 5
        assert rest[-1] == "data: [DONE]" or "error" in json.loads(rest[-1].removeprefix("data: "))
        assert server.process.returncode == 0
        assert not any(replica.is_running() for replica in replicas)
        assert not (server.home / "server.json").exists()


def test_a_killed_server_takes_its_replicas_with_it(model_file):
    with running(model_file) as server:
        replicas = server.replicas()
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        _, alive = psutil.wait_procs(replicas, timeout=5)
        assert not alive
