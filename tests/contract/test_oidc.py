"""Bearer tokens of a real issuer (oidc-provider, started here), through the official clients over sockets."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI

from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.governance.issuer import RETRY_S, HttpFetch
from mainspring.governance.tokens import Tokens
from tests.contract.observed import run
from tests.contract.target import API_VERSION, STRICT, GovernedTarget, governed
from tests.contract.test_node import FOLDER as NODE_FOLDER
from tests.contract.test_node import PACKAGE as NODE_CLIENT
from tests.issuer import AUDIENCE

FOLDER = Path(__file__).parents[1] / "oidc"
PACKAGE = FOLDER / "node_modules" / "oidc-provider" / "package.json"
NODE = shutil.which("node")
CLIENTS = {
    "app": {"roles": ["Cognitive Services OpenAI User"]},
    "team": {"realm_access": {"roles": ["offline_access", "ml-team"]}},
    "watcher": {"groups": ["finance"]},
    "nobody": {},
    "stranger": {"aud": "api://other"},
    "pages": {"people": "secret"},
    "public-pages": {"people": "public"},
}
PERSON = {"sub": "ada", "preferred_username": "Ada", "groups": ["ml-team"]}
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="no node on this machine"),
    pytest.mark.skipif(not PACKAGE.exists(), reason="the npm package oidc-provider is not installed: run scripts/test"),
]


class RealIssuer:
    """The process of tests/oidc/issuer.mjs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{self._answer()['port']}"

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return next(json.loads(line) for line in self._process.stdout if line.startswith("{"))  # not its remarks

    def change(self, what: str) -> list[str]:
        """Add keys or drop the old ones; the ids of those that are published then."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()["kids"]

    def token(self, client: str = "app", algorithm: str = "RS256") -> str:
        """An access token, by client_credentials."""
        form = {"grant_type": "client_credentials", "resource": f"urn:mainspring:{algorithm}"}
        said = httpx.post(f"{self.url}/token", data=form, auth=(client, client))
        assert said.status_code == 200, said.text
        return said.json()["access_token"]


@contextlib.contextmanager
def running(**more: str) -> Generator[RealIssuer]:
    """It, until the end of the block."""
    environment = {**os.environ, "AUDIENCE": AUDIENCE, "CLIENTS": json.dumps(CLIENTS), "PERSON": json.dumps(PERSON)}
    environment |= {"CALLBACK": "/v1/x/session/oidc/callback", **more}
    with subprocess.Popen(
        [str(NODE), str(FOLDER / "issuer.mjs")],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            yield RealIssuer(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def issuer() -> Generator[RealIssuer]:
    with running() as found:
        yield found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def target(issuer: RealIssuer, clock: FakeClock, tmp_path: Path) -> Generator[GovernedTarget]:
    roles = {"ml-team": "contributor", "finance": "reader@*"}
    settings = IdentitySettings(issuer=issuer.url, audience=(AUDIENCE,), roles=roles)  # type: ignore[call-arg]
    with governed(tmp_path, Tokens(settings, clock, HttpFetch()).authenticate) as found:
        yield found


def azure(target: GovernedTarget, token: str, **options: Any) -> AzureOpenAI:
    return AzureOpenAI(
        azure_endpoint=target.base_url, api_version=API_VERSION, azure_ad_token=token, **{**STRICT, **options}
    )


def chat(client: openai.OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(model="fake", messages=HELLO, max_tokens=5, **fields)


def test_the_pinned_version_is_installed() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["oidc-provider"]
    assert json.loads(PACKAGE.read_text())["version"] == wanted


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_on_every_route_of_azure(target: GovernedTarget, issuer: RealIssuer, algorithm: str) -> None:
    token = issuer.token(algorithm=algorithm)
    client = azure(target, token)
    assert chat(client).choices[0].message.content
    # Azure's first chunk, which tells of the filters, has no `object`: the strict client refuses Azure's too.
    chunks = chat(azure(target, token, _strict_response_validation=False), stream=True)
    assert any(chunk.choices and chunk.choices[0].delta.content for chunk in chunks)
    assert client.completions.create(model="fake", prompt="hello", max_tokens=2).choices
    assert client.embeddings.create(model="fake-embed", input="hello", encoding_format="float").data[0].embedding
    assert "fake" in [model.id for model in client.models.list()]
    assert client.models.retrieve("fake").id == "fake"


def test_the_settings_are_all_that_it_takes(issuer: RealIssuer, tmp_path: Path) -> None:
    identity = IdentitySettings(issuer=issuer.url, audience=(AUDIENCE,))  # type: ignore[call-arg]
    with governed(tmp_path, identity=identity) as target:
        assert chat(azure(target, issuer.token())).choices


async def test_a_provider_of_tokens(target: GovernedTarget, issuer: RealIssuer) -> None:
    async def provide() -> str:
        return issuer.token()

    client = AsyncAzureOpenAI(
        azure_endpoint=target.base_url, api_version=API_VERSION, azure_ad_token_provider=provide, **STRICT
    )
    async with client:
        assert (await client.chat.completions.create(model="fake", messages=HELLO, max_tokens=5)).choices


@pytest.mark.parametrize("dialect", ["openai", "azure_v1"])
def test_a_token_as_the_key_of_the_other_dialects(target: GovernedTarget, issuer: RealIssuer, dialect: str) -> None:
    assert chat(target.sdk(dialect, issuer.token("team"))).choices


def test_roles_by_claims(target: GovernedTarget, issuer: RealIssuer) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="'watcher' has the role reader there"):
        chat(azure(target, issuer.token("watcher")))
    with pytest.raises(openai.PermissionDeniedError, match="has no role there"):
        chat(azure(target, issuer.token("nobody")))
    watcher = target.sdk("openai", admin_api_key=issuer.token("watcher"))
    assert watcher.admin.organization.usage.completions(start_time=int(time.time()))
    with target.http(issuer.token("app")) as client:  # as a key, in the header for keys
        assert client.get("/v1/models").status_code == 200


def test_what_is_used_is_the_subject_s(target: GovernedTarget, issuer: RealIssuer) -> None:
    chat(azure(target, issuer.token("app")))
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    time.sleep(1)  # until the ledger has been moved to the database
    page = usage.completions(start_time=int(time.time()) - 86_400, group_by=["api_key_id"])
    [key] = [result.api_key_id for bucket in page.data for result in bucket.results]
    assert key is not None
    assert key.startswith("oidc:")
    assert key.endswith(":app")


@pytest.mark.parametrize("spoil", ["signature", "audience", "expired", "nonsense"])
def test_a_refusal_can_be_read(target: GovernedTarget, issuer: RealIssuer, clock: FakeClock, spoil: str) -> None:
    token = issuer.token("stranger" if spoil == "audience" else "app")
    if spoil == "signature":
        token = token[:-10] + token[-10:].swapcase()
    elif spoil == "expired":
        clock.advance(3600)
    elif spoil == "nonsense":
        token = "a.b.c"
    refusal_is_readable(target, token, "expired" if spoil == "expired" else "not valid here")


def refusal_is_readable(target: GovernedTarget, token: str, why: str) -> None:
    with pytest.raises(openai.AuthenticationError, match="Access token is missing, invalid, audience") as caught:
        chat(azure(target, token))
    assert why in caught.value.message
    assert caught.value.code == "401"
    assert caught.value.response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    with pytest.raises(openai.AuthenticationError, match=why) as caught:
        chat(target.sdk("openai", token))
    assert caught.value.code == ("token_expired" if why == "expired" else "invalid_token")


def test_keys_rotate_under_a_running_server(target: GovernedTarget, issuer: RealIssuer, clock: FakeClock) -> None:
    old = issuer.token()
    assert chat(azure(target, old)).choices
    issuer.change("add")
    new = issuer.token()
    with pytest.raises(openai.AuthenticationError):  # the keys were read a moment ago
        chat(azure(target, new))
    clock.advance(RETRY_S)
    assert chat(azure(target, new)).choices
    assert chat(azure(target, old)).choices
    issuer.change("drop")
    clock.advance(RETRY_S)
    issuer.change("add")
    assert chat(azure(target, issuer.token())).choices  # another new key: they are read again
    with pytest.raises(openai.AuthenticationError):
        chat(azure(target, old))
    assert chat(azure(target, new)).choices


def test_an_issuer_that_is_down(clock: FakeClock, tmp_path: Path) -> None:
    settings = IdentitySettings(issuer="http://127.0.0.1:1", audience=(AUDIENCE,))  # type: ignore[call-arg]
    with governed(tmp_path, Tokens(settings, clock, HttpFetch()).authenticate) as target:
        head = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ"
        with pytest.raises(openai.InternalServerError, match="identity provider does not answer") as caught:
            chat(azure(target, f"{head}.e30.AAAA"))
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "10"
        assert chat(target.sdk("azure")).choices  # the key of an administrator


@pytest.mark.skipif(not NODE_CLIENT.exists(), reason="the npm package openai is not installed: run scripts/test")
def test_the_client_for_node(target: GovernedTarget, issuer: RealIssuer) -> None:
    seen = run([str(NODE), str(NODE_FOLDER / "token.mjs")], replace(target, key=issuer.token()))
    for each in seen.values():
        assert each["answer"]["choices"][0]["message"]["content"]
        assert each["refusal"]["name"] == "AuthenticationError"
        assert each["refusal"]["status"] == 401
        assert "Access token is missing, invalid" in each["refusal"]["message"]
        assert "no body" not in each["refusal"]["message"]
