"""What goes wrong, as problem documents (RFC 9457).

Every error of the API is ``application/problem+json`` with a stable ``type``, and
where a field is to blame ``errors`` names it and the fix. ``KINDS`` is the whole
catalogue; ``docs/http.md`` repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from saga_orchestrator.errors import (
    ApiKeyNotFoundError,
    DefinitionError,
    ForgedReplyError,
    KeyConflict,
    NewerDataError,
    NotAwaitedError,
    PayloadError,
    SagaError,
    SagaNotFoundError,
    StaleVersionError,
    StoreDataError,
    StoreError,
    TransitionRefused,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:saga-orchestrator:problem:"
TEXT_CHARS_MAX = 600
RETRY_SECONDS = 1
"""When to try again where nobody knows better."""

KINDS: dict[str, tuple[int, str]] = {
    "malformed-body": (400, "The body cannot be read"),
    "unauthorized": (401, "A good API key is needed"),
    "forbidden": (403, "The API key is not good for this"),
    "forged-token": (403, "The token was not issued for this step"),
    "not-found": (404, "There is nothing here"),
    "saga-not-found": (404, "There is no such saga"),
    "definition-not-found": (404, "There is no such definition"),
    "key-not-found": (404, "There is no such API key"),
    "method-not-allowed": (405, "This cannot be asked here"),
    "not-acceptable": (406, "There is no such form of it"),
    "too-slow": (408, "The body did not arrive in time"),
    "refused": (409, "The saga's state does not allow it"),
    "not-awaited": (409, "Nobody waits for this answer"),
    "stale-version": (412, "The saga has gone on since"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "misdirected": (421, "This is another host"),
    "invalid-request": (422, "The request is not valid"),
    "key-conflict": (422, "The idempotency key belongs to another request"),
    "too-many-requests": (429, "Too many requests"),
    "internal-error": (500, "A defect of ours"),
    "unreadable": (500, "The saga cannot be read"),
    "unavailable": (503, "The store cannot be reached"),
    "busy": (503, "Too many wait at the same time"),
    "search-too-long": (503, "The search took too long"),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with a request.

    Attributes:
        field: where, as ``body.context.sku``, ``query.limit``, ``header.If-Match``.
        detail: what, and the fix.
    """

    field: str
    detail: str


@dataclass(eq=False)
class Problem(Exception):
    """Raised anywhere below a route; becomes the response.

    Attributes:
        kind: one of ``KINDS``.
        detail: of this occurrence, for people.
        errors: the fields to blame.
        headers: of the response.
        extra: more members of the document.
    """

    kind: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def document(self) -> dict[str, Any]:
        """Return the body of the response."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.kind,
            "title": KINDS[self.kind][1],
            "status": self.status,
            "detail": _bounded(self.detail),
            **self.extra,
        }
        if self.errors:
            document["errors"] = [
                {"field": _bounded(one.field), "detail": _bounded(one.detail)}
                for one in self.errors
            ]
        return document

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(
            self.document(),
            status_code=self.status,
            headers=dict(self.headers),
            media_type=MEDIA_TYPE,
        )


def _bounded(text: str) -> str:
    """Return a text that repeats what a client sent: short, and fit for JSON."""
    return text[:TEXT_CHARS_MAX].encode(errors="replace").decode()


def invalid(field: str, detail: str) -> Problem:
    """Return the problem of one field of a request."""
    return Problem("invalid-request", f"{field}: {detail}", [FieldError(field, detail)])


def problem_of(error: SagaError) -> Problem:
    """Return what an error of ours is for a client."""
    for kind, translate in _OF_ERROR:
        if isinstance(error, kind):
            return translate(error)
    return Problem("internal-error", "see the server's log")


def _of_payload(error: PayloadError) -> Problem:
    if error.path == "key":
        return invalid("header.Idempotency-Key", error.problem)
    return invalid(f"body.{error.path}", error.problem)


def _of_conflict(error: KeyConflict) -> Problem:
    detail = (
        f"belongs to saga {error.saga_id}, which was started with another body; use "
        "another key, or the same body"
    )
    return Problem(
        "key-conflict",
        str(error),
        [FieldError("header.Idempotency-Key", detail)],
        extra={"saga_id": error.saga_id},
    )


def _of_stale(error: StaleVersionError) -> Problem:
    detail = f"the saga is at version {error.version}; read it again, then decide"
    return Problem(
        "stale-version",
        str(error),
        [FieldError("header.If-Match", detail)],
        extra={"version": error.version},
    )


def _of_forged(error: ForgedReplyError) -> Problem:
    fix = "pass the completion_token of the run, with its saga and step"
    return Problem("forged-token", str(error), [FieldError("body.token", fix)])


def _of_not_awaited(error: NotAwaitedError) -> Problem:
    extra = {"state": error.state, "residual": error.residual}
    wrong = FieldError("body.token", f"its run is over: {error.problem}")
    return Problem("not-awaited", str(error), [wrong], extra=extra)


def _of_newer(error: NewerDataError) -> Problem:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem("unavailable", f"{error}; ask a replica of it", headers=headers)


def _of_store(error: StoreError) -> Problem:
    if not error.retryable:
        return Problem("internal-error", "see the server's log")
    return Problem(
        "unavailable",
        "the store does not answer; try again, with an Idempotency-Key it is safe",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


# The first match counts, so the special comes before the general.
_OF_ERROR: tuple[tuple[type[SagaError], Callable[[Any], Problem]], ...] = (
    (PayloadError, _of_payload),
    (KeyConflict, _of_conflict),
    (StaleVersionError, _of_stale),
    (ForgedReplyError, _of_forged),
    (NotAwaitedError, _of_not_awaited),
    (SagaNotFoundError, lambda error: Problem("saga-not-found", str(error))),
    (ApiKeyNotFoundError, lambda error: Problem("key-not-found", str(error))),
    (
        TransitionRefused,
        lambda error: Problem("refused", str(error), extra={"state": error.state}),
    ),
    (DefinitionError, lambda error: invalid("body.name", str(error))),
    (NewerDataError, _of_newer),
    (StoreDataError, lambda error: Problem("unreadable", str(error))),
    (StoreError, _of_store),
)
