"""Pictures of definitions and of sagas: text, Mermaid and SVG.

Pure, and drawn by hand: no I/O and no drawing library. ``layout.py`` gives each
step a place, ``picture.py`` says what is known of it; ``text.py``, ``mermaid.py``
and ``svg.py`` draw that, ``document.py`` tells it to programs. The same input
gives the same bytes.
"""

from __future__ import annotations

from saga_orchestrator.graph.document import graph_document
from saga_orchestrator.graph.mermaid import draw_mermaid
from saga_orchestrator.graph.picture import Picture, picture_of_plan
from saga_orchestrator.graph.snapshot import picture_of_saga
from saga_orchestrator.graph.svg import draw_svg
from saga_orchestrator.graph.text import draw_text, in_ascii

__all__ = [
    "Picture",
    "draw_mermaid",
    "draw_svg",
    "draw_text",
    "graph_document",
    "in_ascii",
    "picture_of_plan",
    "picture_of_saga",
]
