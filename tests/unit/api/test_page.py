"""The pages that people see: the documentation works without a network, and describes every route."""

import re

from starlette.testclient import TestClient

from mainspring.api.app import create_app
from mainspring.engine.fake import FakeEngine
from tests.contract.target import services


def test_docs_load_nothing_from_elsewhere() -> None:
    app = create_app(services(FakeEngine()))
    response = TestClient(app).get("/docs")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", response.text)
    assert "/openapi.json" in response.text


def test_the_document_has_every_route_and_no_loose_reference() -> None:
    app = create_app(services(FakeEngine()))
    text = TestClient(app).get("/openapi.json").text
    document = app.openapi
    served = {path.replace(":path}", "}") for _, path in app.served}
    assert set(document["paths"]) == served
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names <= set(document["components"]["schemas"])
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
