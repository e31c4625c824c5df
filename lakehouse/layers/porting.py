"""datasets → their portable functions, refused when definitions load if engines could differ on what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import narwhals as nw
import polars as pl

from lakehouse.dataset import Dataset, DeclarationError
from lakehouse.engines import NotPortable
from lakehouse.engines.portable import columns, is_portable
from lakehouse.layers.cleaned import empty
from lakehouse.layers.raw import ORIGIN


def refuse(datasets: Mapping[str, Dataset]) -> None:
    """Raise where a function of narwhals frames does what engines do not do alike.

    Of columns that only a file brings nothing is known yet: then the first run tells, before it commits.
    """
    for dataset in datasets.values():
        if dataset.clean:
            told = dict.fromkeys([*dataset.contract.column_names(), *ORIGIN], pl.String())
            _refuse(dataset.name, dataset.clean, [told])
        for serving in dataset.serving:
            _refuse(serving.name, serving.compute, [empty(datasets[u]).schema for u in serving.upstreams])


def _refuse(name: str, function: Callable[..., Any], given: list[Mapping[str, pl.DataType]]) -> None:
    try:
        if is_portable(function):
            with suppress(nw.exceptions.ColumnNotFoundError, pl.exceptions.ColumnNotFoundError):
                columns(function, given)
    except NotPortable as error:
        raise DeclarationError(f"{name}: {error}") from error
