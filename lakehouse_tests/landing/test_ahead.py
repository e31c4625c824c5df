"""What is begun ahead keeps its order and its bound."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from lakehouse.landing.ahead import ahead


def test_results_come_in_the_order_of_their_items() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [*ahead(pool, lambda n: n * n, range(50), 3)] == [n * n for n in range(50)]


def test_no_more_than_so_many_are_begun_beyond_the_one_that_is_told() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        told = ahead(pool, begun.append, count(), 2)
        for taken in range(1, 6):
            next(told)
            assert len(begun) <= taken + 2


def test_what_fails_is_raised_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        told = ahead(pool, lambda n: 1 // n, [1, 0, 1], 2)
        assert next(told) == 1
        with pytest.raises(ZeroDivisionError):
            next(told)
