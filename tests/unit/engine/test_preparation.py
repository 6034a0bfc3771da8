"""From a pulled model to the file that is served, on a model that is tiny, with the real measuring process."""

import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mainspring.core.config import EngineSettings
from mainspring.core.errors import UserMistake
from mainspring.core.types import ModelVersion
from mainspring.engine import preparation
from mainspring.engine.formats import FORMATS, Measurement
from mainspring.engine.llama import measure
from mainspring.engine.preparation import Measured, on_first_use, prepare, tables
from mainspring.models import prepared
from mainspring.models.catalog import Catalog
from mainspring.models.gguf import read_layout
from tests.unit.engine import tiny_llama
from tests.unit.models.gguf_files import write_gguf

SETTINGS = EngineSettings(threads=1)


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "models")


@pytest.fixture
def version(catalog: Catalog, tmp_path: Path) -> ModelVersion:
    return catalog.pull(f"file:{tiny_llama.write_tiny(tmp_path / 'tiny.gguf')}")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[preparation.Job]:
    """The measuring process replaced: q8_0 is twice as fast, and each file holds its own name."""
    jobs: list[preparation.Job] = []

    def run(job: preparation.Job, report: object) -> Measured:
        jobs.append(job)
        names = (job.only_write,) if job.only_write else job.formats
        for name in names:
            (Path(job.folder) / f"{name}.gguf").write_text(name)
        table = [Measurement(format="shipped", num_bytes=1, prefill=1, single=1, batch=1, kl_nats=0)]
        table += [
            Measurement(format=name, num_bytes=1, prefill=2, single=2, batch=2, kl_nats=0.001 if name == "q8_0" else 1)
            for name in names
        ]
        return Measured(() if job.only_write else tuple(table))

    monkeypatch.setattr(preparation, "_run", run)
    return jobs


def left(catalog: Catalog, version: ModelVersion) -> list[str]:
    """Every file but the model's own and the locks."""
    own = {catalog.path(version).name, "manifest.json"}
    return sorted(path.name for path in catalog.root.rglob("*") if path.is_file() and path.name not in own
                  and path.suffix != ".lock")  # fmt: skip


def test_every_format_is_written_measured_and_compared(catalog: Catalog, version: ModelVersion) -> None:
    phases: list[str] = []
    choice = prepare(catalog, version, SETTINGS, lambda phase, *_: phases.append(phase), bound_nats=1.0)
    table = {each.format: each for each in tables(choice)}
    assert list(table) == ["shipped", *FORMATS]
    assert all(each.prefill > 0 and each.single > 0 and each.batch > 0 for each in table.values())
    # An exact model, its 16 bits, its 8 bits, and its 4 bits.
    assert table["shipped"].kl_nats == 0
    assert 0 < table["f16"].kl_nats < table["q8_0"].kl_nats < table["mixed"].kl_nats < table["q4_0"].kl_nats
    assert table["q8_0"].kl_nats < 0.01
    assert table["q4_0"].num_bytes < table["q8_0"].num_bytes < table["f16"].num_bytes < table["shipped"].num_bytes
    assert "F32" in table["shipped"].note
    assert "writing: q8_0" in phases
    assert prepared.find(catalog, version, SETTINGS) == choice
    path, reason = prepared.weights(catalog, version, SETTINGS)
    assert path.is_file()
    assert reason == choice.reason
    assert (path == catalog.path(version)) == (choice.format == "shipped")


def test_what_is_beyond_the_bound_is_not_timed_nor_kept(catalog: Catalog, version: ModelVersion) -> None:
    choice = prepare(catalog, version, SETTINGS, quiet, bound_nats=1e-9)
    assert choice.format == "shipped"
    for each in tables(choice)[1:]:
        assert each.prefill == 0
        assert "beyond" in each.note
    assert left(catalog, version) == [f"{choice.machine.key}.json"]


def test_a_named_format_is_made_and_served(catalog: Catalog, version: ModelVersion) -> None:
    choice = prepare(catalog, version, SETTINGS, quiet, name="q4_0")
    assert (choice.format, choice.by) == ("q4_0", "person")
    path, _ = prepared.weights(catalog, version, SETTINGS)
    assert {each.kind for each in read_layout(path).tensors if "ffn" in each.name and "norm" not in each.name} == {2}
    assert path.stat().st_size == choice.file.bytes

    assert prepare(catalog, version, SETTINGS, quiet, name="shipped").by == "person"
    assert prepared.weights(catalog, version, SETTINGS)[0] == catalog.path(version)
    asked = EngineSettings(threads=1, format="q4_0")
    assert on_first_use(catalog, version, asked, quiet) is None  # its file is here
    assert prepared.weights(catalog, version, asked)[0] == path


def test_settings_decide(catalog: Catalog, version: ModelVersion, seen: list[preparation.Job]) -> None:
    shipped = catalog.path(version)
    assert on_first_use(catalog, version, EngineSettings(format="shipped"), quiet) is None
    assert prepared.weights(catalog, version, EngineSettings(format="shipped"))[0] == shipped
    assert prepared.weights(catalog, version, SETTINGS)[0] == shipped  # nothing prepared yet

    asked = EngineSettings(threads=1, format="f16")
    with pytest.raises(UserMistake, match="models prepare tiny --format f16"):
        prepared.weights(catalog, version, asked)
    assert on_first_use(catalog, version, asked, quiet).format == "f16"
    assert prepared.weights(catalog, version, asked)[0].read_text() == "f16"


def test_the_first_use_measures_once_for_each_number_of_threads(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job]
) -> None:
    choice = on_first_use(catalog, version, SETTINGS, quiet)
    assert (choice.format, choice.by) == ("q8_0", "measured")
    assert seen[0].limit_s
    assert on_first_use(catalog, version, SETTINGS, quiet) is None
    assert prepared.weights(catalog, version, SETTINGS)[0].read_text() == "q8_0"
    assert on_first_use(catalog, version, EngineSettings(threads=2), quiet) is not None
    assert [msgspec.json.decode(job.settings)["threads"] for job in seen] == [1, 2]


def test_a_large_model_is_served_as_shipped_and_the_start_is_not_delayed(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "FIRST_USE_BYTES", 10)
    choice = on_first_use(catalog, version, SETTINGS, quiet)
    assert (choice.format, choice.by) == ("shipped", "nobody")
    assert seen == []
    assert on_first_use(catalog, version, SETTINGS, quiet) is None  # said once


def test_what_would_take_too_long_is_tried_again_a_day_later(
    catalog: Catalog, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "FIRST_USE_S", 1e-6)
    choice = on_first_use(catalog, version, SETTINGS, quiet)
    assert (choice.format, choice.by) == ("shipped", "nobody")
    assert "would take about" in choice.reason
    assert on_first_use(catalog, version, SETTINGS, quiet) is None
    monkeypatch.setattr("time.time", lambda: choice.created + 25 * 3600.0)
    assert on_first_use(catalog, version, SETTINGS, quiet) is not None


def test_what_was_measured_on_a_busy_machine_serves_for_a_day(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = preparation._run
    monkeypatch.setattr(preparation, "_run", lambda *given: msgspec.structs.replace(run(*given), spread=0.4))
    choice = on_first_use(catalog, version, SETTINGS, quiet)
    assert (choice.format, choice.by) == ("q8_0", "nobody")
    assert "40% apart" in choice.reason
    assert on_first_use(catalog, version, SETTINGS, quiet) is None
    monkeypatch.setattr("time.time", lambda: choice.created + 25 * 3600.0)
    assert on_first_use(catalog, version, SETTINGS, quiet) is not None
    # Whoever has asked for it has seen that it is so.
    assert prepare(catalog, version, SETTINGS, quiet).by == "measured"


@pytest.mark.parametrize(
    ("speeds", "num_rounds", "prefill"),
    [
        ([(100, 100), (99, 104)], 2, (100, 104)),  # they agree
        # One good moment of one format, or one bad one, does not decide.
        ([(50, 104), (100, 104), (99, 103)], 3, (100, 104)),
        ([(100, 150), (100, 100), (98, 101), (97, 149)], 4, (100, 150)),
        ([(50, 60), (70, 100), (90, 130), (110, 160), (130, 190)], 5, (130, 190)),  # never: it is said
    ],
)
def test_formats_are_timed_until_it_is_not_luck(
    catalog: Catalog,
    version: ModelVersion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speeds: list[tuple[float, float]],
    num_rounds: int,
    prefill: tuple[float, float],
) -> None:
    took = iter([each for both in speeds for each in both])
    monkeypatch.setattr(measure, "speeds", lambda *_: (next(took), 1.0, 1.0))
    job = preparation.Job(
        shards=(str(catalog.path(version)),),
        folder=str(tmp_path),
        settings=msgspec.Raw(SETTINGS.model_dump_json().encode()),
        formats=("q8_0",),
        bound_nats=1.0,
        num_rounds=2,
    )
    found = measure.measure(job, quiet)
    assert tuple(each.prefill for each in found.table) == prefill
    assert next(took, None) is None
    assert (found.spread > preparation.STEADY) == (num_rounds == preparation.MOST_ROUNDS)


def test_an_interruption_leaves_nothing(catalog: Catalog, version: ModelVersion) -> None:
    for phase in ("comparing: shipped", "writing: q8_0", "timing: q8_0", "writing: f16"):

        def interrupt(now: str, done: int, total: int | None, at: str = phase) -> None:
            if now == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(catalog, version, SETTINGS, interrupt, bound_nats=1.0)
        assert left(catalog, version) == []
        assert prepared.weights(catalog, version, SETTINGS)[0] == catalog.path(version)


def test_what_a_killed_one_left_is_removed_and_never_used(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job]
) -> None:
    work = catalog.root / ".work" / f"prepare-{version.name}-{version.version}"
    work.mkdir(parents=True)
    (work / "mixed.gguf").write_text("half")
    # Killed between the two steps of publishing: the file is there, and nothing says that it is to be served.
    prepared.folder(catalog, version).mkdir()
    (prepared.folder(catalog, version) / prepared.file_name("q8_0", SETTINGS)).write_text("other")
    assert prepared.weights(catalog, version, SETTINGS)[0] == catalog.path(version)
    on_first_use(catalog, version, SETTINGS, quiet)
    assert not work.exists()
    assert prepared.weights(catalog, version, SETTINGS)[0].read_text() == "q8_0"


def test_a_prepared_file_that_is_not_whole_is_not_served(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job]
) -> None:
    on_first_use(catalog, version, SETTINGS, quiet)
    path, _ = prepared.weights(catalog, version, SETTINGS)
    path.write_text("x")
    assert prepared.weights(catalog, version, SETTINGS)[0] == catalog.path(version)
    assert on_first_use(catalog, version, SETTINGS, quiet).format == "q8_0"
    next(prepared.folder(catalog, version).glob("*.json")).write_text("{")
    assert prepared.weights(catalog, version, SETTINGS)[0] == catalog.path(version)


def test_another_build_of_the_library_measures_anew_and_takes_the_place(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_first_use(catalog, version, SETTINGS, quiet)
    old = left(catalog, version)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2027.1.1")
    on_first_use(catalog, version, SETTINGS, quiet)
    assert len(seen) == 2
    assert not set(old) & set(left(catalog, version))
    assert len(left(catalog, version)) == 2


def test_a_removed_model_takes_its_prepared_files_along(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job]
) -> None:
    on_first_use(catalog, version, SETTINGS, quiet)
    assert left(catalog, version)
    assert [each.name for each in catalog.list()] == [version.name]
    catalog.remove(version.name)
    assert left(catalog, version) == []
    assert catalog.list() == []


def test_a_full_disk_is_told_before_anything_is_written(
    catalog: Catalog, version: ModelVersion, seen: list[preparation.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(UserMistake, match=r"0\.00 GB are free: make room"):
        prepare(catalog, version, SETTINGS, quiet)
    with pytest.raises(UserMistake, match="make room"):
        prepare(catalog, version, SETTINGS, quiet, name="q8_0")
    choice = on_first_use(catalog, version, SETTINGS, quiet)  # and a server starts all the same
    assert (choice.format, choice.by) == ("shipped", "nobody")
    assert "make room" in choice.reason
    assert left(catalog, version) == []
    assert seen == []


def test_only_what_may_be_chosen_stays_on_the_disk_meanwhile(
    catalog: Catalog, version: ModelVersion, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    job = preparation.Job(
        shards=(str(catalog.path(version)),), folder=str(tmp_path / "work"), settings=SETTINGS_JSON, bound_nats=0.002
    )
    table = {each.format: each for each in measure.measure(job, quiet).table}
    kept = {name for name, each in table.items() if each.prefill} - {"shipped"}
    assert {path.stem for path in (tmp_path / "work").iterdir()} == kept
    assert "q4_0" not in kept


def test_too_little_memory_is_told(catalog: Catalog, version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("memory", "available")
    monkeypatch.setattr(measure.psutil, "virtual_memory", lambda: memory(measure.SPARE_BYTES))
    job = preparation.Job(shards=(str(catalog.path(version)),), folder="", settings=SETTINGS_JSON)
    with pytest.raises(measure.EngineUnavailable, match=r"0\.5 GB are free"):
        measure.measure(job, quiet)


SETTINGS_JSON = msgspec.Raw(SETTINGS.model_dump_json().encode())


@pytest.mark.parametrize("damage", ["short", "nan", "not a model"])
def test_a_damaged_file_is_told(catalog: Catalog, tmp_path: Path, damage: str) -> None:
    if damage == "not a model":  # its header is right
        version = catalog.pull(f"file:{write_gguf(tmp_path / 'tiny.gguf', tensors=(), weights=b'')}")
    else:
        version = catalog.pull(f"file:{tiny_llama.write_tiny(tmp_path / 'tiny.gguf')}")
    path = catalog.path(version)
    raw = bytearray(path.read_bytes())
    if damage == "short":
        path.write_bytes(raw[:-100])
    elif damage == "nan":
        at = next(each for each in read_layout(path).tensors if "ffn_up" in each.name).offset
        raw[at : at + 4] = np.float32(np.nan).tobytes()
        path.write_bytes(raw)
    wanted = {"short": "models rm tiny", "nan": "the shipped file computes", "not a model": "not a model that"}[damage]
    with pytest.raises(UserMistake, match=wanted):
        prepare(catalog, version, SETTINGS, quiet)
    assert left(catalog, version) == []


def test_a_process_that_dies_is_told(catalog: Catalog, version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation.sys, "executable", shutil.which("false"))
    with pytest.raises(UserMistake, match="ended with status 1"):
        prepare(catalog, version, SETTINGS, quiet)


def test_the_process_ends_with_the_one_that_started_it(catalog: Catalog, version: ModelVersion, tmp_path: Path) -> None:
    job = preparation.Job(shards=(str(catalog.path(version)),), folder=str(tmp_path), settings=SETTINGS_JSON)
    process = subprocess.Popen(
        [preparation.sys.executable, "-m", "mainspring.engine.llama.measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(msgspec.json.encode(job) + b"\n")
    process.stdin.flush()
    first = process.stdout.readline()
    process.stdin.close()
    assert process.wait(20) == 0
    assert b"progress" in first
    assert Measured.__struct_config__.tag.encode() not in process.stdout.read()
    process.stdout.close()


def test_models_of_other_kinds_are_served_as_they_are(catalog: Catalog, version: ModelVersion) -> None:
    other = msgspec.structs.replace(version, kind="embedding")
    assert on_first_use(catalog, other, SETTINGS, quiet) is None
    assert prepared.weights(catalog, other, SETTINGS)[0] == catalog.path(other)
    with pytest.raises(UserMistake, match="only models that generate text"):
        prepare(catalog, other, SETTINGS, quiet)
