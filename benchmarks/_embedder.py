"""Our embedding engine without server or socket, for `embeddings.py`: what a replica does with a request.

    python -m benchmarks._embedder FOLDER THREADS fp32|int8

Reads and writes what `_sentence_transformers.py` does.
"""

import base64
import json
import sys
import time
from pathlib import Path

from mainspring.core.config import EngineSettings
from mainspring.core.types import EmbedRequest
from mainspring.engine.embedding import make_embedder
from mainspring.engine.pool import Embedder, Pool, prepare


def _embed(model: Embedder, budget: int, texts: list[str]) -> bytes:
    pool = Pool(budget)
    job = prepare(EmbedRequest(id="b", model="", inputs=tuple(texts)), model, 0.0)
    pool.add(job)
    while pool.jobs:
        batch = pool.take()
        vectors = model.embed([each.rows[row] for each, row in batch])
        for (each, row), vector in zip(batch, vectors, strict=True):
            each.put(row, vector)
    return job.result().vectors


def main() -> None:
    """Answer until the input ends."""
    folder, threads, precision = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    settings = EngineSettings.model_validate({"threads": threads, "embedding_precision": precision})
    model = make_embedder(folder / "model.safetensors", settings)
    print(json.dumps({"version": "mainspring"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        calls = [asked["texts"]] if asked["together"] else [[text] for text in asked["texts"]]
        start = time.perf_counter()
        found = [_embed(model, settings.prefill_tokens, texts) for texts in calls]
        wall_s = time.perf_counter() - start
        print(json.dumps({"wall_s": wall_s, "vectors": base64.b64encode(b"".join(found)).decode()}), flush=True)


if __name__ == "__main__":
    main()
