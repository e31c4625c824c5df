"""The demo waits for what it landed itself."""

import pytest

from lakehouse.local import demo
from lakehouse_tests import sample
from lakehouse_tests.conftest import Road


def settle(road: Road, uploads: set[demo.Upload]) -> None:
    demo._settle(road.lake, road.datasets, road.items, uploads, lambda _: None)


def land(road: Road) -> set[demo.Upload]:
    return {(key, road.bucket.put(key, body)) for key, body in sample.FILES.items()}


@pytest.mark.slow
def test_what_an_earlier_run_landed_is_not_waited_for(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 1)
    first = land(road)
    while road.receive():
        pass
    road.hops()
    settle(road, first)
    second = land(road)
    with pytest.raises(TimeoutError, match="0 of 3 files in raw"):
        settle(road, second)
    while road.receive():
        pass
    road.hops()
    settle(road, second)
