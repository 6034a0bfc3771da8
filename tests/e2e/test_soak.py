"""Twenty seconds of the soak of benchmarks/soak.py: everything at once, nothing malformed, nothing left over."""

import argparse

import pytest

from benchmarks.soak import run


@pytest.mark.model
async def test_everything_at_once_leaves_nothing_behind(model_file):
    found = await run(argparse.Namespace(model=model_file, threads=2, minutes=0.35, streams=16))
    assert found["malformed"] == []
    assert found["left"] == [0, 0]
    assert {"adapter", "chat", "tool", "schema", "left"} <= found["counts"].keys()
