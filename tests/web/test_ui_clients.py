"""The npm packages @ai-sdk/react and @assistant-ui/react, unmodified, in conversation with a server (Vitest)."""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.contract.target import GovernedTarget, governed

FOLDER = Path(__file__).with_name("ui")
VITEST = FOLDER / "node_modules" / ".bin" / "vitest"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine"),
    pytest.mark.skipif(not VITEST.exists(), reason="the npm packages of tests/web/ui are missing: run scripts/test"),
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("ui")) as found:
        yield found


@pytest.mark.parametrize("name", ["use_chat", "assistant_ui"])
def test_a_client_drives_a_conversation(target: GovernedTarget, tmp_path: Path, name: str) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [str(VITEST), "run", f"{name}.test.jsx", "--reporter=json", f"--outputFile={report}"],
        cwd=FOLDER,
        env=os.environ
        | {"MAINSPRING_URL": target.base_url, "MAINSPRING_KEY": target.make_key(), "MAINSPRING_MODEL": "fake"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    failed = [
        f"{each['title']}: {each['failureMessages']}"
        for file in found["testResults"]
        for each in file["assertionResults"]
        if each["status"] != "passed"
    ]
    assert not failed, "\n".join(failed)
    assert found["success"], done.stderr
    assert found["numPassedTests"] >= (1 if name == "assistant_ui" else 6)
