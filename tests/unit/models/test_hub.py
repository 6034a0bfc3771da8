from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.errors import UserMistake
from mainspring.models import hub as hub_source
from mainspring.models.catalog import Catalog
from tests.unit.models.gguf_files import gguf_bytes
from tests.unit.models.hub_server import Hub, serving

DATA = gguf_bytes(weights=bytes(range(256)) * 12_000)  # 3 MB: several chunks


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {"Tiny-Q8_0.gguf": DATA, "Tiny-Q4_K_M.gguf": DATA[:-1], "mmproj-Q4_K_M.gguf": b"x", "model.bin": b"pickle"}
    with serving(Hub(files)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(hub_source, "RETRY_WAIT_S", 0)
        yield running


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "models")


def file_requests(hub: Hub) -> list[tuple[str, str | None]]:
    return [(path.rsplit("/", 1)[-1], asked) for path, asked, _ in hub.requests if "/resolve/" in path]


def test_a_named_file_is_fetched_verified_and_described(hub: Hub, catalog: Catalog) -> None:
    seen: list[tuple[str, int, int | None]] = []
    version = catalog.pull("hf:org/repo/Tiny-Q8_0.gguf", progress=lambda *step: seen.append(step))
    assert catalog.path(version).read_bytes() == DATA
    assert (version.name, version.kind, version.context_length, version.licence) == ("tiny", "chat", 2048, "apache-2.0")
    assert seen[-1] == ("downloading", len(DATA), len(DATA))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_the_preferred_file_is_chosen_when_none_is_named(hub: Hub, catalog: Catalog) -> None:
    version = catalog.pull("hf:org/repo")
    assert version.files[0].path == "Tiny-Q4_K_M.gguf"


def test_broken_connections_are_resumed_where_they_broke(hub: Hub, catalog: Catalog) -> None:
    hub.break_after = [1_500_000, 700_000]
    version = catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    assert catalog.path(version).read_bytes() == DATA
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 for _, asked in file_requests(hub)]
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2]


def test_it_gives_up_when_nothing_arrives_and_goes_on_in_the_next_run(hub: Hub, catalog: Catalog) -> None:
    hub.break_after = [1_500_000] + [0] * hub_source.MAX_ATTEMPTS
    with pytest.raises(UserMistake, match="goes on where it stopped"):
        catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    assert catalog.list() == []
    hub.requests.clear()
    hub.break_after = []
    version = catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    assert catalog.path(version).read_bytes() == DATA
    [(_, asked)] = file_requests(hub)
    assert asked is not None


def test_a_server_without_ranges_starts_over(hub: Hub, catalog: Catalog) -> None:
    hub.ranges, hub.break_after = False, [1_500_000]
    version = catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    assert catalog.path(version).read_bytes() == DATA


def test_a_file_with_another_hash_is_refused_and_not_kept(hub: Hub, catalog: Catalog) -> None:
    hub.claimed["Tiny-Q8_0.gguf"] = "0" * 64
    with pytest.raises(UserMistake, match="SHA-256 differs"):
        catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    assert catalog.list() == []
    assert list(catalog.root.rglob("*.gguf*")) == []


def test_what_the_catalog_holds_is_not_fetched_again(hub: Hub, catalog: Catalog) -> None:
    first = catalog.pull("hf:org/repo/Tiny-Q8_0.gguf")
    hub.requests.clear()
    assert catalog.pull("hf:org/repo/Tiny-Q8_0.gguf") == first
    assert file_requests(hub) == []
    assert catalog.pull("hf:org/repo/Tiny-Q8_0.gguf", name="other").name == "other"
    assert file_requests(hub) == []


def test_shards_come_together(hub: Hub, catalog: Catalog) -> None:
    hub.files = {f"Big-Q4_0-0000{i}-of-00002.gguf": gguf_bytes(tensors=[(i, 10)]) for i in (1, 2)}
    hub.claimed = Hub(hub.files).claimed
    version = catalog.pull("hf:org/repo")
    assert [file.path for file in version.files] == sorted(hub.files)
    assert (version.name, version.num_params) == ("big", 30)


def test_the_token_goes_to_the_hub(hub: Hub, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    with pytest.raises(UserMistake, match="HF_TOKEN") as caught:
        catalog.pull("hf:org/repo")
    assert "hf_secret" not in caught.value.message
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert catalog.pull("hf:org/repo").name == "tiny"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("hf:org/repo/model.bin", "plain .gguf files"),
        ("hf:org/repo/absent.gguf", "it has Tiny-Q4_K_M.gguf, Tiny-Q8_0.gguf"),
        ("hf:org/other", "check the spelling"),
        ("hf:org", "write hf:org/repo"),
        ("hf:../repo", "write hf:org/repo"),
        ("hf:org/..", "write hf:org/repo"),
    ],
)
def test_mistakes_say_the_fix(hub: Hub, catalog: Catalog, source: str, says: str) -> None:
    with pytest.raises(UserMistake, match=says):
        catalog.pull(source)
    assert catalog.list() == []


def test_a_file_name_cannot_leave_the_folder(hub: Hub, catalog: Catalog) -> None:
    hub.files = {"a/..\\..\\evil.gguf": DATA}
    hub.claimed = Hub(hub.files).claimed
    with pytest.raises(UserMistake, match="refused"):
        catalog.pull("hf:org/repo")


def test_no_hub_at_all(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserMistake, match="could not be reached"):
        catalog.pull("hf:org/repo")
