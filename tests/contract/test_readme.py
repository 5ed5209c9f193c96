"""The README's table of settings is the settings."""

from __future__ import annotations

from pathlib import Path

from pydantic_core import PydanticUndefined

from services.common.settings import Settings

README = Path(__file__).parent.parent.parent / "README.md"


def table() -> str:
    """Every setting with its default and meaning, as Markdown."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert default is not PydanticUndefined
        shown = "" if default is None else f"`{default}`"
        rows.append(f"| `EBBTIDE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    text = README.read_text()
    start = text.index("-->\n", text.index("<!-- settings")) + len("-->\n")
    assert text[start : text.index("\n<!-- end of settings")] == table()
