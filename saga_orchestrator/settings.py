"""Settings: flag over ``SAGA_…`` environment over ``saga.toml`` over default.

A setting that may hold a password may also stand in a file that ``SAGA_…_FILE`` names.

Parsed once, frozen, unknown keys refused; the parts get plain values.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.durations import parse_duration, parse_positive
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.store import Keep
from saga_orchestrator.wire.topology import Topology

FILE = Path("saga.toml")
PREFIX = "SAGA_"
_SECRETS = ("store", "broker")
"""URLs that may have a password."""

_OTHERS = ("DEBUG", *(f"{name.upper()}_FILE" for name in _SECRETS))
"""Variables that the command itself reads; no settings."""

_NAMES = Topology()


def duration_text(duration: dt.timedelta) -> str:
    """Return a duration as it is written in the settings."""
    seconds = int(duration.total_seconds())
    for letter, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _checked_duration(value: object) -> dt.timedelta:
    if isinstance(value, dt.timedelta):
        return value
    return parse_positive(str(value))


Duration = Annotated[
    dt.timedelta,
    BeforeValidator(_checked_duration),
    PlainSerializer(duration_text),
]


class SecretFiles(PydanticBaseSettingsSource):
    """Settings that hold a password, from files: ``SAGA_STORE_FILE`` names one.

    So that the secret stands neither in the environment, which every child process
    and many a crash report has, nor on a command line.
    """

    def get_field_value(
        self,
        field: FieldInfo,
        field_name: str,
    ) -> tuple[Any, str, bool]:
        """Return what the file says, where one is named."""
        del field
        variable = secret_file_variable(field_name)
        path = os.environ.get(variable) if variable else None
        if not path:
            return None, field_name, False
        assert variable is not None, "a path was named"
        if os.environ.get(f"{PREFIX}{field_name.upper()}"):
            raise ConfigurationError(
                f"{field_name}: both {PREFIX}{field_name.upper()} and {variable} are "
                "set; unset one"
            )
        return _read_secret(Path(path), variable), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the settings that files give."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[name] = value
        return found


class Settings(BaseSettings):
    """What a process is run with.

    Attributes:
        store: the store's URL.
        broker: the broker's URL.
        processes: of `saga serve`, each with an engine.
        concurrency: handlers that run at a time, in each process.
        retention: for how long sagas are kept after their end, by the definition's
            name, and ``*`` for all others, as durations: ``30d``, or ``forever``. As
            one text ``30d, order_processing=7d``.
        events: who brings events to others: ``broker``, engines; ``cdc``, change
            data capture of the database.
        lifecycle_events: also tell others what becomes of sagas; the same in all
            processes.
        drain_seconds: how long a stopping process finishes what it has begun.
        log_level: from which level on log lines are written, to stderr.
        log_format: ``auto`` is for people on a terminal, else JSON.
        http: where the HTTP API listens, ``HOST:PORT``; empty: there is none.
        http_rate: requests a second of one API key, in each process.
        metrics: where a worker serves its metrics and probes, ``HOST:PORT``; empty:
            nowhere.
        stale_after: for how long a saga waits until it is stale: ``90s``, ``10m``,
            ``2h``, ``1d``.
        stale: the same for single definitions, by their names.
        exchange: the topic exchange of commands.
        steps_queue: the queue of actions, and the stem of the services' ones.
        compensate_queue: the same for compensations.
        replies_queue: answers of workers.
        undelivered_queue: what passed the broker's delivery limit.
        dead_queue: messages that can never be processed.
        events_exchange: the topic exchange of events for others.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    store: str = "sqlite:///saga.db"
    broker: str = "memory://"
    processes: int = Field(default=1, ge=1, le=64)
    concurrency: int = Field(default=64, ge=1, le=10_000)
    retention: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    events: Literal["broker", "cdc"] = "broker"
    lifecycle_events: bool = False
    drain_seconds: float = Field(default=25.0, ge=0, le=3600)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    http: str = ""
    http_rate: float = Field(default=200.0, ge=0.1, le=1_000_000)
    metrics: str = ""
    stale_after: Duration = dt.timedelta(minutes=10)
    stale: dict[str, Duration] = Field(default_factory=dict)
    exchange: str = _NAMES.exchange
    steps_queue: str = _NAMES.steps
    compensate_queue: str = _NAMES.compensate
    replies_queue: str = _NAMES.replies
    undelivered_queue: str = _NAMES.undelivered
    dead_queue: str = _NAMES.dead
    events_exchange: str = _NAMES.events

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, ``saga.toml``."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=FILE)
        return init_settings, env_settings, SecretFiles(settings_cls), toml

    @property
    def stale_thresholds(self) -> StaleAfter:
        """After how long sagas that wait are stale."""
        return StaleAfter(self.stale_after, self.stale)

    @field_validator("retention", mode="before")
    @classmethod
    def _read_retention(cls, value: object) -> object:
        """Take one text for a table, as flags and the environment have it."""
        if not isinstance(value, str):
            return value
        pairs = [item.rpartition("=") for item in value.split(",") if item.strip()]
        return {name.strip() or "*": age.strip() for name, _, age in pairs}

    @field_validator("retention")
    @classmethod
    def _check_retention(cls, value: dict[str, str]) -> dict[str, str]:
        for age in value.values():
            _age(age)
        return value

    @property
    def keep(self) -> Keep:
        """For how long sagas are kept."""
        ages = {name: _age(age) for name, age in self.retention.items()}
        return Keep(ages.pop("*", None), ages)

    @property
    def topology(self) -> Topology:
        """The names on the broker."""
        return Topology(
            exchange=self.exchange,
            steps=self.steps_queue,
            compensate=self.compensate_queue,
            replies=self.replies_queue,
            undelivered=self.undelivered_queue,
            dead=self.dead_queue,
            events=self.events_exchange,
        )


def secret_file_variable(name: str) -> str | None:
    """Return the variable that names a setting's file; None: it is no secret."""
    return f"{PREFIX}{name.upper()}_FILE" if name in _SECRETS else None


def _read_secret(path: Path, variable: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(
            f"{variable}: {path} cannot be read: {reason}"
        ) from error
    if not text or "\n" in text:
        raise ConfigurationError(f"{variable}: {path} must have one line, the URL")
    return text


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401 - checked by the model
    """Return the settings; flags that are None count as not given.

    Raises:
        ConfigurationError: names the setting, where it may be set, and the fix.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except TOMLDecodeError as error:
        raise ConfigurationError(f"{FILE}: is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(word) for word in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigurationError(_unknown(name)) from error
        raise ConfigurationError(
            f"{name}: {first['msg']}; set by a flag, by {PREFIX}{name.upper()} or in "
            f"{FILE}"
        ) from error


def misspelt_variables(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield environment variables that are nearly one of ours, and which.

    Those that are like none of ours may be somebody else's: Kubernetes sets
    ``SAGA_PORT`` and the like for a service of the name ``saga``.

    Args:
        names: of the variables that are set.
    """
    known = [*(name.upper() for name in Settings.model_fields), *_OTHERS]
    for name in sorted(names):
        prefix, stem = name[: len(PREFIX)].upper(), name[len(PREFIX) :].upper()
        if prefix != PREFIX or stem in known:
            continue
        # Compared without the prefix, which would make all of them look alike.
        if near := get_close_matches(stem, known, n=1):
            yield name, f"{PREFIX}{near[0]}"


def _unknown(name: str) -> str:
    """Return what to say of a key that is no setting; only the file can have one."""
    near = get_close_matches(name, Settings.model_fields, n=1)
    if near:
        return f"{FILE}: unknown setting {name!r}; did you mean {near[0]!r}?"
    known = ", ".join(Settings.model_fields)
    return f"{FILE}: unknown setting {name!r}; use one of {known}"


def _age(text: str) -> dt.timedelta | None:
    return None if text == "forever" else parse_duration(text)
