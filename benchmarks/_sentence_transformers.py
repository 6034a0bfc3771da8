"""sentence-transformers as the peer of `embeddings.py`: run by an environment of its own, without Mainspring.

    python benchmarks/_sentence_transformers.py FOLDER THREADS

Reads one JSON object a line: texts, together (all in one call, or one after the other). Answers each with one: wall_s,
and vectors as base64 of float32.
"""

import base64
import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(int(sys.argv[2]))
    model = SentenceTransformer(sys.argv[1], device="cpu")
    print(json.dumps({"version": f"torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        calls = [asked["texts"]] if asked["together"] else [[text] for text in asked["texts"]]
        start = time.perf_counter()
        found = [model.encode(texts, normalize_embeddings=True, show_progress_bar=False) for texts in calls]
        wall_s = time.perf_counter() - start
        vectors = b"".join(vector.astype("<f4").tobytes() for vector in found)
        print(json.dumps({"wall_s": wall_s, "vectors": base64.b64encode(vectors).decode()}), flush=True)


if __name__ == "__main__":
    main()
