"""Results as HTML for notebooks: tables in the notebook's own colours, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_TABLE = "border-collapse:collapse;margin:.4em 0;font-variant-numeric:tabular-nums"
_CELL = "padding:.15em .8em .15em 0;border:0;background:none"


def escape(value: object) -> str:
    import html

    return html.escape(str(value))


def number(value: Any) -> str:
    """A value of a document as people read it; an absent one as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def bar(share: float) -> str:
    """A share from 0 to 1 as a bar, said in words to who does not see it."""
    width = max(0.0, min(1.0, share)) * 8
    return (
        f'<span role="img" aria-label="{100 * share:.0f} percent" style="display:inline-block;width:8em">'
        f'<span style="display:inline-block;height:.7em;width:{width:.2f}em;background:currentColor;opacity:.55"></span></span>'
    )


def table(rows: Iterable[Sequence[object]], titles: Sequence[str], caption: str = "") -> str:
    """Numbers to the right, text to the left; a cell that is already HTML is passed as ``Markup``."""
    lines = [f'<table style="{_TABLE}">']
    if caption:
        lines.append(f'<caption style="text-align:left;font-weight:600">{escape(caption)}</caption>')
    if any(titles):
        heads = "".join(f'<th scope="col" style="{_CELL};text-align:left">{escape(title)}</th>' for title in titles)
        lines.append(f"<thead><tr>{heads}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        cells = []
        for value in row:
            if isinstance(value, Markup):
                cells.append(f'<td style="{_CELL}">{value}</td>')
                continue
            side = "right" if isinstance(value, (int, float)) and not isinstance(value, bool) else "left"
            cells.append(f'<td style="{_CELL};text-align:{side}">{escape(number(value))}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</tbody></table>")
    return "".join(lines)


class Markup(str):
    """Text that is HTML already."""


def facts(pairs: Mapping[str, object], caption: str) -> str:
    return table(list(pairs.items()), ("", ""), caption)


def warnings(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""
