import pytest

from glassplate.flows.report.text import amount, duration, number, per_second, reason
from glassplate.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**50, "5120.0 TiB")],
)
def test_amounts(count, expected):
    assert amount(count) == expected


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0, "0 B/s"),
        (999.4, "999 B/s"),
        (999.6, "1 kB/s"),
        (14.23e9, "14.2 GB/s"),
        (989e12, "989 TB/s"),
        (2e18, "2e+03 PB/s"),
    ],
)
def test_rates(rate, expected):
    assert per_second(rate, "B") == expected


def test_unknown_numbers():
    assert number(None) == number(float("nan")) == "unknown"
    assert number(3.14159, "adu") == "3.142 adu"


def test_reasons_are_one_line():
    assert reason(UsageError("a\n  b")) == "a b"
    assert reason(KeyError("x")) == "KeyError: 'x'"
    assert reason(ValueError()) == "ValueError"
    assert "disk is full" in reason(OSError(28, "No space left on device"))
    assert len(reason(ValueError("x" * 10_000))) < 1000
