import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import Grant
from mainspring.governance.roles import AZURE_NAMES, ROLES, allows, azure_role, grants_from, role_named

TEXT = st.text(st.sampled_from("abu@*,. ser"), max_size=30)


@pytest.mark.parametrize(
    ("text", "grants"),
    [
        ("user", [("user", "here")]),
        ("admin", [("admin", "*")]),
        ("admin@*", [("admin", "*")]),
        (" user@a , manager @ b ", [("user", "a"), ("manager", "b")]),
        ("reader@*,reader@*", [("reader", "*")]),
        ("Cognitive Services OpenAI User@a", [("user", "a")]),
    ],
)
def test_grants_in_settings(text: str, grants: list[tuple[str, str]]) -> None:
    assert grants_from(text, "here") == tuple(Grant(*each) for each in grants)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "god", "user@", "user@ ,admin", "admin@a", "user,,user", "User"])
def test_what_is_no_grant_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        grants_from(text, "here")


@given(TEXT)
def test_a_grant_is_of_a_role_and_a_project(text: str) -> None:
    try:
        found = grants_from(text, "here")
    except ValueError:
        return
    assert found
    assert all(grant.role in ROLES and grant.project for grant in found)


def test_azure_s_names() -> None:
    for role, (name, guid) in AZURE_NAMES.items():
        for each in (name, name.upper(), guid, f"/providers/Microsoft.Authorization/roleDefinitions/{guid}"):
            assert azure_role(each) == role_named(each) == role
        assert azure_role(role) is None
        assert role_named(role) == role
        assert azure_role(f"/groups/{name}") is None
    for other in ("Owner", "Contributor", "Reader", "", "/roleDefinitions/"):
        assert azure_role(other) is None


def test_the_roles_add_up() -> None:
    assert allows(("reader", "user"), "inference")
    assert not allows(("reader", "manager"), "inference")
    assert not allows((), "models.read")
