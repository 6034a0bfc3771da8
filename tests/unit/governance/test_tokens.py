import asyncio
import hashlib
import hmac
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unauthorized, Unavailable, UserMistake
from mainspring.core.types import Grant, Principal
from mainspring.governance.issuer import MAX_STALE_S, RETRY_S
from mainspring.governance.tokens import CACHE_S, Tokens, credentials, opened
from tests.issuer import AUDIENCE, ISSUER, FakeIssuer, jwk_of, part, private_key

KEYS = f"{ISSUER}/keys"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> FakeIssuer:
    return FakeIssuer(clock.now())


def tokens_of(issuer: FakeIssuer, clock: FakeClock, /, **settings: Any) -> Tokens:
    settings = {"issuer": ISSUER, "audience": (AUDIENCE, "https://cognitiveservices.azure.com"), **settings}
    return Tokens(IdentitySettings(**settings), clock, issuer.fetch)


@pytest.fixture
def tokens(issuer: FakeIssuer, clock: FakeClock) -> Tokens:
    return tokens_of(issuer, clock)


async def refused(tokens: Tokens, token: str, code: str = "invalid_token") -> str:
    with pytest.raises(Unauthorized) as caught:
        await tokens.authenticate(token)
    assert caught.value.code == code
    assert len(token) < 40 or token not in caught.value.message  # a word may stand in any sentence
    return caught.value.message


async def test_a_token_is_a_principal(issuer: FakeIssuer, tokens: Tokens) -> None:
    principal = await tokens.authenticate(issuer.token(preferred_username="ada@example.org"))
    expected = f"oidc:{hashlib.sha256(ISSUER.encode()).hexdigest()[:8]}:ada"
    assert principal == Principal(id=expected, name="ada@example.org", grants=(Grant("user", "default"),))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm(clock: FakeClock, algorithm: str) -> None:
    issuer = FakeIssuer(clock.now(), algorithm=algorithm)
    assert (await tokens_of(issuer, clock).authenticate(issuer.token())).name == "ada"
    others = tuple(other for other in ALGORITHMS if other != algorithm)
    await refused(tokens_of(issuer, clock, algorithms=others), issuer.token())
    good = issuer.token()
    head, body, signature = good.split(".")
    flipped = ("B" if signature[9] == "A" else "A").join((signature[:9], signature[10:]))
    await refused(tokens_of(issuer, clock), f"{head}.{body}.{flipped}")
    await refused(tokens_of(issuer, clock), f"{head}.{part(issuer.claims(sub='eve'))}.{signature}")


async def test_no_signature_and_a_shared_secret_are_refused(issuer: FakeIssuer, tokens: Tokens) -> None:
    for name in ("none", "None", "NONE", ""):
        await refused(tokens, issuer.forged({"alg": name, "kid": "k1"}))
    for secret in (issuer.public_pem(), b"", b"secret"):
        text = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(issuer.claims())}"
        await refused(tokens, f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}")
    issuer.key_set = {"keys": [{"kty": "oct", "k": part(b"secret"), "kid": "k1", "alg": "HS256"}]}
    with pytest.raises(Unavailable):
        await tokens.authenticate(issuer.token())


async def test_the_algorithm_of_the_key_counts(issuer: FakeIssuer, clock: FakeClock) -> None:
    """A key that is published for PS256 signs nothing else, and an RSA key no ES256."""
    issuer.members = {"alg": "PS256"}
    await refused(tokens_of(issuer, clock), issuer.token())
    issuer.members = {"use": "enc"}
    await refused(tokens_of(issuer, clock), issuer.token())
    issuer.members = {"key_ops": ["encrypt"]}
    await refused(tokens_of(issuer, clock), issuer.token())
    issuer.members = {}
    other = FakeIssuer(clock.now(), algorithm="ES256")
    await refused(tokens_of(issuer, clock), other.token())


async def test_a_short_key_is_no_key(issuer: FakeIssuer, tokens: Tokens) -> None:
    issuer.keys["k1"] = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.warns(UserWarning, match="below"):
        token = issuer.token()
    await refused(tokens, token)


@pytest.mark.parametrize(
    "changes",
    [{"aud": "api://other"}, {"aud": ["a", "b"]}, {"aud": None}, {"aud": [AUDIENCE + "/"]}, {"aud": {AUDIENCE: 1}},
     {"iss": "https://id.example/"}, {"iss": "https://evil.example"}, {"iss": None}, {"iss": [ISSUER]},
     {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256}, {"exp": None}, {"exp": "soon"}, {"exp": True},
     {"exp": 1e300}, {"nbf": "now"}, {"typ": "ID"}, {"typ": "Refresh"}, {"cnf": {"jkt": "x"}}],
)  # fmt: skip
async def test_what_a_token_must_say(issuer: FakeIssuer, tokens: Tokens, changes: dict[str, Any]) -> None:
    sane = {name: value for name, value in changes.items() if name not in ("exp", "nbf", "iss", "sub")}
    token = issuer.token(**sane)
    if sane != changes:  # the library that makes tokens would refuse to make these
        head, claims = token.split(".")[0], issuer.claims(**changes)
        text = f"{head}.{part(claims)}"
        signer = jwt.get_algorithm_by_name("RS256")
        token = f"{text}.{part(signer.sign(text.encode(), issuer.keys['k1']))}"
    await refused(tokens, token)


async def test_several_audiences_on_either_side(issuer: FakeIssuer, tokens: Tokens) -> None:
    for audience in (["other", AUDIENCE], "https://cognitiveservices.azure.com"):
        assert (await tokens.authenticate(issuer.token(aud=audience))).name == "ada"


async def test_times_with_leeway(issuer: FakeIssuer, clock: FakeClock, tokens: Tokens) -> None:
    now = int(clock.now())
    for late in ({"nbf": now + 59}, {"iat": now + 59}, {"exp": now - 59}):
        await tokens.authenticate(issuer.token(**late))
    for wrong in ({"nbf": now + 61}, {"iat": now + 61}):
        await refused(tokens, issuer.token(**wrong))
    assert "expired" in await refused(tokens, issuer.token(exp=now - 60), "token_expired")


async def test_only_a_genuine_token_is_told_that_it_expired(issuer: FakeIssuer, clock: FakeClock, tokens) -> None:
    past = int(clock.now()) - 1000
    stranger = private_key("RS256", "stranger")
    for token in (
        issuer.token(key=stranger, exp=past),
        issuer.token(exp=past, aud="other"),
        issuer.token("k1", exp=past)[:-9],
    ):
        assert "expired" not in await refused(tokens, token)


async def test_keys_named_by_the_token_are_not_looked_at(issuer: FakeIssuer, tokens: Tokens) -> None:
    mine = private_key("RS256", "mine")
    places = {
        "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "jwk": jwk_of(mine), "x5c": ["AAAA"],
    }  # fmt: skip
    await refused(tokens, issuer.token(key=mine, headers=places))
    await refused(tokens, issuer.token("k2", key=mine, headers=places))
    assert set(issuer.fetched) == {KEYS, f"{ISSUER}/.well-known/openid-configuration"}
    assert (await tokens.authenticate(issuer.token(headers=places))).name == "ada"


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "k1' OR '1'='1", "https://evil.example", "k1\0", "K1", "", "x" * 9000]
)
async def test_kid_is_only_compared(issuer: FakeIssuer, tokens: Tokens, kid: str) -> None:
    await refused(tokens, issuer.token(kid, key=issuer.keys["k1"]))
    assert issuer.fetched[KEYS] == 1


async def test_a_token_without_kid_is_tried_with_every_key(clock: FakeClock) -> None:
    issuer = FakeIssuer(clock.now(), "k1", "k2")
    tokens = tokens_of(issuer, clock)
    assert (await tokens.authenticate(issuer.token(None, key=issuer.keys["k2"]))).name == "ada"
    await refused(tokens, issuer.token(None, key=private_key("RS256", "stranger")))


@pytest.mark.parametrize(
    "headers",
    [{"typ": "dpop+jwt"}, {"typ": "logout+jwt"}, {"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}],
)
async def test_other_kinds_of_jwt_are_refused(issuer: FakeIssuer, tokens: Tokens, headers: dict[str, Any]) -> None:
    head = part({"alg": "RS256", "kid": "k1", **headers})
    text = f"{head}.{part(issuer.claims())}"
    signed = jwt.get_algorithm_by_name("RS256").sign(text.encode(), issuer.keys["k1"])
    await refused(tokens, f"{text}.{part(signed)}")


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/at+JWT"])
async def test_types_of_access_tokens(issuer: FakeIssuer, tokens: Tokens, typ: str) -> None:
    assert (await tokens.authenticate(issuer.token(headers={"typ": typ}))).name == "ada"


async def test_size(issuer: FakeIssuer, tokens: Tokens) -> None:
    await tokens.authenticate(issuer.token(groups=["g" * 36] * 200))
    await refused(tokens, issuer.token(groups=["g" * 36] * 400))
    assert issuer.fetched[KEYS] == 1


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True),
        st.binary().map(lambda b: f"{part(b)}.{part(b)}."),
    )
)
def test_no_text_is_a_token(text: str) -> None:
    clock = FakeClock()
    issuer = FakeIssuer(clock.now())
    asyncio.run(refused(tokens_of(issuer, clock), text))


@pytest.mark.parametrize(
    ("roles", "claims", "grants"),
    [
        ({}, {"roles": ["cognitive services contributor"]}, [("manager", "default")]),
        ({}, {"roles": "a001fd3d-188f-4b5d-821b-7da978bf7442"}, [("contributor", "default")]),
        ({}, {"realm_access": {"roles": ["Cognitive Services Usages Reader"]}}, [("reader", "default")]),
        # Of our own names, and of Azure's where anybody may choose them, nothing follows.
        ({}, {"roles": ["admin", "user", "Owner"], "groups": ["Cognitive Services Contributor"]}, []),
        ({"ml": "user@research, reader@*"}, {"groups": ["ml"]}, [("user", "research"), ("reader", "*")]),
        ({"ml": "user@a", "ops": "manager@b"}, {"groups": ["ml", "ops"]}, [("user", "a"), ("manager", "b")]),
        ({"root": "admin"}, {"roles": ["root"]}, [("admin", "*")]),
        ({"*": "user"}, {}, [("user", "default")]),
        ({"*": "user"}, {"roles": ["*"]}, [("user", "default")]),
        ({"x": "user"}, {"roles": [{"x": 1}, 7, None, ["x"]], "groups": {"x": "x"}}, []),
        ({"models.use": "user"}, {"scope": "openid models.use"}, [("user", "default")]),
        ({"models.use": "user"}, {"scp": ["models.use"]}, [("user", "default")]),
        ({"a b": "user", "a": "admin"}, {"groups": "a b"}, [("user", "default")]),
        ({"x": "user"}, {"https://id.example/roles": ["x"]}, [("user", "default")]),
        ({"x": "user"}, {"deep": {"er": {"still": "x"}}}, [("user", "default")]),
        ({"x": "user"}, {"deep": {"er": ["still"]}}, []),
    ],
)
async def test_claims_become_grants(issuer: FakeIssuer, clock: FakeClock, roles, claims, grants) -> None:
    names = ("roles", "groups", "realm_access.roles", "scope", "scp", "https://id.example/roles", "deep.er.still")
    tokens = tokens_of(issuer, clock, roles=roles, claims={"roles": names})
    principal = await tokens.authenticate(issuer.token(**{"roles": None, **claims}))
    assert principal.grants == tuple(Grant(*each) for each in grants)
    if len({project for _, project in grants}) == 1 and grants[0][1] != "*":
        assert principal.project == grants[0][1]


async def test_roles_count_in_their_project_only(issuer: FakeIssuer, clock: FakeClock) -> None:
    tokens = tokens_of(issuer, clock, roles={"m": "user@a,manager@b,reader@*"}, project="c")
    principal = await tokens.authenticate(issuer.token(roles=["m", "Cognitive Services OpenAI Contributor"]))
    assert principal.roles_in("a") == ("user", "reader")
    assert principal.roles_in("b") == ("manager", "reader")
    assert principal.roles_in("c") == ("reader", "contributor")
    assert principal.roles_in("*") == principal.roles_in("d") == ("reader",)


@pytest.mark.parametrize("subject", ["x" * 255, "~" + "a" * 40, "zoë", "a b\nc", "x" * 51])
async def test_odd_subjects_have_ids_that_fit(issuer: FakeIssuer, tokens: Tokens, subject: str) -> None:
    found = await tokens.authenticate(issuer.token(sub=subject))
    assert len(found.id) <= 64
    assert found.id.isascii()
    assert found.id.isprintable()
    assert ":~" in found.id
    assert not found.id.endswith(subject)
    assert found.id != (await tokens.authenticate(issuer.token(sub=f"{subject}."[-255:]))).id


async def test_the_name_is_fit_to_be_shown(issuer: FakeIssuer, clock: FakeClock) -> None:
    tokens = tokens_of(issuer, clock, claims={"name": ("nick", "email"), "subject": "oid"})
    found = await tokens.authenticate(issuer.token(nick=7, email="a\n\x1b[31mda" + "x" * 200, oid="o1"))
    assert found.name == ("a[31mda" + "x" * 200)[:100]
    assert found.id.endswith(":o1")
    assert (await tokens.authenticate(issuer.token(email="", oid="o2"))).name == "o2"


async def test_a_verified_token_is_remembered_but_not_longer_than_it_is_good(
    issuer: FakeIssuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, checked = tokens_of(issuer, clock, leeway_s=0), []
    verify = tokens._verify

    async def counted(token: str):
        checked.append(token)
        return await verify(token)

    monkeypatch.setattr(tokens, "_verify", counted)
    token, short = issuer.token(), issuer.token(exp=int(clock.now()) + 10)
    for _ in range(5):
        await tokens.authenticate(token)
        await tokens.authenticate(short)
    assert len(checked) == 2
    clock.advance(10)
    await refused(tokens, short, "token_expired")
    await tokens.authenticate(token)
    assert len(checked) == 3
    clock.advance(CACHE_S - 10)
    await tokens.authenticate(token)
    assert len(checked) == 4


async def test_what_is_remembered_is_bounded(issuer: FakeIssuer, tokens: Tokens, monkeypatch) -> None:
    monkeypatch.setattr("mainspring.governance.tokens.CACHE_SIZE", 3)
    for number in range(6):
        await tokens.authenticate(issuer.token(sub=f"s{number}"))
        await tokens.authenticate(issuer.token(sub=f"s{number}"))
    assert len(tokens._verified) == 3


async def test_rotation(issuer: FakeIssuer, clock: FakeClock, tokens: Tokens) -> None:
    old = issuer.token()
    await tokens.authenticate(old)
    clock.advance(RETRY_S)
    issuer.keys["k2"] = private_key("RS256", "k2")
    await tokens.authenticate(issuer.token("k2"))  # at once: an unknown key is looked for
    assert issuer.fetched[KEYS] == 2
    await tokens.authenticate(old)
    del issuer.keys["k1"]
    clock.advance(RETRY_S)
    await refused(tokens, issuer.token("k3", key=private_key("RS256", "k3")))  # this reads the keys again
    await refused(tokens, old)  # also what was remembered of it
    await tokens.authenticate(issuer.token("k2"))


async def test_unknown_keys_cause_no_traffic(issuer: FakeIssuer, clock: FakeClock, tokens: Tokens) -> None:
    stranger = private_key("RS256", "stranger")
    await tokens.authenticate(issuer.token())
    clock.advance(RETRY_S)
    flood = [issuer.token(f"unknown-{number}", key=stranger) for number in range(50)]
    await asyncio.gather(*(refused(tokens, token) for token in flood))
    assert issuer.fetched[KEYS] == 2
    clock.advance(RETRY_S - 1)
    await refused(tokens, flood[0])
    assert issuer.fetched[KEYS] == 2


async def test_one_reading_serves_all_who_wait(issuer: FakeIssuer, tokens: Tokens) -> None:
    issuer.gate.clear()
    waiting = [asyncio.create_task(tokens.authenticate(issuer.token(sub=f"s{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # the one that began it
    await asyncio.sleep(0)
    issuer.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(each, Principal) for each in found[1:])
    assert issuer.fetched[KEYS] == 1


async def test_while_the_issuer_is_down_known_keys_work(issuer: FakeIssuer, clock: FakeClock, tokens: Tokens) -> None:
    await tokens.authenticate(issuer.token())
    issuer.is_down = True
    clock.advance(MAX_STALE_S / 2)
    issuer.now_s = clock.now()
    await tokens.authenticate(issuer.token())
    issuer.keys["k2"] = private_key("RS256", "k2")
    with pytest.raises(Unavailable):  # nobody can say whether there is such a key
        await tokens.authenticate(issuer.token("k2"))
    clock.advance(MAX_STALE_S / 2 + 1)
    issuer.now_s = clock.now()
    with pytest.raises(Unavailable):
        await tokens.authenticate(issuer.token())
    issuer.is_down = False
    clock.advance(RETRY_S)
    await tokens.authenticate(issuer.token("k2"))


async def test_a_server_may_start_before_its_issuer(issuer: FakeIssuer, clock: FakeClock, tokens: Tokens) -> None:
    issuer.is_down = True
    for _ in range(5):
        with pytest.raises(Unavailable) as caught:
            await tokens.authenticate(issuer.token())
    assert caught.value.retry_after_s == RETRY_S
    assert sum(issuer.fetched.values()) == 1
    issuer.is_down = False
    clock.advance(RETRY_S)
    await tokens.authenticate(issuer.token())


async def test_old_keys_are_read_again_without_a_request_that_waits(issuer: FakeIssuer, clock, tokens: Tokens) -> None:
    await tokens.authenticate(issuer.token())
    clock.advance(601)
    issuer.now_s = clock.now()
    issuer.gate.clear()
    await asyncio.wait_for(tokens.authenticate(issuer.token()), 5)
    issuer.gate.set()
    await asyncio.sleep(0)
    await tokens.authenticate(issuer.token(sub="later"))
    assert issuer.fetched[KEYS] == 2
    clock.advance(1201)  # nobody asked for long: what is known may be wrong by now
    issuer.now_s = clock.now()
    old = issuer.token()
    issuer.keys = {"k2": private_key("RS256", "k2")}
    await refused(tokens, old)
    await tokens.close()


@pytest.mark.parametrize(
    ("document", "key_set"),
    [
        ({"issuer": "https://evil.example", "jwks_uri": KEYS}, None),
        ({"issuer": ISSUER, "jwks_uri": "http://id.example/keys"}, None),
        ({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}, None),
        ({"issuer": ISSUER, "jwks_uri": "https://user:pass@id.example/keys"}, None),
        ({"issuer": ISSUER}, None),
        ([], None),
        (None, {"keys": []}),
        (None, {"keys": [{"kty": "RSA", "kid": "k1"}] * 10_000}),
        (None, {"keys": [{"kty": "what", "kid": "k1"}, 7, None, {"kid": 8}]}),
        (None, {"keys": {"k1": {}}}),
        (None, ["k1"]),
    ],
)
async def test_documents_that_cannot_be_used(issuer: FakeIssuer, tokens: Tokens, document, key_set) -> None:
    issuer.document, issuer.key_set = issuer.document if document is None else document, key_set
    with pytest.raises(Unavailable):
        await tokens.authenticate(issuer.token())


async def test_broken_keys_beside_a_good_one_do_no_harm(issuer: FakeIssuer, tokens: Tokens) -> None:
    good = jwk_of(issuer.keys["k1"], kid="k1")
    broken = [{**good, "n": "!"}, {**good, "e": "AA"}, {"kty": "RSA", "kid": "k1"}, {**good, "n": good["n"][:40]}]
    issuer.key_set = {"keys": [*broken, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k1"}, good]}
    assert (await tokens.authenticate(issuer.token())).name == "ada"


TENANTS = "https://login.example/{tenantid}/v2.0"


async def test_entra_for_several_tenants(issuer: FakeIssuer, clock: FakeClock) -> None:
    issuer.document = {"issuer": TENANTS, "jwks_uri": KEYS}
    settings = {"issuer": "https://login.example/organizations/v2.0", "tenants": ("t1", "t2")}
    tokens = tokens_of(issuer, clock, **settings)
    ids = set()
    for tenant in ("t1", "t2"):
        token = issuer.token(iss=TENANTS.replace("{tenantid}", tenant), tid=tenant)
        ids.add((await tokens.authenticate(token)).id)
    assert len(ids) == 2  # the same subject in two tenants is two people
    for iss, tid in (("t3", "t3"), ("t1", "t2"), ("t1", None), ("{tenantid}", "{tenantid}")):
        await refused(tokens, issuer.token(iss=TENANTS.replace("{tenantid}", iss), tid=tid))
    issuer.members = {"issuer": TENANTS.replace("{tenantid}", "t2")}  # a key for one of them only
    tokens = tokens_of(issuer, clock, **settings)
    await tokens.authenticate(issuer.token(iss=TENANTS.replace("{tenantid}", "t2"), tid="t2"))
    await refused(tokens, issuer.token(iss=TENANTS.replace("{tenantid}", "t1"), tid="t1"))
    with pytest.raises(Unavailable):
        await tokens_of(issuer, clock, issuer=settings["issuer"]).authenticate(issuer.token())


async def test_both_versions_of_entra_are_one_issuer(issuer: FakeIssuer, clock: FakeClock) -> None:
    tokens = tokens_of(issuer, clock, other_issuers=("https://sts.example/t1/",))
    issuer.members = {"issuer": ISSUER}
    first = await tokens.authenticate(issuer.token())
    assert first.id == (await tokens.authenticate(issuer.token(iss="https://sts.example/t1/", tid="t1"))).id
    await refused(tokens, issuer.token(iss="https://sts.example/t2/", tid="t2"))


async def test_keys_without_discovery(issuer: FakeIssuer, clock: FakeClock) -> None:
    tokens = tokens_of(issuer, clock, keys_url="https://elsewhere.example/jwks")
    await tokens.authenticate(issuer.token())
    assert set(issuer.fetched) == {"https://elsewhere.example/jwks"}


@pytest.mark.parametrize(
    "settings",
    [{"issuer": "http://id.example"}, {"issuer": "id.example"}, {"keys_url": "ftp://id.example/"},
     {"issuer": "http://127.0.0.1.example"}, {"roles": {"x": "god"}}, {"roles": {"x": "user@"}}, {"roles": {"x": ""}},
     {"roles": {"x": "admin@research"}}],
)  # fmt: skip
def test_settings_that_are_refused(issuer: FakeIssuer, clock: FakeClock, settings: dict[str, Any]) -> None:
    with pytest.raises(UserMistake, match="identity"):
        tokens_of(issuer, clock, **settings)


@pytest.mark.parametrize("url", ["http://127.0.0.1:5", "http://[::1]:5", "http://localhost:5", "https://x.example"])
def test_settings_that_are_not(issuer: FakeIssuer, clock: FakeClock, url: str) -> None:
    tokens_of(issuer, clock, issuer=url)
    tokens_of(issuer, clock, issuer="http://id.example", allow_http=True)


def test_an_issuer_wants_an_audience() -> None:
    with pytest.raises(ValueError, match="audience"):
        IdentitySettings(issuer=ISSUER)


async def test_keys_and_tokens_come_in_by_one_door(issuer: FakeIssuer, tokens: Tokens) -> None:
    async def keys(secret: str) -> Principal:
        if secret != "ms-good.with.dots":
            raise Unauthorized("no such key")
        return Principal(id="key", name="key")

    both, alone = credentials(keys, tokens.authenticate), credentials(keys, None)
    assert (await both("ms-good.with.dots")).id == (await alone("ms-good.with.dots")).id == "key"
    assert (await both(issuer.token())).name == "ada"
    for credential in ("", "a.b", "ms-bad", "a.b.c.d"):
        with pytest.raises(Unauthorized, match="no such key"):
            await both(credential)
    with pytest.raises(Unauthorized, match=r"identity\.issuer"):
        await alone(issuer.token())


async def test_without_an_issuer_there_are_no_tokens(clock: FakeClock) -> None:
    async with opened(IdentitySettings(), clock) as tokens:
        assert tokens is None
