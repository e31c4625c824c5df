"""datasets → assets: one a table, each a verb of the engine and what it has to tell."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import dagster as dg
import polars as pl

from lakehouse import metrics
from lakehouse.dataset import Dataset, Serving
from lakehouse.dynamodb import sync
from lakehouse.dynamodb.table import Written
from lakehouse.lake import Hopped, Lake, Table
from lakehouse.landing import inbox
from lakehouse.layers import balance, cleaned, fanout, history, raw, refused, serving, undeclared
from lakehouse.layers.ingest import ingest
from lakehouse.layers.origins import Origins, of_cleaned, of_serving
from lakehouse.orchestration import phases
from lakehouse.orchestration.columns import EVENTS, OURS, SPANS
from lakehouse.orchestration.metadata import (
    LISTED,
    code_of,
    contract_schema,
    describe,
    item_schema,
    latency,
    lineage,
    raw_schema,
    schema_of,
    served_schema,
    standing,
    summary,
    table_of,
)
from lakehouse.orchestration.resources import LakehouseResource
from lakehouse.orchestration.sensor import DATASET, FAILURES
from lakehouse.words import counted

OWNERS = ["team:data"]
ABOUT = ["_object", "_generation", "_state", "_records", "_size"]


def build(datasets: dict[str, Dataset]) -> list[Any]:
    """Every asset of every dataset."""
    found: list[Any] = [_inbox(), _undeclared(datasets)]
    for dataset in datasets.values():
        found += [_raw(dataset), _cleaned(dataset), _checks(dataset)]
        if dataset.history:
            found.append(_history(dataset))
        for one in dataset.serving:
            found.append(_serving(one, datasets, {DATASET: dataset.name}))
            if one.publish:
                found.append(dynamodb(one, {DATASET: dataset.name}))
    return found


def _inbox() -> dg.AssetSpec:
    return dg.AssetSpec(
        ["landing", "inbox"],
        description="Every S3 event received, parked and unrouted ones included.",
        group_name="landing",
        kinds={"deltalake", "aws"},
        owners=OWNERS,
        metadata={"dagster/column_schema": schema_of(inbox.SCHEMA, EVENTS)},
    )


READABLE = "S3 gave every object that an event of this run names, and its records could be read."


def _raw(dataset: Dataset) -> dg.AssetsDefinition:
    key = ["raw", dataset.name]

    @dg.asset(
        key=key,
        deps=[["landing", "inbox"]],
        group_name="raw",
        kinds={"deltalake", "s3"},
        owners=OWNERS,
        description=f"Objects at `{dataset.landing}`: every record as text, every generation, one head row each.",
        metadata=code_of(dataset.contract),
        freshness_policy=_freshness(dataset),
        tags={DATASET: dataset.name},
        check_specs=[dg.AssetCheckSpec("readable", asset=key, description=READABLE)],
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        run = context.run
        failures = int(run.tags.get(FAILURES, "0"))
        lake = lakehouse.lake
        done = ingest(lake, lakehouse.bucket(), dataset, run=run.run_id, failures=failures)
        heads = heads_of(lake, context, dataset.name)
        metrics.add("lakehouse.bytes", int(heads["_size"].sum()), dataset=dataset.name)
        return dg.MaterializeResult(
            **_told(lake, done, heads, lambda kinds: {"dagster/column_schema": raw_schema(kinds, dataset)}),
            check_results=[checked("readable", _unread(heads), warn=True)],
        )

    return asset


def _freshness(dataset: Dataset) -> dg.FreshnessPolicy | None:
    return dg.FreshnessPolicy.time_window(dataset.fresh_within) if dataset.fresh_within else None


def _undeclared(datasets: dict[str, Dataset]) -> dg.AssetsDefinition:
    """One asset, since assets are what is declared: its metadata names the tables."""
    key = ["raw", undeclared.NAME]

    @dg.asset(
        key=key,
        deps=[["landing", "inbox"]],
        group_name="raw",
        kinds={"deltalake", "s3"},
        owners=OWNERS,
        description="Objects that no dataset claims: a raw table a prefix. `lakehouse infer PREFIX` declares one.",
        check_specs=[dg.AssetCheckSpec("readable", asset=key, description=READABLE)],
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake, run = lakehouse.lake, context.run
        failures = int(run.tags.get(FAILURES, "0"))
        carried = undeclared.carry(lake, lakehouse.bucket(), datasets, run=run.run_id, failures=failures)
        names = undeclared.tables(lake, datasets)
        heads = undeclared.heads_of(lake, names, run.run_id)
        tables = [t for name in names if (t := lake.open(raw.name(name)))]
        stands = [standing(lake, table) for table in tables]
        rows, added = sum(one["dagster/row_count"] for one in stands), int(heads["_records"].sum())
        moved = f"{added:,} added" if any(one.moved for one in carried) else "nothing changed"
        about = [
            (t.name, one["dagster/row_count"], t.version, ", ".join(_own(t)))
            for t, one in zip(tables, stands, strict=True)
        ]
        told = pl.DataFrame(about, schema=["table", "rows", "version", "columns"], orient="row")
        caused = f"Caused by {counted(len(heads), 'object')}."
        return dg.MaterializeResult(
            metadata={
                "summary": summary("row", rows, moved, f"in {counted(len(tables), 'table')}", caused),
                "tables": table_of(told),
                "objects": table_of(heads.select(ABOUT)),
                "objects_read": len(heads),
                "dagster/row_count": rows,
                "added": added,
                "files": sum(one["files"] for one in stands),
                "megabytes": round(sum(one["megabytes"] for one in stands), 3),
                "dagster/storage_kind": "deltalake",
                **latency(heads),
            },
            check_results=[checked("readable", _unread(heads), warn=True)],
        )

    return asset


def _own(table: Table) -> list[str]:
    """A raw table's columns that its files brought."""
    return [c for c in table.columns if not c.startswith("_")]


def _unread(heads: pl.DataFrame) -> pl.DataFrame:
    unread = heads.filter(pl.col("_state").is_in(["refused", raw.WITHHELD]))
    return unread.select(pl.col("_reason").alias("reason"), "_object", "_state")


BALANCE = (
    "Of every object generation of this run: read = kept + refused + overtaken + dropped. Cleaned holds what was "
    "kept, quarantine what was refused; overtaken are those of whose key cleaned holds a newer row."
)
CONTRACT = "The rows of this run's objects, read back from the table, satisfy the contract; no key stands twice."
WARNED = "No row of this run's objects breaks a rule that merely warns."
EMPTY = "No record of this run's objects broke the contract."


def _cleaned(dataset: Dataset) -> dg.AssetsDefinition:
    good, bad = dg.AssetKey(["cleaned", dataset.name]), dg.AssetKey(["quarantine", dataset.name])

    def columns(origins: Origins) -> dict[str, Any]:
        told = contract_schema(dataset, origins)
        return {"dagster/column_schema": told, "dagster/column_lineage": lineage(origins)}

    @dg.multi_asset(
        name=f"cleaned__{dataset.name}",
        specs=[
            dg.AssetSpec(
                good,
                deps=[["raw", dataset.name]],
                group_name="cleaned",
                kinds={"deltalake", "polars"},
                owners=OWNERS,
                description=_first_line(dataset.contract.__doc__),
                metadata={**columns(of_cleaned(dataset)), **code_of(dataset.contract)},
                code_version=dataset.fingerprint,
                freshness_policy=_freshness(dataset),
                tags={DATASET: dataset.name},
            ),
            dg.AssetSpec(
                bad,
                deps=[["raw", dataset.name]],
                group_name="quarantine",
                kinds={"deltalake"},
                owners=OWNERS,
                description=f"Records of {dataset.name} that broke the contract, with the rules and their text.",
                metadata={
                    "dagster/column_schema": schema_of(cleaned.BAD, OURS),
                    **code_of(dataset.contract),
                },
                code_version=dataset.fingerprint,
                tags={DATASET: dataset.name},
            ),
        ],
    )
    def assets(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> Iterator[Any]:
        lake = lakehouse.lake
        heads = heads_of(lake, context, dataset.name)
        shared: list[Hopped] = []
        fanout.together(lake, dataset, lakehouse.settings.workers, shared.append)
        kept, refused = (sum_of(verb(lake, dataset), shared) for verb in (cleaned.clean, cleaned.quarantine))
        metrics.add("lakehouse.quarantine", refused.upserted, dataset=dataset.name)
        more: dict[str, Any] = {"quarantined": refused.upserted}
        if dataset.clean:
            more |= columns(of_cleaned(dataset, raw.open_raw(lake, dataset.name).kinds))
        for key, done, facts in (
            (good, kept, more),
            (bad, refused, {"refused": table_of(refused_now(lake, dataset))}),
        ):
            told = _told(lake, done, heads)
            told["metadata"] |= facts
            yield dg.MaterializeResult(asset_key=key, **told)

    return assets


def sum_of(last: Hopped, before: list[Hopped]) -> Hopped:
    """A hop with what those before it did to its table."""
    mine = [one for one in [*before, last] if one.table == last.table]
    upserted, deleted = sum(one.upserted for one in mine), sum(one.deleted for one in mine)
    return replace(last, upserted=upserted, deleted=deleted, moved=any(one.moved for one in mine))


def refused_now(lake: Lake, dataset: Dataset) -> pl.DataFrame:
    """The newest refused files and records of a dataset, by the ids that `lakehouse quarantine` takes."""
    rows = refused.of(lake, dataset.name)
    return rows.sort("kind", "since", descending=[False, True], nulls_last=True).head(LISTED).collect()


def _checks(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Run last, so that no item waits for them."""
    good, bad = dg.AssetKey(["cleaned", dataset.name]), dg.AssetKey(["quarantine", dataset.name])

    @dg.multi_asset_check(
        name=f"checks__{dataset.name}",
        specs=[
            dg.AssetCheckSpec("balance", asset=good, description=BALANCE),
            dg.AssetCheckSpec("contract", asset=good, description=CONTRACT),
            dg.AssetCheckSpec("empty", asset=bad, description=EMPTY),
            *([dg.AssetCheckSpec("warned", asset=good, description=WARNED)] if dataset.warn else []),
        ],
        op_tags={"dagster/priority": "-1"},
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lakehouse: LakehouseResource
    ) -> Iterator[dg.AssetCheckResult]:
        lake = lakehouse.lake
        balance.weigh(lake, dataset)
        objects = heads_of(lake, context, dataset.name)["_object"].unique().to_list()
        level = balance.level(lake, dataset)
        yield compared("balance", balance.unbalanced(lake, dataset, objects) if level else None, good)
        broken, tolerated = cleaned.violations(lake, dataset, objects), pl.col("rule").is_in([*dataset.warn])
        yield checked("contract", broken.filter(~tolerated), good)
        if dataset.warn:
            yield checked("warned", broken.filter(tolerated), good, warn=True)
        refused = cleaned.open_quarantine(lake, dataset).scan().filter(pl.col("_object").is_in(objects))
        rules = refused.group_by("_rules").len("records").sort("records", descending=True).collect()
        yield checked("empty", rules, bad, warn=True)
        took = phases.of_run(context.instance, lake, context.run.run_id, objects)
        context.instance.add_run_tags(context.run.run_id, {phases.SECONDS: phases.told(took)})

    return checks


TIMELINE = "No two versions of a key overlap, and the current ones are the rows of cleaned."


def _history(dataset: Dataset) -> dg.AssetsDefinition:
    key = ["history", dataset.name]

    @dg.asset(
        key=key,
        deps=[["raw", dataset.name]],
        group_name="history",
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        description=f"Every version of every key of {dataset.name}, and from when to when it stood.",
        metadata=code_of(dataset.contract),
        code_version=dataset.fingerprint,
        tags={DATASET: dataset.name},
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        done = history.track(lake, dataset)
        heads = heads_of(lake, context, dataset.name)
        words = {name: column.description for name, column in dataset.contract.columns().items()}
        said = {name: f"{text or ''} ← raw/{dataset.name}".strip() for name, text in words.items()} | OURS | SPANS
        return dg.MaterializeResult(
            **_told(lake, done, heads, lambda kinds: {"dagster/column_schema": schema_of(kinds, said)})
        )

    return asset


def _serving(one: Serving, datasets: dict[str, Dataset], tags: dict[str, str]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["serving", one.name],
        deps=[["cleaned", name] for name in one.upstreams],
        group_name="serving",
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        description=_first_line(one.compute.__doc__),
        metadata=code_of(one.compute),
        code_version=one.fingerprint,
        tags=tags,
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        done = serving.serve(lake, one, datasets)

        def columns(kinds: pl.Schema) -> dict[str, Any]:
            origins = of_serving(one, datasets)
            told = served_schema(one, datasets, kinds, origins)
            return {"dagster/column_schema": told, "dagster/column_lineage": lineage(origins)}

        return dg.MaterializeResult(**_told(lake, done, heads_of(lake, context), columns))

    return asset


AGREEMENT = (
    "The items that this run wrote or removed, read back, are as the serving table says. A warning: some rows do "
    "not fit into an item; rejected/ keeps the reason."
)


def dynamodb(one: Serving, tags: dict[str, str]) -> dg.AssetsDefinition:
    """The items of a serving table; of a model's predictions, too. `tags`: whose it is."""
    key = ["dynamodb", one.name]

    @dg.asset(
        key=key,
        deps=[["serving", one.name]],
        group_name="dynamodb",
        kinds={"aws"},
        owners=OWNERS,
        description=f"The items of {one.name}, as applications read them.",
        metadata=code_of(one.compute),
        tags=tags,
        check_specs=[dg.AssetCheckSpec("agreement", asset=key, description=AGREEMENT)],
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        items = lakehouse.items(one)
        written = sync.publish(lakehouse.lake, one, items) or Written(unheld=_unheld(lakehouse.lake, one))
        heads = heads_of(lakehouse.lake, context)
        took = latency(heads) if written.put or written.deleted else {}
        _measure(one, written, heads)
        differing = sync.verify_written(lakehouse.lake, one, items, written)
        rejected = pl.DataFrame(written.rejected, schema={"key": pl.String, "reason": pl.String}, orient="row")
        wrong = pl.concat([differences(differing), rejected], how="diagonal")
        source = lakehouse.lake.open(f"serving/{one.name}")
        return dg.MaterializeResult(
            metadata={
                **_items(source, written, took),
                "put": written.put,
                "deleted": written.deleted,
                "stale": written.stale,
                "rejected": len(rejected),
                "objects": table_of(heads.select(ABOUT)),
                "source": f"serving/{one.name}",
                **(item_schema(one, source.kinds) if source else {}),
                "dagster/table_name": items.name,
                "dagster/storage_kind": "dynamodb",
                "key": ", ".join(one.keys),
            },
            data_version=_at(source) if source else None,
            check_results=[checked("agreement", wrong, warn=not differing)],
        )

    return asset


def _unheld(lake: Lake, one: Serving) -> int:
    refused = lake.open(f"rejected/{one.name}")
    return refused.count if refused else 0


def _items(source: Table | None, written: Written, took: dict[str, float]) -> dict[str, Any]:
    """What a publish tells of all items, a sentence first.

    They are the serving table's rows but for those that do not fit: to count them in DynamoDB is to read them all.
    """
    count = (source.count if source else 0) - written.unheld
    moves = {"put": written.put, "deleted": written.deleted, "left alone: newer ones stood": written.stale}
    moved = ", ".join(f"{number:,} {word}" for word, number in moves.items() if number)
    seconds = [f"{s} s after the upload." for s in took.values()]
    return {
        "summary": summary("item", count, moved or "nothing changed", "", *seconds),
        "dagster/row_count": count,
        **took,
    }


def _measure(one: Serving, written: Written, heads: pl.DataFrame) -> None:
    table = f"dynamodb/{one.name}"
    metrics.add("lakehouse.rows", written.put, table=table, done="put")
    metrics.add("lakehouse.rows", written.deleted, table=table, done="deleted")
    landed = heads["_modified"].min() if "_modified" in heads.columns else None
    if isinstance(landed, datetime) and written.put:
        metrics.record("lakehouse.latency", (datetime.now(UTC) - landed).total_seconds(), table=table)


def differences(found: list[sync.Difference]) -> pl.DataFrame:
    rows = [(d.key, str(d.row), str(d.item)) for d in found]
    return pl.DataFrame(rows, schema={"key": pl.String, "row": pl.String, "item": pl.String}, orient="row")


def checked(
    name: str, wrong: pl.DataFrame, asset: dg.AssetKey | None = None, warn: bool = False
) -> dg.AssetCheckResult:
    """Passed where nothing is wrong; what is wrong is listed and counted."""
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset,
        passed=wrong.is_empty(),
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        metadata={"count": len(wrong), **({} if wrong.is_empty() else {"found": table_of(wrong)})},
    )


def compared(name: str, found: pl.DataFrame | None, asset: dg.AssetKey | None = None) -> dg.AssetCheckResult:
    """As `checked`; passed where nothing could be compared."""
    if found is None:
        told = {"not compared": "a table lags behind its source, is held, or was written meanwhile"}
        return dg.AssetCheckResult(check_name=name, asset_key=asset, passed=True, metadata=told)
    return checked(name, found, asset)


def _told(
    lake: Lake, done: Hopped, heads: pl.DataFrame, columns: Callable[[pl.Schema], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A materialization's metadata and data version. `columns`: of the table's, where no contract tells them."""
    table = lake.open(done.table)
    assert table is not None
    metrics.add("lakehouse.rows", done.upserted, table=done.table, done="put")
    metrics.add("lakehouse.rows", done.deleted, table=done.table, done="deleted")
    told = describe(lake, table, done, heads)
    told |= {"objects": table_of(heads.select(ABOUT)), "objects_read": len(heads)}
    told |= columns(table.scan().collect_schema()) if columns else {}
    return {"metadata": told, "data_version": _at(table)}


def _at(table: Table) -> dg.DataVersion:
    return dg.DataVersion(f"{table.id}@{table.version}")


def heads_of(
    lake: Lake, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, dataset: str | None = None
) -> pl.DataFrame:
    """The heads that this run committed: the objects that it read, refused or found gone."""
    dataset = dataset or context.run.tags.get(DATASET)
    return _heads(lake.root, dataset, context.run.run_id) if dataset else pl.DataFrame(schema=raw.HEAD)


@lru_cache(maxsize=1)
def _heads(root: str, dataset: str, run: str) -> pl.DataFrame:
    """Kept for the steps after raw, which run in the same process."""
    return raw.heads(raw.open_raw(Lake(root), dataset)).filter(pl.col("_run") == run).collect()


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
