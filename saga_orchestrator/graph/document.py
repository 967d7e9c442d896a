"""A picture for programs: what ``saga graph --json`` prints.

Fields are only ever added.
"""

from __future__ import annotations

from typing import Any

from saga_orchestrator.graph.picture import Node, Picture, Undo

Document = dict[str, Any]


def graph_document(picture: Picture) -> Document:
    """Return a picture as JSON.

    ``edges`` has every dependency; those that are not ``drawn`` follow from
    others.
    """
    layout = picture.layout
    names = [node.name for node in picture.nodes]
    ranks: list[list[str]] = [[] for _ in range(layout.rank_count)]
    for step in layout.in_order():
        ranks[layout.ranks[step]].append(names[step])
    drawn = set(layout.edges)
    return {
        "name": picture.name,
        "id": picture.saga_id or None,
        "state": picture.mark.word if picture.mark else None,
        "reason": picture.reason,
        "residuals": picture.residuals,
        "ranks": ranks,
        "lanes": layout.lane_count,
        "edges": [
            {
                "from": names[before],
                "to": names[step],
                "drawn": (before, step) in drawn,
            }
            for step, dependencies in enumerate(picture.depends_on)
            for before in dependencies
        ],
        "steps": [
            {
                "rank": layout.ranks[step],
                "lane": layout.lanes[step],
                **_node_document(node),
            }
            for step, node in enumerate(picture.nodes)
        ],
    }


def _node_document(node: Node) -> Document:
    status = node.status
    return {
        "name": node.name,
        "action": node.action or None,
        "pivot": node.pivot,
        "when": node.when or None,
        "state": status.state if status else None,
        "outcome": status.outcome if status else None,
        "phase": status.phase if status else None,
        "attempt": status.attempt if status else None,
        "order": node.order,
        "undo": _undo_document(node.undo) if node.undo else None,
    }


def _undo_document(undo: Undo) -> Document:
    return {
        "compensation": undo.name,
        "state": undo.mark.word or None,
        "order": undo.order,
    }
