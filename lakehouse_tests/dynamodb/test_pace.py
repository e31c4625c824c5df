"""The pace of writes, beside a table that grants so many a second."""

from __future__ import annotations

from dataclasses import dataclass, field

import boto3
import polars as pl
import pytest

from lakehouse.dynamodb import pace, table
from lakehouse.dynamodb.pace import FREE_AFTER, Pace
from lakehouse_tests.dynamodb.faults import granting

NOBODY = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}

CALL = 0.0001


@dataclass
class Table:
    """Grants `rate` items a second and a tenth of a second's worth at once, on a clock that stands still."""

    rate: float
    now: float = 100.0
    left: float = 0.0
    at: float = 100.0
    granted: int = 0
    refused: int = 0
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def write(self, items: int) -> None:
        self.pace.wait(items)
        self.now += CALL
        self.left = min(max(self.rate / 10, items), self.left + (self.now - self.at) * self.rate)
        self.at = self.now
        if self.left >= items:
            self.left -= items
            self.granted += items
            self.pace.granted(items)
        else:
            self.refused += items
            self.pace.refused()

    def share(self, seconds: float, items: int) -> tuple[float, float]:
        """(granted, refused) in so many seconds, as parts of what could have been granted."""
        self.granted = self.refused = 0
        until = self.now + seconds
        while self.now < until:
            self.write(items)
        return self.granted / self.rate / seconds, self.refused / self.rate / seconds


@pytest.mark.parametrize(("rate", "items"), [(1000, 1), (4000, 100)])
def test_writers_follow_what_a_table_grants_and_are_seldom_refused(rate: int, items: int) -> None:
    table = Table(rate)
    for now in (rate, rate * 3, rate / 2):
        table.rate = now
        table.share(10, items)
        granted, refused = table.share(20, items)
        assert granted > 0.8
        assert refused < 0.1


def test_who_is_not_refused_is_not_held_back() -> None:
    table = Table(1e9)
    table.share(2, 100)
    assert table.refused == 0
    assert table.granted == pytest.approx(2 / CALL * 100, rel=0.01)


def test_what_is_refused_at_once_by_many_is_one_cut() -> None:
    table = Table(1000)
    table.share(10, 1)
    before = table.pace._rate(table.now)
    for _ in range(50):
        table.pace.refused()
    table.now += 0.3
    for _ in range(50):
        table.pace.refused()
    assert table.pace._rate(table.now) > before / 2


def test_a_minute_after_the_last_refusal_all_are_free_again() -> None:
    table = Table(1000)
    table.share(5, 1)
    table.now += FREE_AFTER + 1
    table.rate = 1e9
    assert table.share(1, 100)[0] == pytest.approx(100 / CALL / 1e9, rel=0.01)


def test_a_load_that_is_refused_again_and_again_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SPELL", 0.05)
    monkeypatch.setattr(table, "_pause", lambda _: None)
    monkeypatch.setattr(table, "ATTEMPTS", 1000)
    client = boto3.client("dynamodb", region_name="eu-west-1", config=table.CONFIG, **NOBODY)
    rows = pl.DataFrame({"k": [str(n) for n in range(3000)]})
    with granting(client, 2_000) as told:
        assert table.ItemTable(client, "t").write([rows], [], key=["k"], number=1, together=True).put == 3000
    assert told["granted"] == 3000
    assert told["refused"]
