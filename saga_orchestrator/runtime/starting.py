"""Starting a saga: which plan, which body, and whether both are in order."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from saga_orchestrator.core.definition import SagaDefinition, Step
from saga_orchestrator.core.events import SagaStarted
from saga_orchestrator.core.ids import KEY_CHARS_MAX, SagaId
from saga_orchestrator.core.payload import encode, normalise
from saga_orchestrator.core.plan import Plan, compile_plan
from saga_orchestrator.errors import ConfigurationError, DefinitionError, PayloadError
from saga_orchestrator.runtime.registry import Registry, checked_list

TEXT_CHARS_MAX = 500
_canonical = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":")
).encode
PLANS_MAX = 200
"""Definitions whose plans are kept; one that is made anew each time is not."""


class Catalogue:
    """The definitions a process can start by name, compiled once each."""

    def __init__(
        self, registry: Registry, definitions: Iterable[SagaDefinition]
    ) -> None:
        """Check the definitions against the handlers.

        Raises:
            ConfigurationError: two different ones have one name, or a handler
                cannot serve its step as declared.
            HandlerNotFoundError: a handler of this process is missing.
        """
        self._registry = registry
        self._named: dict[str, SagaDefinition] = {}
        self._plans: OrderedDict[int, tuple[SagaDefinition, Plan]] = OrderedDict()
        for definition in checked_list("definitions", definitions, SagaDefinition):
            known = self._named.setdefault(definition.name, definition)
            if known != definition:
                raise ConfigurationError(
                    f"definitions: two have the name {definition.name!r}; rename one"
                )
            self._compile(definition, keep=True)

    @property
    def named(self) -> dict[str, SagaDefinition]:
        """The definitions by their names."""
        return dict(self._named)

    def plan_of(
        self, definition: SagaDefinition | str, steps: Iterable[Step] | None
    ) -> Plan:
        """Return the plan for what ``Manager.start`` was given.

        Raises:
            DefinitionError: no such name, or the steps make no saga.
            HandlerNotFoundError: a handler of this process is missing.
        """
        kind: object = definition
        if not isinstance(kind, SagaDefinition | str):
            raise DefinitionError(
                f"start: a {type(kind).__name__} is no saga; pass a SagaDefinition, or "
                "a name"
            )
        if isinstance(definition, str):
            if steps is None:
                definition = self._by_name(definition)
            else:
                definition = SagaDefinition(definition, steps=steps)
        elif steps is not None:
            raise DefinitionError(
                f"start: saga {definition.name!r} has its own steps; "
                "pass a name to start ad-hoc steps"
            )
        known = self._plans.get(id(definition))
        if known is not None and known[0] is definition:
            return known[1]
        return self._compile(definition, keep=steps is None)

    def _by_name(self, name: str) -> SagaDefinition:
        if name not in self._named:
            known = ", ".join(sorted(self._named)) or "none"
            raise DefinitionError(
                f"start: no definition {name!r} was given to open; known: {known}"
            )
        return self._named[name]

    def _compile(self, definition: SagaDefinition, *, keep: bool) -> Plan:
        self._registry.check(definition)
        plan = compile_plan(definition)
        if keep:
            # The definition is kept with it, so that its id stays its own.
            self._plans[id(definition)] = (definition, plan)
            while len(self._plans) > PLANS_MAX:
                self._plans.popitem(last=False)
        return plan


def saga_started(
    saga_id: SagaId,
    plan: Plan,
    context: object,
    key: object,
    *,
    ad_hoc: bool,
    traceparent: str = "",
) -> SagaStarted:
    """Return the event of a start, its body checked.

    Args:
        saga_id: the id it gets, unless its key is taken.
        plan: what it runs.
        context: JSON data.
        key: its idempotency key, or None.
        ad_hoc: its steps are part of the body that a key stands for. Those of a
            named definition are not: a caller that repeats its start after a
            deployment must find its saga.
        traceparent: the trace that it belongs to; empty: none.

    Raises:
        PayloadError: names the field and the fix.
    """
    checked = _checked_context(context)
    body = [plan.definition.name, plan.digest if ad_hoc else "", checked]
    text = _canonical(body)
    return SagaStarted(
        saga_id=saga_id,
        plan=plan,
        context=checked,
        key=_checked_key(key),
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        traceparent=traceparent,
    )


def checked_text(text: object, field: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return a text that a store can keep.

    Raises:
        PayloadError: names the field and the fix.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > chars_max:
        raise PayloadError(field, f"must be 1 to {chars_max} characters of text")
    encode(text, field)
    return text


def _checked_context(context: object) -> dict[str, Any]:
    if not isinstance(context, Mapping):
        kind = type(context).__name__
        raise PayloadError(
            "context",
            f"must be a mapping, it is of type {kind}; of a pydantic model pass "
            "model_dump(mode='json')",
        )
    checked: dict[str, Any] = normalise(context, "context")
    return checked


def _checked_key(key: object) -> str | None:
    return None if key is None else checked_text(key, "key", KEY_CHARS_MAX)
