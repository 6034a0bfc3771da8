"""An OpenID Connect issuer inside of the tests: makes tokens good and bad, and serves its documents without a socket.

`fetch` is what `Tokens` is given; `fetched` counts what it was asked for. tests/oidc has a real issuer.
"""

import asyncio
import base64
import json
from collections import Counter
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mainspring.governance.issuer import IssuerFailure

ISSUER = "https://id.example"
AUDIENCE = "api://mainspring"

CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_MADE: dict[tuple[str, str], Any] = {}


def private_key(algorithm: str, kid: str) -> Any:
    """The same for the same names: making RSA keys takes long."""
    if (algorithm[:2], kid) not in _MADE or algorithm in CURVES:
        if algorithm in CURVES:
            made: Any = ec.generate_private_key(CURVES[algorithm])
        elif algorithm == "EdDSA":
            made = ed25519.Ed25519PrivateKey.generate()
        else:
            made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _MADE[algorithm[:2], kid] = made
    return _MADE[algorithm[:2], kid]


def jwk_of(key: Any, **members: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    kinds = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "Ed": OKPAlgorithm}
    kind = next(kind for name, kind in kinds.items() if type(key).__name__.startswith(name))
    return {**json.loads(kind.to_jwk(key.public_key())), "use": "sig", **members}


def part(value: Any) -> str:
    """A part of a JWT."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class FakeIssuer:
    """`keys` are published under their kid; `now_s` is when tokens are made."""

    def __init__(self, now_s: float, *kids: str, algorithm: str = "RS256") -> None:
        self.now_s, self.algorithm = now_s, algorithm
        self.keys: dict[str, Any] = {kid: private_key(algorithm, kid) for kid in kids or ("k1",)}
        self.members: dict[str, Any] = {}
        self.document: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.key_set: Any = None
        self.fetched: Counter[str] = Counter()
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        """See `governance.issuer.Fetch`."""
        self.fetched[url] += 1
        await self.gate.wait()
        if self.is_down:
            raise IssuerFailure("it is down")
        if url.endswith("/.well-known/openid-configuration"):
            return json.dumps(self.document).encode()
        keys = [jwk_of(key, kid=kid, **self.members) for kid, key in self.keys.items()]
        return json.dumps({"keys": keys} if self.key_set is None else self.key_set).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a token says; a change to None leaves a claim out."""
        usual = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": int(self.now_s + 300), "iat": int(self.now_s),
            "roles": ["Cognitive Services OpenAI User"],
        }  # fmt: skip
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(self, kid: str | None = "k1", key: Any = None, headers: dict[str, Any] | None = None, **changes: Any):
        """A token signed with the key `kid`, or with `key`."""
        return jwt.encode(
            self.claims(**changes),
            key or self.keys[kid or "k1"],
            algorithm=self.algorithm,
            headers={"typ": "at+jwt", **({} if kid is None else {"kid": kid}), **(headers or {})},
        )

    def forged(self, header: dict[str, Any], signature: bytes = b"") -> str:
        """A token of any header with a signature that is none."""
        return f"{part(header)}.{part(self.claims())}.{part(signature)}"

    def public_pem(self, kid: str = "k1") -> bytes:
        """What somebody may take for a shared secret."""
        return self.keys[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
