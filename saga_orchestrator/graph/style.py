"""Colours, and the glyphs that the SVG draws.

The hues are told apart by the colour-blind (bluish green, vermilion, amber,
blue) and hold 4.5:1 against their ground, in light and in dark. Glyphs are paths,
for no font is sure to have them, and some draw them as emoji.

Colours are written out rather than as custom properties, which renderers other
than browsers do not know.
"""

from __future__ import annotations

from typing import NamedTuple


class _Scheme(NamedTuple):
    """Colours: of the sheet, and per kind of state its line and its ground."""

    sheet: str
    frame: str
    text: str
    faint: str
    edge: str
    kinds: dict[str, tuple[str, str]]


LIGHT = _Scheme(
    sheet="#ffffff",
    frame="#d0d7de",
    text="#1f2328",
    faint="#57606a",
    edge="#6e7781",
    kinds={
        "plain": ("#57606a", "#f6f8fa"),
        "pending": ("#6e7781", "#ffffff"),
        "started": ("#0066ad", "#e3f0fb"),
        "completed": ("#00735c", "#e2f4ee"),
        "failed": ("#b3361b", "#fce9e3"),
        "skipped": ("#57606a", "#f6f8fa"),
        "compensating": ("#8a5a00", "#fcf2da"),
        "compensated": ("#8a5a00", "#fcf2da"),
        "gave_up": ("#b3361b", "#fce9e3"),
        "idle": ("#6e7781", "#ffffff"),
    },
)
_DARK = _Scheme(
    sheet="#0d1117",
    frame="#30363d",
    text="#e6edf3",
    faint="#9198a1",
    edge="#848d97",
    kinds={
        "plain": ("#9198a1", "#161b22"),
        "pending": ("#848d97", "#0d1117"),
        "started": ("#6cb6ff", "#0f2438"),
        "completed": ("#3fc9a5", "#0d2822"),
        "failed": ("#ff8f70", "#341a13"),
        "skipped": ("#848d97", "#161b22"),
        "compensating": ("#e3b341", "#2b2210"),
        "compensated": ("#e3b341", "#2b2210"),
        "gave_up": ("#ff8f70", "#341a13"),
        "idle": ("#848d97", "#0d1117"),
    },
)

_SHAPES = """\
.saga text { font-family: ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", \
Arial, "DejaVu Sans", sans-serif; font-size: 12px; }
.saga .code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, \
"DejaVu Sans Mono", monospace; font-size: 11px; }
.saga .name { font-size: 13px; font-weight: 600; }
.saga .head { font-size: 17px; font-weight: 600; }
.saga .tag { font-size: 11px; font-weight: 600; }
.saga .mid { text-anchor: middle; }
.saga .end { text-anchor: end; }
.saga .box { stroke-width: 1.5; }
.saga .pending .box, .saga .skipped .box { stroke-width: 1; }
.saga .undo .box { stroke-width: 1.25; stroke-dasharray: 5 3; }
.saga .edge, .saga .back, .saga .link { fill: none; stroke-width: 1.5; }
.saga .back { stroke-dasharray: 5 3; }
.saga .link { stroke-dasharray: 1 3; stroke-linecap: round; }
.saga .unused { opacity: .5; }
.saga .mark path { fill: none; stroke-width: 1.8; stroke-linecap: round; \
stroke-linejoin: round; }
"""


def stylesheet() -> str:
    """Return the style of every picture; it touches nothing outside of it."""
    dark = _colours(_DARK).replace("\n", "\n  ").rstrip()
    return (
        f"{_SHAPES}{_colours(LIGHT)}"
        f"@media (prefers-color-scheme: dark) {{\n  {dark}\n}}\n"
    )


def _colours(scheme: _Scheme) -> str:
    back, _ = scheme.kinds["compensated"]
    rules = [
        f".sheet {{ fill: {scheme.sheet}; stroke: {scheme.frame}; }}",
        f"text {{ fill: {scheme.text}; }}",
        f"text.faint {{ fill: {scheme.faint}; }}",
        f".edge, .saga .link {{ stroke: {scheme.edge}; }}",
        f".edge.tip {{ fill: {scheme.edge}; stroke: none; }}",
        f".back {{ stroke: {back}; }}",
        f".back.tip {{ fill: {back}; stroke: none; }}",
    ]
    for kind, (line, ground) in scheme.kinds.items():
        rules += [
            f".{kind} .box {{ fill: {ground}; stroke: {line}; }}",
            f".{kind} .word {{ fill: {line}; }}",
            f".{kind} .disc {{ fill: {line}; stroke: {line}; }}",
            f".{kind} .mark path {{ stroke: {scheme.sheet}; }}",
            f".{kind} .tag {{ fill: {scheme.sheet}; }}",
        ]
    rules.append(f".pending .mark .disc {{ fill: {scheme.sheet}; }}")
    return "".join(f".saga {rule}\n" for rule in rules)


_TURN = "M-3.6 -1H1.2A2.3 2.3 0 0 1 1.2 3.6H-1.4M-1.2 -3.6L-3.8 -1L-1.2 1.6"
_ROUND = "M-3.4 -1.6A3.8 3.8 0 1 1 -3.5 1.6M-4 -4.2V-1.4H-1.2"

GLYPHS = {
    "plain": "",
    "pending": "",
    "started": "M-1.6 -3L2.8 0L-1.6 3Z",
    "completed": "M-3.4 .3L-1 2.8L3.5 -2.5",
    "failed": "M-2.7 -2.7L2.7 2.7M2.7 -2.7L-2.7 2.7",
    "skipped": "M-3.4 -2.8L-.6 0L-3.4 2.8M.4 -2.8L3.2 0L.4 2.8",
    "compensating": _ROUND,
    "compensated": _TURN,
    "gave_up": "M0 -4V.8M0 3.6V3.7",
    "idle": "M-3 0H3",
}
"""Paths about (0, 0), for a disc of radius 8."""
