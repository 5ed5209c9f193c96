"""Elements of a drawing, and the figure that a chart stands in. Everything that comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup, escape
from msgspec import Struct

WIDE: Final = 680.0
NARROW: Final = 320.0
TEXT: Final = 12.0
"""Size of all text in a drawing, in its own units: a drawing is shown at its own size or a little under."""

_NARROW: Final = frozenset("ijl.,:;'|!()[] ")
_SLIM: Final = frozenset("frt-·I")
_BROAD: Final = frozenset("mwMW@%&→≤≥")

type Attribute = str | float | None


def tag(name: str, *children: str | Markup, **attributes: Attribute) -> Markup:
    """An element. An attribute's underscores are hyphens, and one at its end is left out (`class_`); None leaves it out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")  # attributes and children are escaped above


def joined(parts: Iterable[Markup]) -> Markup:
    """Elements one after another."""
    return Markup("").join(parts)


def text(x: float, y: float, said: str, *, at: str = "start", look: str = "") -> Markup:
    """Text with its baseline at `y`; `at` is what of it stands at `x`: start, middle or end."""
    return tag("text", said, x=x, y=y, text_anchor=None if at == "start" else at, class_=look or None)


def rect(x: float, y: float, width: float, height: float, look: str, **more: Attribute) -> Markup:
    """A rectangle; a negative width or height is none."""
    return tag("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=look, **more)


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=look)


def width_of(said: str, *, bold: bool = False) -> float:
    """About how wide a text is in the broadest of usual system fonts: no font is measured here."""
    return sum(map(_em, said)) * TEXT * (1.12 if bold else 1.0)


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.36
    if letter in _SLIM:
        return 0.43
    if letter in _BROAD:
        return 0.96
    return 0.72 if letter.isupper() else 0.64


def shortened(said: str, room: float) -> str:
    """A text that fits into so much room, with an ellipsis where it was cut."""
    if width_of(said) <= room:
        return said
    while said and width_of(said + "…") > room:
        said = said[:-1]
    return said.rstrip() + "…"


class Drawing(Struct):
    """One SVG: its size, and what is in it. `readable`: it holds marks with `data-says` that keys step through."""

    width: float
    height: float
    content: Markup
    readable: bool = False


class Table(Struct):
    """A chart's values as rows of text. The first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def figure(
    key: str, title: str, description: str, drawings: Sequence[Drawing], table: Table, *, caption: str | None = None
) -> Markup:
    """A chart: its drawings (wide and narrow, or one for both), its caption and its table.

    `key` is unique on the page and holds letters, digits and hyphens only.
    """
    kinds = ("wide", "narrow") if len(drawings) > 1 else ("any",)
    shown = [_svg(f"{key}-{kind}", kind, title, description, d) for kind, d in zip(kinds, drawings, strict=True)]
    readable = any(drawing.readable for drawing in drawings)
    reading = (
        tag("output", "Select the chart; arrow keys read its values.", class_="chart-says", aria_live="polite")
        if readable
        else ""
    )
    return tag(
        "figure",
        tag("figcaption", caption) if caption else "",
        joined(shown),
        reading,
        tag("details", tag("summary", "Values as a table"), data_table(title, table), class_="chart-table"),
        class_="chart",
    )


def data_table(title: str, table: Table) -> Markup:
    """The table by itself, in a box that scrolls."""
    head = tag("tr", *(tag("th", name, scope="col") for name in table.columns))
    rows = [
        tag("tr", *(tag("th", cell, scope="row") if n == 0 else tag("td", cell) for n, cell in enumerate(row)))
        for row in table.rows
    ]
    caption = tag("caption", title, class_="hidden")
    body = tag("table", caption, tag("thead", head), tag("tbody", *rows))
    return tag("div", body, class_="scrolls", tabindex="0", role="region", aria_label=f"{title}: values")


def _svg(key: str, kind: str, title: str, description: str, drawing: Drawing) -> Markup:
    return tag(
        "svg",
        tag("title", title, id=f"{key}-t"),
        tag("desc", description, id=f"{key}-d"),
        drawing.content,
        class_=f"drawing {kind}",
        viewBox=f"0 0 {_attribute(drawing.width)} {_attribute(drawing.height)}",
        width=drawing.width,
        height=drawing.height,
        role="img",
        aria_labelledby=f"{key}-t",
        aria_describedby=f"{key}-d",
        tabindex="0" if drawing.readable else None,
    )


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(float(value), 2):g}"


def hatch(key: str, look: str) -> Markup:
    """The definition of a hatched fill, used as `url(#key)`."""
    stripe = tag("path", d="M0 6 L6 0 M-1 1 L1 -1 M5 7 L7 5", class_=look)
    return tag("defs", tag("pattern", stripe, id=key, width=6.0, height=6.0, patternUnits="userSpaceOnUse"))
