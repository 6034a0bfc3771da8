"""What training makes, beside a server that runs: served at once under its name, deployed, shown, deleted."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model

from mainspring.models.catalog import Catalog
from mainspring.train.base import load_base
from mainspring.train.export import register
from mainspring.train.plan import Data, Made, Plan
from tests.e2e.server import running
from tests.unit.train.logits import log_softmax, of_pytorch

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
NAME = "ft:smollm2-135m-instruct:acme:mine:a1b2c3"
TEXT = "The capital of France is Paris, and the capital of Italy is Rome."


def mainspring(server, *arguments):
    command = [sys.executable, "-c", "from mainspring.cli.main import main; main()", *arguments]
    done = subprocess.run([*command, "--home", str(server.home)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def random_adapter(model, folder: Path):
    torch.manual_seed(1)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    made = get_peft_model(model, config)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    made.save_pretrained(folder)
    return made.eval()


def spoken(client, model: str) -> tuple[list[float], list[str]]:
    """Log probabilities of the text's own tokens."""
    answer = client.completions.create(model=model, prompt=TEXT, max_tokens=1, echo=True, logprobs=0, temperature=0)
    found = answer.choices[0].logprobs
    return found.token_logprobs[1:-1], found.tokens[:-1]


def test_from_a_checkpoint_to_its_deletion(model_file, tmp_path):
    with running(model_file) as server:
        key = mainspring(server, "projects", "create", "acme")
        assert key[0] == 0, key
        catalog = Catalog(server.home / "models")
        (base,) = catalog.list()
        replicas = {replica.pid for replica in server.replicas()}
        model = random_adapter(load_base(catalog, base).model, tmp_path / "out")
        plan = Plan(
            job="ftjob-1", base=base.id, name=NAME, method="supervised", training=Data(path="x", sha256="12" * 32)
        )
        options = {"base_url": f"{server.base_url}/v1", "api_key": server.key, "max_retries": 0}
        with openai.OpenAI(**options, project="acme") as acme, openai.OpenAI(**options) as other:
            for is_last in (False, True):
                made = Made(step=3, folder=tmp_path / "out", metrics={"train_loss": 1.0}, is_last=is_last)
                version = register(catalog, plan, made, project="acme")
                time.sleep(1.1)  # a look at the catalog at most once a second
                assert version.name in {each.id for each in acme.models.list()}
                logprobs, pieces = spoken(acme, version.name)
            assert {replica.pid for replica in server.replicas()} == replicas, "it took another replica"
            shutil.rmtree(tmp_path / "out")

            plain, _ = spoken(other, base.name)
            ids = ids_of(model_file, TEXT)
            assert len(ids) == len(pieces)
            expected = log_softmax(of_pytorch(model, ids))[np.arange(len(ids) - 1), ids[1:]]
            errors = np.abs(np.array(logprobs) - expected)
            print(f"served and trained: {errors.mean():.3f} apart; without the adapter: "
                  f"{np.abs(np.array(plain) - expected).mean():.3f}")  # fmt: skip
            assert errors.mean() < 0.25 < 0.5 < np.abs(np.array(plain) - expected).mean()

            for project in (other, openai.OpenAI(**options, project="default")):
                with project, pytest.raises(openai.NotFoundError):
                    spoken(project, NAME)

            assert mainspring(server, "deploy", NAME, "--sku", "DeveloperTier")[0] == 0
            time.sleep(1.1)
            assert spoken(acme, "smollm2-135m-instruct-acme-mine-a1b2c3")[0]
            code, shown = mainspring(server, "models", "show", NAME)
            assert code == 0
            assert f"sha256:{'12' * 32}" in shown
            with pytest.raises(openai.ConflictError):
                acme.models.delete(NAME)
            assert mainspring(server, "deployments", "delete", "smollm2-135m-instruct-acme-mine-a1b2c3",
                              "--project", "acme")[0] == 0  # fmt: skip
            assert acme.models.delete(NAME).deleted
            with pytest.raises(openai.NotFoundError):
                spoken(acme, NAME)
            assert spoken(acme, f"{NAME}:ckpt-step-3")[0]


def ids_of(model_file, text):
    from mainspring.train.tokenizer import tokens_of

    return tokens_of(model_file, text)
