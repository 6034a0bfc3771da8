"""Processes on this machine."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not group by session")
def test_making_way_counts_among_other_sessions_too() -> None:
    code = "from mainspring.compute.local import make_way; make_way(7); print(open('/proc/self/autogroup').read())"
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, start_new_session=True
    ).stdout
    assert said.split()[-2:] == ["nice", "7"]
