"""llama.cpp's own server, as a program: prints what it generates for each prompt of its standard input, greedily.

A process of its own, because the library keeps global state and prints what it likes to standard output.
"""

import json
import sys
import urllib.request
from pathlib import Path


def main() -> None:
    import xllamacpp

    work = json.loads(sys.stdin.read())
    params = xllamacpp.CommonParams()
    params.model.path = work["model"]
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = 1  # threads that wait for each other suffer where other programs run
    params.warmup = False
    params.hostnames, params.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(params)
    answers = []
    for prompt in work["prompts"]:
        body = {
            "prompt": prompt,
            "n_predict": work["num_tokens"],
            "temperature": 0,
            "cache_prompt": False,
            "return_tokens": True,
            "samplers": ["temperature"],
        }
        request = urllib.request.Request(
            f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            answers.append(json.loads(reply.read())["tokens"])
    Path(work["out"]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
