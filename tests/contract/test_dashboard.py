"""The dashboard: every query of it names metrics that a server exports, and labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mainspring.api.metrics import Metrics
from mainspring.engine.fake import FakeEngine
from tests.contract.target import fake_target

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "mainspring.json"
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([^)]*)\)")
QUOTED = re.compile(r'"[^"]*"')


def queries(node: Any) -> Iterator[str]:
    """Every query of panels and variables."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str) and value != "prometheus":
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for each in node:
            yield from queries(each)


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Name of each sample -> its labels, after some traffic."""
    with fake_target(provisioned=lambda: [("default", "fake", 0.5)]) as target, target.http() as client:
        target.chat("Hello", max_tokens=3)
        target.chat("Hello", max_tokens=3, stream=True)
        text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_query_names_what_is_exported(exported: dict[str, set[str]]) -> None:
    told = list(queries(json.loads(DASHBOARD.read_text())))
    assert len(told) > 20
    for query in told:
        selectors = SELECTOR.findall(query)
        assert selectors, f"no metric with its selector: {query}"
        # What is left without selectors, labels and strings must not be a metric that escaped the check.
        assert not re.search(r"(mainspring|azure|rai|tokens)_\w+(?!\w*\{)\b(?!\{)", SELECTOR.sub("", query)), query
        for name, labels in selectors:
            assert name in exported, query
            asked = set(re.findall(r"(\w+)\s*=", QUOTED.sub("", labels)))
            assert asked <= exported[name], query
        for group in GROUPED.findall(query):
            assert {label.strip() for label in group.split(",")} <= set.union(*(exported[n] for n, _ in selectors))


def test_every_metric_of_azures_is_shown() -> None:
    names = re.findall(r"^# TYPE ((?:azure|rai|processed|generated|token_|active)\w+)", made(), re.MULTILINE)
    assert len(names) == 14
    shown = DASHBOARD.read_text()
    assert [name for name in names if name not in shown] == []


def made() -> str:
    return re.sub(r"^# TYPE \w+_created .*$", "", Metrics(FakeEngine()).render().decode(), flags=re.MULTILINE)
