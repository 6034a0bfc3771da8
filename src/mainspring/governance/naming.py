"""What projects are called: by programs, in paths and keys, and by people. Pure but for dice."""

import re
import secrets
from collections.abc import Container

from mainspring.core.errors import InvalidRequest

__all__ = ["check_title", "free_name", "project_name"]

_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def project_name(name: str) -> str:
    """A project's name as it is kept: in lower case. Raises InvalidRequest if it can be none."""
    if not _PROJECT.fullmatch(name.lower()):
        raise InvalidRequest("A project's name has 1 to 64 letters, digits, and - inside.", param="name")
    return name.lower()


def free_name(taken: Container[str], title: str) -> str:
    """A name that no project has, as like the title as a name can be."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower())[:64].strip("-")
    if name and name not in taken:
        return name
    return f"{name[:57].rstrip('-') or 'project'}-{secrets.token_hex(3)}"


def check_title(title: str) -> None:
    """Raise InvalidRequest unless people can call a project so."""
    if not 1 <= len(title) <= 256 or not title.isprintable() or title != title.strip():
        raise InvalidRequest("A project's name has 1 to 256 printable characters.", param="name")
