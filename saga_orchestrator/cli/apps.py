"""What a user named on the command line: definitions and handlers of theirs.

A reference is ``MODULE:ATTR``, or ``MODULE`` for all that the module has.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.errors import ConfigurationError, SagaError
from saga_orchestrator.participant.handlers import Handlers


@dataclass(frozen=True, slots=True)
class Loaded:
    """What references stand for.

    Attributes:
        definitions: each with the words that start it, as ``shop:order``.
        services: the handlers.
    """

    definitions: list[tuple[str, SagaDefinition]] = field(default_factory=list)
    services: list[Handlers] = field(default_factory=list)

    @property
    def sagas(self) -> list[SagaDefinition]:
        """The definitions alone."""
        return [definition for _, definition in self.definitions]


def load(references: Sequence[str], app_dir: Path) -> Loaded:
    """Import what the references name.

    Args:
        references: what is named twice counts once.
        app_dir: put first on the import path.

    Raises:
        ConfigurationError: nothing of that name, or its module cannot be
            imported; says what was searched, or where it broke.
    """
    loaded = Loaded()
    for reference in references:
        for name in _expanded(reference, app_dir):
            definitions, services = _objects(name, app_dir)
            for definition in definitions:
                if definition not in loaded.sagas:
                    words = (
                        name if len(definitions) == 1 else _by_name(definition, name)
                    )
                    loaded.definitions.append((words, definition))
            for service in services:
                if service not in loaded.services:
                    loaded.services.append(service)
    return loaded


def definition_named(
    target: str, modules: Sequence[str], app_dir: Path
) -> SagaDefinition:
    """Return the definition that ``saga start`` was asked for.

    Args:
        target: ``MODULE:ATTR``; ``MODULE`` where it has exactly one; or a
            definition's name.
        modules: where to look for the name.
        app_dir: put first on the import path.

    Raises:
        ConfigurationError: it cannot be found, or is not one; says the fix.
    """
    if ":" in target:
        found = load([target], app_dir).sagas
        if len(found) != 1:
            raise ConfigurationError(
                f"{target}: has {len(found)} saga definitions; name one"
            )
        return found[0]
    if not modules:
        return _only_one_of(target, app_dir)
    known = {saga.name: saga for saga in load(modules, app_dir).sagas}
    if target not in known:
        raise ConfigurationError(
            f"saga {target!r}: not defined in {', '.join(modules)}; "
            f"found there: {', '.join(sorted(known)) or 'no definitions'}"
        )
    return known[target]


def _only_one_of(module: str, app_dir: Path) -> SagaDefinition:
    """Return the definition of a module that was named without an attribute."""
    if not module.endswith(".py") and not _is_module(module, app_dir):
        raise ConfigurationError(
            f"{module}: no saga and no module has this name; write MODULE:ATTR, as "
            "handlers.orders:order, or add --app MODULE"
        )
    found = load([module], app_dir).definitions
    if not found:
        raise ConfigurationError(f"{module}: has no saga definitions")
    if len(found) > 1:
        names = [words.partition(":")[2] or saga.name for words, saga in found]
        raise ConfigurationError(
            f"{module} has: {', '.join(names)}; write {found[0][0]}"
        )
    return found[0][1]


def _by_name(definition: SagaDefinition, reference: str) -> str:
    return f"{definition.name} --app {reference.partition(':')[0]}"


def _expanded(reference: str, app_dir: Path) -> list[str]:
    """Return ``MODULE:ATTR`` for everything in a module that was named alone."""
    if ":" in reference:
        return [reference]
    module = _imported(reference, app_dir)
    found = [
        f"{reference}:{name}" for name, value in vars(module).items() if _is_ours(value)
    ]
    if not found:
        raise ConfigurationError(f"{reference}: has no definitions and no handlers")
    return found


def _is_ours(value: object) -> bool:
    items = value if isinstance(value, list | tuple) else (value,)
    return bool(items) and all(
        isinstance(item, SagaDefinition | Handlers) for item in items
    )


def _imported(module: str, app_dir: Path) -> ModuleType:
    if module.endswith(".py"):
        raise ConfigurationError(
            f"{module}: is a file's name; drop .py: {_module_of(Path(module))}"
        )
    if not _is_module(module, app_dir):
        raise ConfigurationError(
            f"{module}: there is no such module in {app_dir.resolve()} or on the "
            "import path; run from its folder or pass --app-dir"
        )
    with _told(module):
        return importlib.import_module(module)


def _is_module(name: str, app_dir: Path) -> bool:
    """Tell whether there is a module of that name; imports the packages above it."""
    folder = str(app_dir.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not all(map(str.isidentifier, name.split("."))):
        return False
    with _told(name):
        try:
            return find_spec(name) is not None
        except ModuleNotFoundError as error:
            if f"{name}.".startswith(f"{error.name}."):
                return False  # else a package above it imports what is not there
            raise


def _module_of(file: Path) -> str:
    """Return how a file is named as a module, from the folder that it is told from."""
    parts = file.with_suffix("").parts
    return ".".join(parts) if all(map(str.isidentifier, parts)) else file.stem


def _objects(
    reference: str, app_dir: Path
) -> tuple[list[SagaDefinition], list[Handlers]]:
    """Return what ``MODULE:ATTR`` names, sorted by kind."""
    found = _attribute(reference, app_dir)
    definitions: list[SagaDefinition] = []
    services: list[Handlers] = []
    for item in found if isinstance(found, list | tuple) else (found,):
        if isinstance(item, SagaDefinition):
            definitions.append(item)
        elif isinstance(item, Handlers):
            services.append(item)
        else:
            raise ConfigurationError(
                f"{reference}: is of type {type(item).__name__}; "
                "name a SagaDefinition or Handlers"
            )
    return definitions, services


def _attribute(reference: str, app_dir: Path) -> object:
    name, _, attribute = reference.partition(":")
    if not name or not attribute:
        raise ConfigurationError(
            f"{reference!r}: write MODULE:ATTR, as handlers.orders:order"
        )
    module = _imported(name, app_dir)
    if not hasattr(module, attribute):
        known = ", ".join(key for key, value in vars(module).items() if _is_ours(value))
        raise ConfigurationError(
            f"{reference}: module {name!r} has no {attribute!r}; "
            f"it has {known or 'no definitions or handlers'}"
        )
    return getattr(module, attribute)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell a fault in the user's module from one of ours: name file and line."""
    try:
        yield
    except SagaError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigurationError(
            f"{what}: importing it failed at {where.filename}:{where.lineno}: "
            f"{type(error).__name__}: {error}"
        ) from error
