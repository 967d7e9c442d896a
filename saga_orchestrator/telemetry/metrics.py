"""Every metric of a process, with its labels and its unit: the one list.

Counters and histograms count what this process did. Gauges tell how things stand;
those of the store are refreshed by one loop (``runtime/watch.py``), never by a
scrape, for a scrape must cost a database nothing. No label holds an id or a text
of an error; names that users choose are bounded (``labels.py``).

For all processes on one store:
``started + reopened = finished + active``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import (
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.registry import Collector

from saga_orchestrator.telemetry.labels import ACTIONS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# -- sagas: counted where their commit is announced, once a transition --------

SAGAS_STARTED = Counter("saga_sagas_started_total", "Sagas started.", ["saga"])
SAGAS_FINISHED = Counter(
    "saga_sagas_finished_total",
    "Sagas that ended, completed or compensated.",
    ["saga", "outcome"],
)
SAGAS_REOPENED = Counter(
    "saga_sagas_reopened_total",
    "Completed sagas that are being undone after all, by force.",
    ["saga"],
)
SAGAS_PARKED = Counter(
    "saga_sagas_parked_total",
    "Times that a saga stopped as failed: a person must look.",
    ["saga"],
)
COMPENSATIONS = Counter(
    "saga_compensations_started_total", "Sagas that turned back.", ["saga"]
)
SAGA_DURATION = Histogram(
    "saga_saga_duration_seconds",
    "From a saga's start to its end.",
    ["saga", "outcome"],
    buckets=_LONG,
)
RESIDUALS_FOUND = Counter(
    "saga_residuals_found_total",
    "Effects found that may stand outside their saga's account.",
    ["saga"],
)

# -- steps --------------------------------------------------------------------

STEP_ATTEMPTS = Counter(
    "saga_step_attempts_total",
    "Attempts that ended: action or compensation, and how.",
    ["saga", "step", "kind", "outcome"],
)
STEP_DURATION = Histogram(
    "saga_step_duration_seconds",
    "From a dispatch to its answer, where one process committed both.",
    ["saga", "step", "kind"],
    buckets=_LONG,
)
STEP_RETRIES = Counter(
    "saga_step_retries_total", "Attempts after the first.", ["saga", "step", "kind"]
)
STEP_RESENDS = Counter(
    "saga_step_resends_total",
    "Commands sent again, unanswered, with the fence they had.",
    ["saga", "step", "kind"],
)
HANDLER_DURATION = Histogram(
    "saga_handler_duration_seconds",
    "Runs of handlers in this process, waiting excluded.",
    ["action", "answer"],
    buckets=_LONG,
)


@lru_cache(maxsize=1024)
def handler_duration(action: str, answer: str) -> Histogram:
    """Return the series of an action's runs that ended so; finding it takes long."""
    return HANDLER_DURATION.labels(*ACTIONS.label(action), str(answer))


# -- messages -------------------------------------------------------------------

ANSWERS_IGNORED = Counter(
    "saga_answers_ignored_total",
    "Answers that changed nothing: duplicate, late, outdated, contradiction, unasked.",
    ["reason"],
)
# A series that begins with 1 has not increased, says Prometheus.
ANSWERS_IGNORED.labels("contradiction")
UNROUTABLE = Counter(
    "saga_unroutable_total",
    "Commands that no queue takes: no service handles the action.",
    ["action"],
)
PARKED = Counter(
    "saga_messages_parked_total",
    "Messages set aside in the dead letters, by the queue they came from.",
    ["queue"],
)
UNCONFIRMED = Counter(
    "saga_messages_unconfirmed_total",
    "Messages of commands that the broker did not confirm in time.",
)
FRAME_COMMANDS = Histogram(
    "saga_frame_commands", "Commands in a published message.", buckets=_SIZES
)
PUBLISH_DURATION = Histogram(
    "saga_publish_duration_seconds",
    "From the publish of a batch of messages to its confirms.",
    buckets=_SHORT,
)
RECONNECTS = Counter(
    "saga_broker_reconnects_total",
    "Connections to the broker made again, by what they are for.",
    ["connection"],
)

# -- commits --------------------------------------------------------------------

BATCH_EVENTS = Histogram(
    "saga_commit_batch_events", "Events in a commit.", buckets=_SIZES
)
STORE_DURATION = Histogram(
    "saga_store_transaction_duration_seconds",
    "Commits of events, as the engine waits for them.",
    buckets=_SHORT,
)
COMMITS_FAILED = Counter(
    "saga_commits_failed_total",
    "Commits that failed or were not answered, and are tried again.",
)

# -- how things stand: refreshed by the watch -----------------------------------

SAGAS_ACTIVE = Gauge(
    "saga_sagas_active",
    "Sagas that have not ended, by state; failed ones need a person.",
    ["saga", "state"],
)
OLDEST_ACTIVE = Gauge(
    "saga_oldest_active_saga_age_seconds",
    "Age of the oldest saga that has not ended.",
    ["saga"],
)
STALE = Gauge(
    "saga_stale_sagas",
    "Sagas that wait for longer than their threshold, and why.",
    ["saga", "reason"],
)
STALE_OLDEST = Gauge(
    "saga_stale_oldest_age_seconds",
    "For how long the longest of them has waited.",
    ["saga", "reason"],
)
OUTBOX_PENDING = Gauge(
    "saga_outbox_pending", "Commands that the broker has not confirmed."
)
OUTBOX_OLDEST = Gauge(
    "saga_outbox_oldest_age_seconds", "Age of the oldest of them; 0 without one."
)
TIMER_LAG = Gauge(
    "saga_timer_lag_seconds", "For how long the longest due timer is overdue."
)
RESIDUALS_OPEN = Gauge(
    "saga_residuals_open",
    "Effects outside any saga's account that nobody has settled.",
)
POOL_CONNECTIONS = Gauge(
    "saga_store_pool_connections",
    "Connections to the database, by use; limit is how many there may be.",
    ["use"],
)
QUEUE_MESSAGES = Gauge(
    "saga_queue_messages", "Messages that wait in a queue of ours.", ["queue"]
)
QUEUE_CONSUMERS = Gauge(
    "saga_queue_consumers",
    "Consumers of a queue of ours, on all processes.",
    ["queue"],
)
DEAD_LETTERS = Gauge(
    "saga_dead_letters", "Messages that were set aside for a person to look at."
)
PROBLEMS = Gauge("saga_problems", "What this process finds wrong now; see its log.")
WATCHED_AT = Gauge(
    "saga_watched_timestamp_seconds",
    "When these gauges were last refreshed from the store; Unix time of this machine.",
)
BUILD_INFO = Gauge("saga_build_info", "This program's version.", ["version"])


_OF_PARTICIPANTS = (
    HANDLER_DURATION,
    PARKED,
    RECONNECTS,
    QUEUE_MESSAGES,
    QUEUE_CONSUMERS,
    PROBLEMS,
    BUILD_INFO,
)
_OF_ENGINES = frozenset(
    family.name
    for metric in list(globals().values())
    if isinstance(metric, Counter | Gauge | Histogram)
    and metric not in _OF_PARTICIPANTS
    for family in metric.describe()
)


class _Participant(Collector):
    """The default registry, without what only an engine counts.

    A gauge that nobody refreshes says 0, and an alert takes that for an answer: the
    store would not have been reached since 1970.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield what a worker knows, and what its handlers count themselves."""
        for family in REGISTRY.collect():
            if family.name not in _OF_ENGINES:
                yield family


def exposition() -> bytes:
    """Return all metrics of the process in Prometheus' text format."""
    return generate_latest(REGISTRY)


def participant_exposition() -> bytes:
    """Return the metrics of a worker; it has no store to tell of."""
    return generate_latest(_Participant())
