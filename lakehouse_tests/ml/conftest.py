"""A lake with a few weeks of real flights in cleaned, written there without the road that leads to it."""

from pathlib import Path

import polars as pl
import pytest

from lakehouse.dataset import Dataset, load
from lakehouse.lake import Lake
from lakehouse.lake.table import storable
from lakehouse.layers.cleaned import open_cleaned
from lakehouse.local import feed
from lakehouse.model import Model
from lakehouse.models.delay_risk import model as delay_risk

DATASETS = load()
MODEL = delay_risk


def rows(name: str, files: list[tuple[str, bytes]]) -> pl.DataFrame:
    """The files' rows as cleaned holds them, with what they bring beyond the contract."""
    read = pl.read_ndjson if name == "weather" else pl.read_csv
    contract = DATASETS[name].contract
    texts = [read(body) if name == "weather" else read(body, infer_schema=False) for _, body in files]
    table = pl.concat(texts, how="diagonal_relaxed")
    if "time_hour" in table.columns:
        time = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
        table = table.with_columns(time)
    good, _ = contract.filter(table, cast=True)
    keys = [pl.col(key).cast(good.schema[key]) for key in DATASETS[name].keys]
    more = table.select(*keys, pl.exclude(contract.column_names()).cast(pl.String))
    good = good.join(more, on=DATASETS[name].keys, maintain_order="left")
    origin = {"_object": pl.lit("x"), "_generation": pl.lit(1), "_record": pl.lit(1)}
    return storable(good).with_columns(**origin, _modified=pl.lit(None, dtype=pl.Datetime("us", "UTC")))


def fill(lake: Lake, days: int, start: int = 0) -> None:
    """Let some days of flights and weather come into cleaned, and with the first of them the planes."""
    if start == 0:
        append(lake, "planes", rows("planes", [f for f in feed.reference() if f[0].startswith("planes")]))
    append(lake, "weather", rows("weather", [*feed.weather(days, start)]))
    append(lake, "flights", rows("flights", [*feed.flights(days, start)]))


def append(lake: Lake, name: str, frame: pl.DataFrame) -> None:
    open_cleaned(lake, DATASETS[name]).append(frame)


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four weeks of January in cleaned, made once; `lake` is a copy of it."""
    root = tmp_path_factory.mktemp("month") / "lake"
    fill(Lake(str(root)), 28)
    return root


@pytest.fixture
def lake(month: Path, tmp_path: Path) -> Lake:
    import shutil

    shutil.copytree(month, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def datasets() -> dict[str, Dataset]:
    return DATASETS


@pytest.fixture
def model() -> Model:
    """As declared, but quick to learn."""
    from dataclasses import replace

    return replace(MODEL, rounds=15)
