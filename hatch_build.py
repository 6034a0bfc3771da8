"""What hatchling does before it packs a wheel or the sources: builds the pages, so that both have them.

An editable installation is served from the clone, where `scripts/pages` builds them; and sources that were packed with
pages have them already. Where they cannot be built the rest is packed: the server then says how to get them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesHook(BuildHookInterface):  # pyright: ignore[reportMissingTypeArgument] - of hatchling's own configuration
    """Runs `scripts/pages`. MAINSPRING_PAGES=no leaves it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's
        """See `BuildHookInterface`."""
        root = Path(self.root)
        if version == "editable" or os.environ.get("MAINSPRING_PAGES") == "no" or not (root / "web").is_dir():
            return
        if (bash := shutil.which("bash")) is None:
            self.app.display_warning("The pages are not built: there is no bash.")
            return
        done = subprocess.run(  # noqa: S603 - of ours
            [bash, "scripts/pages"], cwd=root, env={"PYTHON": sys.executable, **os.environ}, check=False
        )
        if done.returncode:
            self.app.display_warning("The pages are not built: what is packed serves the API without them.")
