"""A flame graph as a small SVG without a script: frames narrower than a reader can see are left out."""

from collections.abc import Mapping
from html import escape

_WIDTH, _ROW, _NARROWEST, _LETTER = 1200.0, 16, 2.0, 6.2
_COLOURS = ("#f6c177", "#ee9a62", "#f2b25c", "#e98d54", "#f4a76b")

Stacks = Mapping[tuple[str, ...], float]


def svg(stacks: Stacks, title: str, unit: str) -> str:
    """Stacks, outermost frame first, with their weight in `unit`; a frame's tooltip has its whole name and weight."""
    total = sum(stacks.values()) or 1.0
    boxes: list[str] = []
    depth = _draw(dict(stacks), 0, 0.0, _WIDTH / total, unit, boxes)
    height = (depth + 1) * _ROW + 8
    size = f'viewBox="0 0 {_WIDTH:.0f} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="10">'
    return "\n".join([head, f'<text x="4" y="12" font-size="12">{escape(title)}</text>', *boxes, "</svg>"]) + "\n"


def _draw(stacks: dict[tuple[str, ...], float], depth: int, x: float, scale: float, unit: str, boxes: list[str]) -> int:
    """Draw the frames at a depth, side by side from x; returns the deepest row that was drawn."""
    children: dict[str, dict[tuple[str, ...], float]] = {}
    for stack, weight in stacks.items():
        if len(stack) > depth:
            children.setdefault(stack[depth], {})[stack] = weight
    deepest = depth
    for name in sorted(children):
        weight = sum(children[name].values())
        width = weight * scale
        if width >= _NARROWEST:
            y = (depth + 1) * _ROW + 4
            shown = escape(name[: max(0, int(width / _LETTER) - 1)])
            boxes.append(
                f'<g><title>{escape(name)}: {weight:.1f} {unit}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}"'
                f' height="{_ROW - 1}" fill="{_COLOURS[sum(map(ord, name)) % len(_COLOURS)]}"/>'
                f'<text x="{x + 2:.1f}" y="{y + 11}">{shown}</text></g>'
            )
            deepest = max(deepest, _draw(children[name], depth + 1, x, scale, unit, boxes))
        x += width
    return deepest
