"""Settings of tokens: who may sign in beside those who have a key."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Algorithm", "ClaimSettings", "IdentitySettings"]

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""What a token may be signed with: public keys only. A shared secret, or none, would let others make tokens."""


class ClaimSettings(BaseModel):
    """Where a token says what. A name with dots leads into nested objects, unless a claim is called just so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: tuple[str, ...] = Field(
        ("roles", "groups", "realm_access.roles"),
        description="Claims whose values identity.roles maps. Azure's names of roles are known without a mapping in "
        "claims that are called roles.",
    )
    subject: str = Field("sub", min_length=1, description="Claim that tells the issuer's users apart.")
    name: tuple[str, ...] = Field(
        ("preferred_username", "upn", "email", "azp", "appid"),
        description="Claims with a name to show; the first wins.",
    )


class IdentitySettings(BaseModel):
    """Tokens of an OpenID Connect issuer, beside keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field("", description="URL of the issuer whose tokens are taken; empty means that only keys are.")
    audience: tuple[str, ...] = Field(
        (), description="What tokens for this server say in aud: one of these. Must be set where issuer is."
    )
    roles: dict[str, str] = Field(
        {},
        description="Value of a claim -> what it grants: a role, ROLE@PROJECT, ROLE@* for all projects, or several "
        "with commas between them; '*' is for every token.",
    )
    project: str = Field("default", min_length=1, description="Project of roles that name none; '*' means all.")
    claims: ClaimSettings = Field(ClaimSettings(), description="Where a token says what.")  # pyright: ignore[reportCallIssue]
    other_issuers: tuple[str, ...] = Field(
        (),
        description="Other values of iss of the same issuer, such as https://sts.windows.net/TENANT/ for Entra's v1.",
    )
    tenants: tuple[str, ...] = Field(
        (), description="Ids of the tenants whose tokens are taken, where the issuer is Entra's for several."
    )
    algorithms: tuple[Algorithm, ...] = Field(
        get_args(Algorithm), min_length=1, description="What tokens may be signed with."
    )
    leeway_s: float = Field(60.0, ge=0, le=600, description="Seconds that the issuer's clock may differ from ours.")
    keys_url: str = Field("", description="Where the issuer's keys are; empty asks its discovery document.")
    keys_s: float = Field(600.0, ge=10, le=86_400, description="Seconds after which the issuer's keys are read again.")
    allow_http: bool = Field(
        False, description="Take keys over http from other machines too: whoever is between can make tokens."
    )

    client_id: str = Field(
        "",
        description="What the issuer calls these pages: people sign in there with a browser. Empty offers keys only.",
    )
    client_secret: str = Field("", description="Their secret at the issuer; empty if it gave none (a public client).")
    scopes: tuple[str, ...] = Field(
        ("openid", "profile", "email"), description="What the issuer is asked for when people sign in."
    )
    session_s: float = Field(
        43_200.0,
        ge=60,
        description="Seconds until whoever has signed in at the issuer must do so again: they have the roles of when "
        "they did.",
    )

    @model_validator(mode="after")
    def _an_issuer_has_an_audience(self) -> "IdentitySettings":
        if self.issuer and not self.audience:
            raise ValueError("audience is needed with issuer, or tokens for other services would be taken")
        if self.client_id and not self.issuer:
            raise ValueError("client_id is what an issuer calls these pages: set issuer too")
        return self
