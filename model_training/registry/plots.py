"""The confusion matrix as SVG text: one plot is not worth a plotting package."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_INK = "#1f2937"
_FAINT = "#d1d5db"
_BLUE = "#2563eb"
_MAX_NAME = 24


def confusion_matrix(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Return the matrix as SVG: rows are true classes, columns predicted ones; opacity is the share of the row."""
    side = max(28, min(64, 640 // len(classes)))
    left, top = 190, 90
    width, height = left + side * len(classes) + 20, top + side * len(classes) + 30
    parts = [_text(left + side * len(classes) / 2, 24, "predicted class", anchor="middle", bold=True)]
    parts.append(_text(12, top - 16, "true class", bold=True))
    for row, (name, counts) in enumerate(zip(classes, matrix, strict=True)):
        y = top + row * side
        parts.append(_text(left - 8, y + side / 2 + 4, _short(name), anchor="end"))
        parts.append(_text(left + (row + 0.5) * side, top - 8, _short(name), turned=True))
        for column, count in enumerate(counts):
            share = count / (sum(counts) or 1)
            x = left + column * side
            title = f"{name} predicted as {classes[column]}: {count}"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{_BLUE}" fill-opacity="{share:.3f}"'
                f' stroke="{_FAINT}"><title>{_clean(title)}</title></rect>'
            )
            if count:
                colour = "#ffffff" if share > 0.5 else _INK
                parts.append(_text(x + side / 2, y + side / 2 + 4, str(count), anchor="middle", colour=colour))
    return _svg(width, height, "Confusion matrix of the held-out rows", parts)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" font-family="sans-serif" font-size="12" fill="{_INK}" role="img">\n'
        f'<title>{title}</title>\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    bold: bool = False,
    turned: bool = False,
    colour: str = _INK,
) -> str:
    turn = f' transform="rotate(-45 {x:.1f} {y:.1f})"' if turned else ""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}{turn}>{_clean(text)}</text>'


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _clean(text: str) -> str:
    """Return the text escaped; XML has no control characters and no lone surrogates, not even escaped."""
    return escape("".join(character if character.isprintable() else "?" for character in text))
