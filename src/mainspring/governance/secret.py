"""The secret of an installation, which what it hands out and can show again is derived from."""

import os
import secrets
from pathlib import Path

from mainspring.core.errors import MainspringError

__all__ = ["installation_secret"]

SECRET_FILE = "secret"  # noqa: S105 - a file's name


def installation_secret(home: Path, configured: str = "") -> bytes:
    """What keys are derived from: what the settings say, or a file of random bytes that is made once.

    Raises:
        MainspringError: the file cannot be read or made.
    """
    if configured:
        return configured.encode()
    path = home / SECRET_FILE
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    except OSError as error:
        raise MainspringError("The data directory's secret cannot be written: is the disk full?") from error
    return path.read_bytes().strip()
