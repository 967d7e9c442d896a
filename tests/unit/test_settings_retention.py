"""The setting `retention`: ages as people write them, by definition."""

from __future__ import annotations

import datetime as dt

import pytest

from saga_orchestrator.durations import parse_duration
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.store import Keep
from saga_orchestrator.settings import load_settings

DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("", Keep()),
        ("30d", Keep(30 * DAY)),
        ("30d, order=7d", Keep(30 * DAY, {"order": 7 * DAY})),
        ("order=12h", Keep(None, {"order": DAY / 2})),
        ("*=30d,audit=forever", Keep(30 * DAY, {"audit": None})),
    ],
)
def test_flags_and_environment_have_one_text(text, keep, monkeypatch):
    """A bare age is for all that are not named."""
    assert load_settings(retention=text).keep == keep
    monkeypatch.setenv("SAGA_RETENTION", text)
    assert load_settings().keep == keep


def test_the_file_has_a_table(tmp_path):
    """In ``saga.toml`` each definition has a line."""
    (tmp_path / "saga.toml").write_text('[retention]\n"*" = "30d"\norder = "7d"\n')
    assert load_settings().keep == Keep(30 * DAY, {"order": 7 * DAY})


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1.5h", "order=", "30 days", "9w"])
def test_what_is_no_age_is_refused(text):
    """The error names the setting and says what an age looks like."""
    with pytest.raises(ConfigurationError, match=r"retention: .*90s, 10m, 1h or 30d"):
        load_settings(retention=text)


@pytest.mark.parametrize("text", ["36501d", "999999999d", "999999999h"])
def test_more_than_a_hundred_years_is_a_mistake(text):
    """Such an age would reach back before any clock; ``forever`` says it."""
    with pytest.raises(ConfigurationError, match="longer than 100 years"):
        load_settings(retention=text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        (" 2 d ", 172_800),
        ("999999999s", 999_999_999),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    """A number and its unit."""
    assert parse_duration(text) == dt.timedelta(seconds=seconds)
