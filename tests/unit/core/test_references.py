"""Paths into a saga's data."""

from __future__ import annotations

from typing import Any

import pytest

from saga_orchestrator.core.references import (
    MissingPathError,
    lookup,
    references_in,
    resolve,
    step_in,
)

_CONTEXT = {"a": {"b": [10, {"c": "deep"}]}, "none": None, "0": "zero"}
_OUTPUTS = {"create": {"id": 7}, "list": [1, 2]}


def _find(path: str) -> Any:
    return lookup(path, _CONTEXT, _OUTPUTS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("context.a.b.0", 10),
        ("context.a.b.1.c", "deep"),
        ("context.a", _CONTEXT["a"]),
        ("context.none", None),
        ("context.0", "zero"),
        ("outputs.create.id", 7),
        ("outputs.list.1", 2),
        ("outputs.create", {"id": 7}),
    ],
)
def test_lookup(path: str, value: Any) -> None:
    """A word is a key of a mapping or an index of a list."""
    assert lookup(path, _CONTEXT, _OUTPUTS) == value


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("context.x", "x"),
        ("context.a.b.2", "2"),
        ("context.a.b.-1", "-1"),
        ("context.none.x", "x"),
        ("context.a.b.1.c.0", "0"),
        ("outputs.pay", "pay"),
        ("outputs.create.id.x", "x"),
    ],
)
def test_missing_path(path: str, word: str) -> None:
    """The error names the path and the word where it ends."""
    with pytest.raises(MissingPathError, match=f"{path}.*{word}"):
        lookup(path, _CONTEXT, _OUTPUTS)


def test_resolve() -> None:
    """Each ``$ref`` is replaced, at any depth; everything else stays."""
    value = {
        "id": {"$ref": "outputs.create.id"},
        "rows": [{"$ref": "context.a.b.0"}, "$ref", {"x": ({"$ref": "context.0"},)}],
        "literal": {"$ref": "context.x", "and": "more"},
        "none": {"$ref": "context.none"},
    }
    assert resolve(value, _find) == {
        "id": 7,
        "rows": [10, "$ref", {"x": ["zero"]}],
        "literal": {"$ref": "context.x", "and": "more"},
        "none": None,
    }
    assert resolve({"$ref": "outputs.list"}, _find) == [1, 2]


def test_resolve_does_not_resolve_values() -> None:
    """Data that looks like a reference is data."""
    context = {"evil": {"$ref": "outputs.create.id"}}
    assert (
        resolve({"$ref": "context.evil"}, lambda path: lookup(path, context, _OUTPUTS))
        == context["evil"]
    )


def test_references_in() -> None:
    """Every path of an input is found; text and larger mappings are literals."""
    value = [{"$ref": "a"}, {"x": ({"$ref": "b"}, "$ref")}, {"$ref": "c", "y": 1}]
    assert list(references_in(value)) == ["a", "b"]
    assert list(references_in(None)) == []


def test_step_in() -> None:
    """Only ``outputs`` paths read a step."""
    assert step_in("outputs.create.id") == "create"
    assert step_in("outputs.create") == "create"
    assert step_in("context.create.id") is None
