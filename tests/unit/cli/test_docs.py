from mainspring.core.config import settings_table
from scripts import docs


def test_no_page_has_drifted() -> None:
    assert docs.drifted() == [], "run `python scripts/docs.py`"


def test_every_command_and_every_setting_is_there() -> None:
    cli, configuration = (docs.pages()[docs.DOCS / name] for name in ("CLI.md", "CONFIGURATION.md"))
    for command in ("up", "chat", "complete", "doctor", "version", "models pull", "keys revoke"):
        assert f"## mainspring {command}\n" in cli
    assert "| `--port` | Port to listen on; 0 takes a free one. | 8080 |" in cli
    for key, *_ in settings_table():
        assert key == "home" or f"| `{key}` |" in configuration
