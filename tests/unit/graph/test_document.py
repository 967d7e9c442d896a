"""The picture for programs."""

from __future__ import annotations

import json

from saga_orchestrator.graph import graph_document
from tests.support.sagas import SAGA_ID, step
from tests.unit.graph.situations import compensated, drawn, of_run


def test_a_definition() -> None:
    """Every dependency is an edge; what follows from others is told apart."""
    document = graph_document(
        drawn(
            step("a"),
            step("b", depends_on=["a"]),
            step("c", depends_on=["a", "b"], compensation="", pivot=True),
        )
    )
    assert document["ranks"] == [["a"], ["b"], ["c"]]
    assert document["lanes"] == 1
    assert document["edges"] == [
        {"from": "a", "to": "b", "drawn": True},
        {"from": "a", "to": "c", "drawn": False},
        {"from": "b", "to": "c", "drawn": True},
    ]
    assert (document["id"], document["state"]) == (None, None)
    last = document["steps"][2]
    assert (last["rank"], last["lane"], last["pivot"]) == (2, 0, True)
    assert last["undo"] is None
    assert document["steps"][0]["undo"] == {
        "compensation": "undo.a",
        "state": None,
        "order": None,
    }


def test_a_saga() -> None:
    """States, outcomes and the order of what happened, as JSON can hold them."""
    document = json.loads(json.dumps(graph_document(of_run(compensated()))))
    assert (document["id"], document["state"]) == (SAGA_ID, "compensated")
    assert document["reason"] == "step c: Declined: no"
    first, _, third, _ = document["steps"]
    assert (first["state"], first["outcome"]) == ("compensated", "succeeded")
    assert (first["order"], first["undo"]["order"]) == (1, 5)
    assert (third["outcome"], third["undo"]["state"]) == ("refused", "not needed")
