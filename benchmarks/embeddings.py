"""Our embedding engine against sentence-transformers: same weights, same texts, same threads, alternating.

    scripts/bench embeddings [--pairs 5] [--threads 1] [--json FILE] [--folder FOLDER] [--reference-python PYTHON]

FOLDER holds all-MiniLM-L6-v2 as sentence-transformers keeps it; by default the one that `scripts/bench` has fetched.
sentence-transformers runs in an environment of its own (`.cache/sentence-transformers`, made when it is missing: torch
is 200 MB) or in the one that PYTHON belongs to. Each pair of runs gives a ratio of times, theirs / ours; printed are
its median, minimum and maximum, how far the vectors are apart, and the smallest cosine between ours and theirs.

Wanted: fp32 at least 1.0 with vectors 1e-4 apart at most; int8 at least 2.0 with cosines of 0.99 or more.
"""

import argparse
import base64
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
REFERENCE = ("torch==2.13.0", "sentence-transformers==6.2.0")  # torch first: by itself pip would choose one with CUDA
WANTED = {"fp32": ("at least 1.0x, 1e-4 apart at most", 1.0), "int8": ("at least 2.0x, cosine at least 0.99", 2.0)}
WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour
game line end member law car city community name president team minute idea kid body information back parent face others
level office door health person art war history party result change morning reason research girl guy moment air teacher
force education foot boy age policy everything process music market sense nation plan college interest death experience
""".split()


class Worker:
    """A process that embeds what it is sent."""

    def __init__(self, command: list[str], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        # Both tokenise in one thread: what is compared is the model.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.version = self._read()["version"]

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended: run it by hand to see why.")
        return json.loads(line)

    def embed(self, texts: list[str], together: bool) -> tuple[float, np.ndarray]:
        """Seconds, and the vectors (texts, dimensions)."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"texts": texts, "together": together}) + "\n")
        self._process.stdin.flush()
        said = self._read()
        return said["wall_s"], np.frombuffer(base64.b64decode(said["vectors"]), "<f4").reshape(len(texts), -1)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def _texts(num: int, low: int, high: int) -> list[str]:
    """Sentences of `low` to `high` words, the same in every run. A word is one token here, nearly always."""
    draw = random.Random(f"{num} {low} {high}")
    texts: list[str] = []
    for _ in range(num):
        words = draw.choices(WORDS, k=draw.randint(low, high))
        texts.append(" ".join(words).capitalize() + ".")
    return texts


def cases(quick: bool) -> dict[str, tuple[list[str], bool]]:
    """Name -> texts, and whether they are sent together."""
    share = 4 if quick else 1
    return {
        "short: 512 texts of 4 to 12 words": (_texts(512 // share, 4, 12), True),
        "long: 48 texts of 200 to 240 words": (_texts(48 // share, 200, 240), True),
        "mixed: 256 texts of 4 to 240 words": (_texts(256 // share, 4, 240), True),
        "one by one: 64 texts of 4 to 12 words": (_texts(64 // share, 4, 12), False),
    }


def reference_python(named: str | None) -> str:
    """The Python that has sentence-transformers."""
    if named:
        return named
    folder = HERE.parent / ".cache" / "sentence-transformers"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for requirement in REFERENCE:
            subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        (folder / "ready").touch()
    return str(python)


def model_folder(named: Path | None) -> Path:
    """Where the model is."""
    named = named or (Path(os.environ["MAINSPRING_TEST_EMBEDDING_MODEL"]) if _env() else None)
    if named is None or not (named / "model.safetensors").exists():
        raise SystemExit("Name the folder of all-MiniLM-L6-v2: --folder FOLDER.")
    return named.resolve()


def _env() -> bool:
    return bool(os.environ.get("MAINSPRING_TEST_EMBEDDING_MODEL"))


def compare(ours: Worker, theirs: Worker, texts: list[str], together: bool, num_pairs: int) -> dict[str, Any]:
    """Ratios of `num_pairs` pairs, and how near the vectors are."""
    for worker in (ours, theirs):
        worker.embed(texts[: max(8, len(texts) // 8)], together)  # warm
    ratios: list[float] = []
    own_s: list[float] = []
    for _ in range(num_pairs):
        our_s, our_vectors = ours.embed(texts, together)
        their_s, their_vectors = theirs.embed(texts, together)
        ratios.append(their_s / our_s)
        own_s.append(our_s)
    return {
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "texts_per_s": len(texts) / median(own_s),
        "max_difference": float(np.abs(our_vectors - their_vectors).max()),
        "min_cosine": float((our_vectors * their_vectors).sum(1).min()),
        "mean_cosine": float((our_vectors * their_vectors).sum(1).mean()),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--reference-python")
    parser.add_argument("--quick", action="store_true", help="A quarter of the texts: to see that it runs.")
    options = parser.parse_args()
    folder, python = model_folder(options.folder), reference_python(options.reference_python)
    console = Console(width=max(Console().width, 140))  # a spread is not cut off where it is piped to a file
    threads = str(options.threads)
    theirs = Worker([python, str(HERE / "_sentence_transformers.py"), str(folder), threads], options.threads)
    results: dict[str, dict[str, Any]] = {}
    try:
        for precision, (wanted, _) in WANTED.items():
            ours = Worker(
                [sys.executable, "-m", "benchmarks._embedder", str(folder), threads, precision], options.threads
            )
            table = Table(title=f"{precision} against sentence-transformers ({theirs.version}), wanted: {wanted}")
            for column in ("texts", "faster by", "min..max", "texts/s", "max difference", "min cosine", "mean"):
                table.add_column(column)
            for name, (texts, together) in cases(options.quick).items():
                found = compare(ours, theirs, texts, together, options.pairs)
                results[f"{precision} {name}"] = found
                table.add_row(
                    name, f"{found['ratio']:.2f}x", f"{found['ratio_min']:.2f}..{found['ratio_max']:.2f}",
                    f"{found['texts_per_s']:.0f}", f"{found['max_difference']:.1e}", f"{found['min_cosine']:.4f}",
                    f"{found['mean_cosine']:.4f}",
                )  # fmt: skip
            ours.stop()
            console.print(table)
    finally:
        theirs.stop()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
