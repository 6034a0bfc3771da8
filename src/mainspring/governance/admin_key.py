"""The key that an installation begins with: made at the first start, and kept in a file for whoever runs it."""

import os
import secrets
from pathlib import Path

from mainspring.core.errors import Unauthorized
from mainspring.governance.keys import Keys

__all__ = ["ADMIN_KEY_FILE", "admin_key_id", "ensure_admin_key"]

ADMIN_KEY_FILE = "admin.key"


async def ensure_admin_key(keys: Keys, home: Path) -> Path:
    """Make sure that some admin key works; if none does, make one and write it to `home/admin.key` (mode 0600).

    A file that was moved away is not written again while a key works: whoever holds it decided so. The file is written
    before the row, so a crash between the two leaves no key that nobody knows.
    """
    path = home / ADMIN_KEY_FILE
    if await keys.admins():
        return path
    secret = f"ms-{secrets.token_urlsafe(32)}"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secret}\n")
    await keys.add_admin(secret)
    return path


async def admin_key_id(keys: Keys, home: Path) -> str:
    """The id of the key in that file, or of the newest one of an administrator's that works."""
    try:
        return (await keys.authenticate((home / ADMIN_KEY_FILE).read_text().strip())).id
    except (OSError, Unauthorized):
        return max(await keys.admins(), key=lambda key: key.created).id
