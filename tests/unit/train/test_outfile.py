"""Models as files for other programs."""

import numpy as np
import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from mainspring.core.errors import UserMistake
from mainspring.engine.llama.measure import PASSAGE
from mainspring.models.catalog import Catalog
from mainspring.train.base import load_base
from mainspring.train.export import register
from mainspring.train.outfile import NO_TOKENIZER, export
from mainspring.train.plan import Made
from tests.unit.train import tiny
from tests.unit.train.logits import apart, of_llama, of_pytorch
from tests.unit.train.test_base import IDS, tokens
from tests.unit.train.test_export import plan, trained, whole

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture(params=["llama", "phi3", "gemma3"])
def tuned(tmp_path, request):
    """A catalog, an adapter in it, and the PyTorch model that it came from."""
    catalog = Catalog(tmp_path / "models")
    base = catalog.pull(f"file:{tiny.write(tmp_path / 'tiny.gguf', request.param)}")
    modules = ("qkv_proj", "gate_up_proj", "o_proj") if request.param == "phi3" else ("q_proj", "k_proj", "down_proj")
    model = trained(load_base(catalog, base).model, tmp_path / "out", seed=1, modules=modules)
    made = Made(step=1, folder=tmp_path / "out", metrics={}, is_last=True)
    return catalog, register(catalog, plan(base.id), made), model


def test_an_adapter_in_both_forms(tuned, tmp_path):
    catalog, version, model = tuned
    export(catalog, version, tmp_path / "a.gguf", form="gguf")
    assert (tmp_path / "a.gguf").read_bytes() == catalog.path(version).read_bytes()
    export(catalog, version, tmp_path / "a", form="safetensors")
    peft = PeftModel.from_pretrained(load_base(catalog, catalog.get(version.base)).model, tmp_path / "a")
    assert np.abs(of_pytorch(peft, IDS) - of_pytorch(model, IDS)).max() < 1e-3
    again = catalog.pull(f"file:{tmp_path / 'a'}", base="tiny")
    assert again.base == version.base


def test_an_adapter_that_came_as_gguf_becomes_peft_s(tuned, tmp_path):
    catalog, version, model = tuned
    export(catalog, version, tmp_path / "a.gguf", form="gguf")
    pulled = catalog.pull(f"file:{tmp_path / 'a.gguf'}", base="tiny")
    export(catalog, pulled, tmp_path / "a", form="safetensors")
    peft = PeftModel.from_pretrained(load_base(catalog, catalog.get(version.base)).model, tmp_path / "a")
    assert np.abs(of_pytorch(peft, IDS) - of_pytorch(model, IDS)).max() < 1e-3


@pytest.mark.parametrize("storage", ["f32", "f16", "bf16", "q8_0"])
def test_merged_into_gguf(tuned, tmp_path, storage):
    catalog, version, model = tuned
    out = tmp_path / "merged.gguf"
    export(catalog, version, out, form="gguf", merge=True, storage=storage)
    found = apart(of_pytorch(model, IDS), of_llama(out, IDS))
    print(f"{storage}: {found}")
    assert found.kl < {"f32": 1e-5, "f16": 1e-4, "bf16": 5e-3, "q8_0": 5e-2}[storage]
    assert not catalog.pull(f"file:{out}").is_adapter


def test_merged_into_a_folder(tuned, tmp_path):
    catalog, version, model = tuned
    done = export(catalog, version, tmp_path / "m", form="safetensors", merge=True, storage="f32")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    assert np.abs(of_pytorch(loaded, IDS) - of_pytorch(model, IDS)).max() < 1e-3
    assert done.remark in ("", NO_TOKENIZER)
    with pytest.raises(UserMistake, match="exists"):
        export(catalog, version, tmp_path / "m", form="safetensors", merge=True)
    if not done.remark:
        root = catalog.pull(f"file:{tmp_path / 'm'}")
        trained(load_base(catalog, root).model, tmp_path / "two", seed=2, modules=("o_proj",))
        made = Made(step=1, folder=tmp_path / "two", metrics={}, is_last=True)
        second = register(catalog, plan(root.id, job="ftjob-9", name="ft:two"), made)
        export(catalog, second, tmp_path / "m2", form="safetensors", merge=True)
        AutoModelForCausalLM.from_pretrained(tmp_path / "m2")
        with pytest.raises(UserMistake, match="convert_hf_to_gguf"):
            export(catalog, second, tmp_path / "x.gguf", form="gguf", merge=True)


def test_whole_models(tuned, tmp_path):
    catalog, version, _ = tuned
    base = catalog.get(version.base)
    export(catalog, base, tmp_path / "same.gguf", form="gguf")
    assert (tmp_path / "same.gguf").read_bytes() == catalog.path(base).read_bytes()
    model = whole(load_base(catalog, base).model, tmp_path / "full", seed=1)
    made = Made(step=1, folder=tmp_path / "full", metrics={}, is_last=True)
    full = register(catalog, plan(base.id, job="ftjob-2", name="ft:full"), made, storage="f32")
    export(catalog, full, tmp_path / "full-out", form="safetensors", storage="f32")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "full-out").eval()
    assert np.abs(of_pytorch(loaded, IDS) - of_pytorch(model, IDS)).max() < 1e-3


def test_what_makes_no_sense_is_refused(tuned, tmp_path):
    catalog, version, _ = tuned
    base = catalog.get(version.base)
    for of, says, options in (
        (base, "nothing to merge", {"form": "gguf", "merge": True}),
        (version, "--type is for whole models", {"form": "gguf", "storage": "f16"}),
        (version, "q8_0 is for GGUF", {"form": "safetensors", "merge": True, "storage": "q8_0"}),
    ):
        with pytest.raises(UserMistake, match=says):
            export(catalog, of, tmp_path / "x", **options)
    assert not list(tmp_path.glob("x*")), "something was left"


@pytest.mark.model
def test_the_default_model_for_transformers(model_file, tmp_path):
    catalog = Catalog(tmp_path / "models")
    base = catalog.pull(f"file:{model_file}")
    done = export(catalog, base, tmp_path / "out", form="safetensors", storage="bf16")
    assert done.remark == ""
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer(PASSAGE.read_text(), add_special_tokens=False)["input_ids"][:192] == tokens(model_file)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>assistant\n")
    pulled = catalog.pull(f"file:{tmp_path / 'out'}")
    assert (pulled.format, pulled.kind, pulled.num_params) == ("safetensors", "chat", base.num_params)
