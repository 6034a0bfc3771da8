"""ID tokens, good and bad, at an issuer inside of the test."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unauthorized, Unavailable
from mainspring.core.types import Grant, Principal
from mainspring.governance.issuer import IssuerFailure
from mainspring.governance.sign_in import SignIn
from mainspring.governance.tokens import Tokens
from tests.issuer import AUDIENCE, ISSUER, FakeIssuer

BACK = "https://ai.example.org/v1/x/session/oidc/callback"
ROLES = {"team": "contributor@research", "finance": "reader@*"}


class Site:
    """An issuer with a token endpoint, and our own side of the flow."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.issuer = FakeIssuer(self.clock.now())
        self.issuer.document |= {
            "authorization_endpoint": f"{ISSUER}/auth?tenant=1", "token_endpoint": f"{ISSUER}/token"
        }  # fmt: skip
        given = {
            "issuer": ISSUER,
            "audience": (AUDIENCE,),
            "client_id": "pages",
            "client_secret": "s&1",
            "roles": ROLES,
        }
        made = IdentitySettings(**{**given, **settings})
        self.tokens = Tokens(made, self.clock, self.issuer.fetch)
        self.sign_in = SignIn(made, self.clock, self.tokens, self.issuer.fetch, self.post)
        self.posted: list[tuple[str, Mapping[str, str], tuple[str, str] | None]] = []
        self.answer: Any = None

    async def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str] | None) -> bytes:
        self.posted.append((url, form, credentials))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()

    async def enter(self, access_token: str = "", key: Any = None, **changes: Any) -> Principal:
        """The whole way, with an ID token that says this."""
        place, secret = await self.sign_in.begin(BACK)
        asked = {name: value for name, [value] in parse_qs(urlsplit(place).query).items()}
        usual = {"aud": "pages", "nonce": asked["nonce"], "roles": None}
        id_token = self.issuer.token(headers={"typ": "JWT"}, key=key, **{**usual, **changes})
        if self.answer is None:
            self.answer = {"id_token": id_token, "access_token": access_token, "token_type": "Bearer"}
        return await self.sign_in.finish(BACK, secret, {"code": "c1", "state": asked["state"]})


async def test_who_it_is_and_what_they_may() -> None:
    site = Site()
    found = await site.enter(groups=["team"], preferred_username="Ada", sub="ada")
    by_token = await site.tokens.authenticate(site.issuer.token(roles=["team"], sub="ada"))
    assert found == Principal(
        id=by_token.id, name="Ada", project="research", grants=(Grant("contributor", "research"),)
    )
    [(url, form, credentials)] = site.posted
    assert (url, credentials) == (f"{ISSUER}/token", ("pages", "s&1"))
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == ("authorization_code", "c1", BACK)
    assert "client_secret" not in form
    assert 43 <= len(form["code_verifier"]) <= 128


async def test_the_question_says_what_it_must() -> None:
    site = Site(scopes=("groups", "openid"))
    place, secret = await site.sign_in.begin(BACK)
    assert place.startswith(f"{ISSUER}/auth?tenant=1&response_type=code&")
    asked = {name: value for name, [value] in parse_qs(urlsplit(place).query).items()}
    assert asked["scope"] == "openid groups"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"], secret}) == 4
    again, other = await site.sign_in.begin(BACK)
    assert (again, other) != (place, secret)


@pytest.mark.parametrize(
    ("settings", "document", "credentials", "fields"),
    [
        ({"client_secret": ""}, {}, None, {"client_id": "pages"}),
        ({}, {"token_endpoint_auth_methods_supported": ["client_secret_post"]}, None,
         {"client_id": "pages", "client_secret": "s&1"}),
        ({}, {"token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"]}, ("pages", "s&1"),
         {}),
    ],
)  # fmt: skip
async def test_how_we_show_who_we_are(
    settings: dict[str, Any], document: dict[str, Any], credentials: Any, fields: dict[str, str]
) -> None:
    site = Site(**settings)
    site.issuer.document |= document
    await site.enter()
    [(_, form, given)] = site.posted
    assert given == credentials
    assert {name: value for name, value in form.items() if name.startswith("client")} == fields


async def test_roles_of_the_access_token_count_if_it_is_ours_and_theirs() -> None:
    for changes, roles in (
        ({"sub": "ada"}, {"contributor", "reader"}),
        ({"sub": "eve"}, {"contributor"}),
        ({"sub": "ada", "aud": "api://other"}, {"contributor"}),
        ({"sub": "ada", "exp": 1}, {"contributor"}),
    ):
        site = Site()
        token = site.issuer.token(**{"roles": ["finance"], **changes})
        found = await site.enter(token, groups=["team"], sub="ada")
        assert {grant.role for grant in found.grants} == roles
    assert {grant.role for grant in (await Site().enter("opaque", groups=["team"])).grants} == {"contributor"}
    assert (await Site().enter()).grants == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": AUDIENCE}, {"aud": "other"}, {"aud": None}, {"aud": ["pages", "other"], "azp": "other"},
        {"azp": "other"}, {"nonce": "other"}, {"nonce": None}, {"nonce": 7}, {"iss": "https://evil.example"},
        {"exp": 1}, {"exp": None}, {"iat": 1e11}, {"sub": None}, {"sub": ""},
    ],
)  # fmt: skip
async def test_what_an_id_token_must_say(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized) as caught:
        await Site().enter(**changes)
    assert caught.value.code == "oidc_failed"


async def test_an_id_token_must_be_signed_by_the_issuer() -> None:
    with pytest.raises(Unauthorized):
        await Site().enter(key=FakeIssuer(0, "other").keys["other"])


async def test_keycloaks_id_token_is_one_here_and_no_access_token() -> None:
    site = Site()
    assert (await site.enter(typ="ID", azp="pages", groups=["team"])).grants
    with pytest.raises(Unauthorized):
        await site.tokens.authenticate(site.answer["id_token"])


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[1]", b"\xff", {"id_token": 7}, {"id_token": "x"}, IssuerFailure("it answered 400")]
)
async def test_answers_that_are_none(answer: Any) -> None:
    site = Site()
    site.answer = answer
    with pytest.raises(Unauthorized) as caught:
        await site.enter()
    assert caught.value.code == "oidc_failed"
    assert "400" not in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"}, {"token_endpoint": "http://id.example/token"}, {"token_endpoint": None},
        {"authorization_endpoint": "http://id.example/auth"}, {"authorization_endpoint": "javascript:alert(1)"},
    ],
)  # fmt: skip
async def test_a_document_that_is_not_believed(changes: dict[str, Any]) -> None:
    site = Site()
    site.issuer.document |= changes
    with pytest.raises(Unavailable):
        await site.sign_in.begin(BACK)
    assert site.posted == []


async def test_what_is_known_of_the_issuer_serves_while_it_is_down() -> None:
    site = Site()
    await site.enter()
    site.issuer.is_down = True
    site.clock.advance(5000)
    assert (await site.sign_in.begin(BACK))[0].startswith(ISSUER)


@pytest.mark.parametrize("secret", ["", "other", "\udcff"])
@pytest.mark.parametrize("state", [None, "", "\udcff"])
async def test_an_answer_to_nothing(secret: str, state: str | None) -> None:
    site = Site()
    query = {"code": "c1"} | ({} if state is None else {"state": state})
    with pytest.raises(Unauthorized):
        await site.sign_in.finish(BACK, secret, query)
    assert site.posted == []


def test_pages_need_an_issuer() -> None:
    with pytest.raises(ValidationError, match="set issuer too"):
        IdentitySettings(client_id="pages")  # type: ignore[call-arg]
