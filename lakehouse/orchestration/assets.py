"""datasets → assets: one a table, each a verb of the engine and what it has to tell."""

from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.table import Written
from lakehouse.lake import Hopped, Lake
from lakehouse.layers import cleaned, raw, serving
from lakehouse.orchestration.resources import LakehouseResource

OWNERS = ["team:data"]


def build(datasets: dict[str, Dataset]) -> list[Any]:
    """Every asset of every dataset."""
    found: list[Any] = [_inbox()]
    for dataset in datasets.values():
        found += [_raw(dataset), _cleaned(dataset), _quarantine(dataset)]
        for one in dataset.serving:
            found.append(_serving(one, datasets))
            if one.publish:
                found.append(_dynamodb(one))
    return found


def _inbox() -> dg.AssetSpec:
    return dg.AssetSpec(
        ["landing", "inbox"],
        description="Every S3 event received, parked and unrouted ones included.",
        group_name="landing",
        kinds={"deltalake"},
        owners=OWNERS,
    )


def _raw(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=["raw", dataset.name],
        deps=[["landing", "inbox"]],
        group_name="raw",
        kinds={"deltalake", "s3"},
        owners=OWNERS,
        description=f"Objects at {dataset.landing}: every record as text, every generation, one head row each.",
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        done = raw.ingest(lakehouse.lake, lakehouse.bucket(), dataset, run=context.run.run_id)
        return _told(lakehouse.lake, done, objects=_objects(lakehouse.lake, dataset, context.run.run_id))

    return asset


def _cleaned(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=["cleaned", dataset.name],
        deps=[["raw", dataset.name]],
        group_name="cleaned",
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        description=_first_line(dataset.contract.__doc__),
        metadata={"dagster/column_schema": _columns(dataset)},
        check_specs=[dg.AssetCheckSpec("balance", asset=["cleaned", dataset.name], description=BALANCE)],
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        done = cleaned.clean(lakehouse.lake, dataset)
        lost = cleaned.unaccounted(lakehouse.lake, dataset)
        check = dg.AssetCheckResult(passed=not lost, metadata={"objects": dg.MetadataValue.json(lost[:20])})
        return dg.MaterializeResult(**_facts(lakehouse.lake, done), check_results=[check])

    return asset


BALANCE = "Every object generation that raw says was read has as many rows in raw as its head counts."


def _quarantine(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=["quarantine", dataset.name],
        deps=[["raw", dataset.name]],
        group_name="quarantine",
        kinds={"deltalake"},
        owners=OWNERS,
        description=f"Records of {dataset.name} that broke the contract, with the rules and their text.",
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        return _told(lakehouse.lake, cleaned.quarantine(lakehouse.lake, dataset))

    return asset


def _serving(one: Serving, datasets: dict[str, Dataset]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["serving", one.name],
        deps=[["cleaned", name] for name in one.upstreams],
        group_name="serving",
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        description=_first_line(one.compute.__doc__),
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        return _told(lakehouse.lake, serving.serve(lakehouse.lake, one, datasets))

    return asset


def _dynamodb(one: Serving) -> dg.AssetsDefinition:
    @dg.asset(
        key=["dynamodb", one.name],
        deps=[["serving", one.name]],
        group_name="dynamodb",
        kinds={"aws"},
        owners=OWNERS,
        description=f"The items of {one.name}, as applications read them.",
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        written = sync.publish(lakehouse.lake, one, lakehouse.items(one)) or Written()
        numbers = {"put": written.put, "deleted": written.deleted, "stale": written.stale}
        return dg.MaterializeResult(metadata={**numbers, "rejected": len(written.rejected)})

    return asset


def _told(lake: Lake, done: Hopped, **more: Any) -> dg.MaterializeResult:
    facts = _facts(lake, done)
    return dg.MaterializeResult(metadata=facts.pop("metadata") | more, **facts)


def _facts(lake: Lake, done: Hopped) -> dict[str, Any]:
    table = lake.open(done.table)
    assert table is not None
    return {
        "metadata": {
            "dagster/row_count": table.scan().select(pl.len()).collect().item(),
            "dagster/uri": lake.uri(done.table),
            "dagster/table_name": done.table,
            "dagster/storage_kind": "deltalake",
            "delta_version": table.version,
            "upserted": done.upserted,
            "deleted": done.deleted,
        },
        "data_version": dg.DataVersion(f"{table.id}@{table.version}"),
    }


def _objects(lake: Lake, dataset: Dataset, run: str) -> dg.MetadataValue:
    table = raw.open_raw(lake, dataset.name)
    mine = raw.heads(table).filter(pl.col("_run") == run).select("_object", "_generation", "_state", "_records")
    return dg.MetadataValue.json(mine.head(50).collect().to_dicts())


def _columns(dataset: Dataset) -> dg.TableSchema:
    columns = dataset.contract.columns().items()
    return dg.TableSchema(
        [dg.TableColumn(name, type=type(column).__name__.lower(), description=column.description or "")
         for name, column in columns]
    )  # fmt: skip


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
