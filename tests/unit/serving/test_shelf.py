"""What is offered, and under which names."""

import msgspec
import pytest

from mainspring.core.clock import FakeClock
from mainspring.core.config import ServingSettings, Settings
from mainspring.core.errors import ModelNotFound
from mainspring.core.types import FileRef, ModelVersion
from mainspring.models.catalog import MANIFEST, Catalog
from mainspring.serving.fleet import Fleet
from mainspring.serving.router import Router
from mainspring.serving.shelf import Shelf


def put(root, name, version, created, **fields):
    """A version in the catalog, as far as the shelf looks at it."""
    file = FileRef(path="w.gguf", bytes=1, sha256="0" * 64)
    made = ModelVersion(**{
        "name": name, "version": version, "kind": "chat", "format": "gguf", "files": (file,), "source": "test",
        "created": created, **fields,
    })  # fmt: skip
    folder = Catalog(root).folder(made)
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(made))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "models"
    put(root, "m", "1", 1)
    put(root, "m", "2", 2)
    put(root, "other", "1", 1)
    put(root, "pirate", "1", 1, base="m@1", is_adapter=True)
    put(root, "pirate", "2", 2, base="m@2", is_adapter=True)
    return root


def shelf(root, *models, catalog=True):
    settings = Settings(home=root.parent, models=models, serving=ServingSettings(catalog=catalog))
    return Shelf(settings, Catalog(root))


def names(offer):
    models = {name: spec.version.id for name, spec in offer.models.items()}
    return models, {name: (spec.version.id, spec.base) for name, spec in offer.adapters.items()}


def test_a_plain_name_is_the_newest_version(root):
    assert names(shelf(root, "m").look(frozenset())) == (
        {"m": "m@2", "other": "other@1"},
        {"pirate": ("pirate@2", "m")},
    )


def test_what_is_wanted_is_offered_whatever_else_is(root):
    look = shelf(root, "other", catalog=False).look
    assert names(look(frozenset())) == ({"other": "other@1"}, {})
    assert names(look(frozenset({"m@1", "gone@1", "gone"}))) == ({"other": "other@1", "m@1": "m@1"}, {})
    assert names(look(frozenset({"m"}))) == ({"other": "other@1", "m": "m@2"}, {})


def test_a_version_with_two_names_is_one_spec(root):
    offer = shelf(root, "m").look(frozenset({"m@1", "m@2"}))
    assert offer.models["m"] is offer.models["m@2"]
    assert offer.models["m@1"] is not offer.models["m"]
    assert list(offer.models) == ["m", "other", "m@1", "m@2"], "plain names come first"


def test_an_adapter_that_is_wanted_brings_its_base(root):
    offer = shelf(root, "other", catalog=False).look(frozenset({"pirate@1"}))
    assert names(offer) == ({"other": "other@1", "m@1": "m@1"}, {"pirate@1": ("pirate@1", "m@1")})
    offer = shelf(root, "m").look(frozenset({"pirate@2"}))
    assert names(offer)[1] == {"pirate": ("pirate@2", "m"), "pirate@2": ("pirate@2", "m")}


def test_a_reward_model_is_never_served(root):
    put(root, "judge", "1", 1, kind="reward", base="m@2", is_adapter=True)
    for wanted in (frozenset(), frozenset({"judge", "judge@1"})):
        models, adapters = names(shelf(root, "m").look(wanted))
        assert "judge" not in {*models, *adapters}
        assert "judge@1" not in {*models, *adapters}


def test_a_version_that_the_settings_name_is_what_the_plain_name_means(root):
    offer = shelf(root, "m@1").look(frozenset({"m", "m@2"}))
    assert names(offer)[0] == {"m": "m@1", "other": "other@1", "m@2": "m@2"}


def test_the_offer_is_the_same_object_until_something_changes(root):
    one = shelf(root, "m")
    first = one.look(frozenset({"m@1"}))
    assert one.look(frozenset({"m@1"})) is first
    assert one.look(frozenset()) is not first
    put(root, "new", "1", 1)
    assert "new" in one.look(frozenset()).models


async def test_a_model_of_a_project_is_served_under_any_name_that_clients_know(root):
    name = "ft:m:acme:Mine:a1b2c3:ckpt-step-5"
    router = Router(shelf(root, "m").look, None, Fleet(0), FakeClock(), ServingSettings())
    router.start()
    assert router.owner(name) is None
    put(root, name, "9", 3, base="m@2", is_adapter=True, project="acme")
    assert (root / "ft~m~acme~%4dine~a1b2c3~ckpt-step-5").is_dir()
    router.want({})  # looks again at once
    assert router.owner(name) == router.owner(f"{name}@9") == "acme"
    assert router.owner("pirate") is None
    info = router.find(name)
    assert (info.id, info.base, info.project, info.owner) == (name, "m", "acme", "acme")
    assert name in {each.id for each in router.list()}
    with pytest.raises(ModelNotFound) as found:
        router.find("absent")
    assert "pirate" in found.value.message
    assert "acme" not in found.value.message
    await router.stop()
