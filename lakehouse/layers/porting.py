"""datasets → their portable functions, refused when definitions load if engines could differ on what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import narwhals as nw
import polars as pl

from lakehouse.dataset import Dataset, DeclarationError
from lakehouse.engines import NotPortable
from lakehouse.engines.portable import columns, is_portable
from lakehouse.layers.cleaned import empty
from lakehouse.layers.raw import ORIGIN

Given = Sequence[Mapping[str, pl.DataType]]


def refuse(datasets: Mapping[str, Dataset]) -> None:
    """Raise where a function of narwhals frames does what engines do not do alike.

    Of columns that only a file brings nothing is known yet: then the first run tells, before it commits. Runs load
    definitions, too: nothing is computed but the columns of what is portable.
    """
    for name, function, given in _declared(datasets):
        try:
            if is_portable(function):
                with suppress(nw.exceptions.ColumnNotFoundError, pl.exceptions.ColumnNotFoundError):
                    columns(function, given())
        except NotPortable as error:
            raise DeclarationError(f"{name}: {error}") from error


def _declared(
    datasets: Mapping[str, Dataset],
) -> Iterator[tuple[str, Callable[..., Any], Callable[[], Given]]]:
    """Each function under its name, and how to come by the columns that it is given."""
    for dataset in datasets.values():
        if dataset.clean:
            yield dataset.name, dataset.clean, partial(_texts, dataset)
        for one in dataset.serving:
            yield one.name, one.compute, partial(_stored, [datasets[u] for u in one.upstreams])


def _texts(dataset: Dataset) -> Given:
    return [dict.fromkeys([*dataset.contract.column_names(), *ORIGIN], pl.String())]


def _stored(upstreams: Sequence[Dataset]) -> Given:
    return [empty(one).schema for one in upstreams]
