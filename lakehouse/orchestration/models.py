"""models → assets: trained, gated, promoted, scored, published, watched; and the sensor that asks for it again."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from lakehouse.dataset import Dataset
from lakehouse.lake import Lake
from lakehouse.lake.table import Table
from lakehouse.layers.lag import Items
from lakehouse.ml import features, lag, monitoring, registry, scoring, training
from lakehouse.ml.cards import drifted, weekly
from lakehouse.ml.registry import Refused, Version
from lakehouse.model import Model
from lakehouse.orchestration.assets import OWNERS, checked, dynamodb
from lakehouse.orchestration.columns import ANSWERS, PROMOTIONS, VERSIONS, WEEKS
from lakehouse.orchestration.metadata import code_of, describe, schema_of, standing, table_of
from lakehouse.orchestration.resources import LakehouseResource
from lakehouse.orchestration.sensor import ACTIVE, Past, due

MODEL, WORK = "lakehouse/model", "lakehouse/work"
"""Tags of a run: its model, and whether it trains or scores."""
HISTORY = 10
SECONDS = 30
"""Between two looks at what the models have yet to do."""


def build(
    models: dict[str, Model],
    datasets: dict[str, Dataset],
    executor: dg.ExecutorDefinition,
    by_day: dg.AssetSelection,
) -> dict[str, Any]:
    """Assets, jobs and the sensor, as `dg.Definitions` takes them. `by_day`: checks that none of the jobs runs."""
    assets = [asset for model in models.values() for asset in _assets(model, datasets)]
    jobs = [job for model in models.values() for job in _jobs(model, executor, by_day)]
    return {"assets": assets, "jobs": jobs, "sensors": [_sensor(models, jobs)] if models else []}


def _assets(model: Model, datasets: dict[str, Dataset]) -> list[dg.AssetsDefinition]:
    found = [_trained(model), _promoted(model), _scored(model, datasets), _watched(model, datasets)]
    return [*found, dynamodb(model.serving, _tags(model))] if model.publish else found


def _tags(model: Model) -> dict[str, str]:
    return {MODEL: model.name}


def _jobs(model: Model, executor: dg.ExecutorDefinition, by_day: dg.AssetSelection) -> list[Any]:
    after = ["serving", "monitor", *(["dynamodb"] if model.publish else [])]
    every = ["models", "promotions", *after]
    told = {
        "train": ("Train, judge, promote or not, then answer with who is champion.", every),
        "score": ("Answer what has come, publish it, and hold earlier answers against the truth.", after),
    }
    return [
        dg.define_asset_job(
            f"{work}_{model.name}",
            dg.AssetSelection.assets(*(dg.AssetKey([layer, model.name]) for layer in layers)) - by_day,
            description=described,
            executor_def=executor,
        )
        for work, (described, layers) in told.items()
    ]


GATE = (
    "On the newest rows the version is better than the champion and the plain baseline in AUC or log loss, surely "
    "worse in neither, and clearly worse in no segment; a first one is not far astray; no feature leaks. "
    "Promotion reads the stored verdict again."
)
LEAKAGE = "Computed again without all that came after the cut-off, the features of some moments are the same."


def _trained(model: Model) -> dg.AssetsDefinition:
    key = ["models", model.name]

    @dg.asset(
        key=key,
        deps=[["cleaned", name] for name in model.inputs],
        group_name="models",
        kinds={"deltalake", "lightgbm"},
        owners=OWNERS,
        description=model.question,
        code_version=model.recipe,
        metadata={"dagster/column_schema": schema_of(registry.TRAINED, VERSIONS), **code_of(model.features)},
        tags=_tags(model),
        check_specs=[
            dg.AssetCheckSpec("gate", asset=key, blocking=True, description=GATE),
            dg.AssetCheckSpec("leakage", asset=key, blocking=True, description=LEAKAGE),
        ],
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        made = training.train(lake, model, run=context.run.run_id)
        reasons = pl.DataFrame({"reason": made.reasons}, schema={"reason": pl.String})
        leaking = pl.DataFrame(made.metrics["leaks"], schema=features.LEAKS)
        return dg.MaterializeResult(
            metadata=standing(lake, registry.open_models(lake, model.name)) | _version(made),
            check_results=[
                checked("gate", reasons),
                checked("leakage", leaking),
            ],
        )

    return asset


def _version(made: Version) -> dict[str, Any]:
    challenger = made.metrics["challenger"]
    plain = {name: round(challenger[name]["value"], 4) for name in ("auc", "log_loss", "brier", "calibration")}
    return {"id": made.id, "card": dg.MetadataValue.md(made.card), "rows": made.pins["rows"], **plain}


def _promoted(model: Model) -> dg.AssetsDefinition:
    @dg.asset(
        key=["promotions", model.name],
        deps=[["models", model.name]],
        group_name="models",
        kinds={"deltalake"},
        owners=OWNERS,
        description=f"Who was made champion of {model.name}, when and why; the last row is in force.",
        metadata={"dagster/column_schema": schema_of(registry.PROMOTED, PROMOTIONS), **code_of(model.features)},
        tags=_tags(model),
    )
    def asset(context: dg.AssetExecutionContext, lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        told = promoted(lake, model, who=f"run {context.run.run_id}")
        table = registry.open_promotions(lake, model.name)
        known = registry.history(table)
        return dg.MaterializeResult(
            metadata={**standing(lake, table), "outcome": told}
            | {"champion": str(registry.champion(lake, model.name)), "history": table_of(known.reverse())}
        )

    return asset


def promoted(lake: Lake, model: Model, who: str) -> str:
    """Promote the version trained last, if its stored verdict allows; what came of it."""
    newest = registry.newest(lake, model.name)
    if newest is None:
        return "nothing is trained yet"
    try:
        done = registry.promote(lake, model.name, newest.id, who=who, why="it passed the gate")
    except Refused as refusal:
        return str(refusal)
    return f"{newest.id} is champion now" if done else f"{newest.id} was champion already"


def _scored(model: Model, datasets: dict[str, Dataset]) -> dg.AssetsDefinition:
    known = datasets[model.population].contract.columns()
    said = {k: f"{known[k].description or ''} ← {model.population}.{k}".strip() for k in model.key} | ANSWERS

    @dg.asset(
        key=["serving", model.name],
        deps=[*(["cleaned", name] for name in model.inputs), ["promotions", model.name]],
        group_name="serving",
        kinds={"deltalake", "lightgbm"},
        owners=OWNERS,
        description=f"{model.question} The champion's answers, with the three strongest reasons each.",
        metadata=code_of(model.features),
        code_version=model.code,
        tags=_tags(model),
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        done = scoring.score(lake, model, datasets)
        table = scoring.open_scores(lake, model, datasets)
        columns = {"dagster/column_schema": schema_of(table.kinds, said)}
        return dg.MaterializeResult(metadata=describe(lake, table, done) | columns)

    return asset


QUALITY = (
    "In its last whole week the champion's AUC was what it showed at the gate, and its mean prediction what came "
    "true. A failure asks for training, once."
)


def _watched(model: Model, datasets: dict[str, Dataset]) -> dg.AssetsDefinition:
    key = ["monitor", model.name]

    @dg.asset(
        key=key,
        deps=[["serving", model.name], ["cleaned", model.population]],
        group_name="models",
        kinds={"deltalake"},
        owners=OWNERS,
        description=f"How good the answers of {model.name} were, week by week, now that the truth is known.",
        metadata={"dagster/column_schema": schema_of(monitoring.WEEKS, WEEKS), **code_of(model.features)},
        tags=_tags(model),
        check_specs=[dg.AssetCheckSpec("quality", asset=key, description=QUALITY)],
    )
    def asset(lakehouse: LakehouseResource) -> dg.MaterializeResult:
        lake = lakehouse.lake
        done = monitoring.monitor(lake, model, datasets)
        failing = pl.DataFrame(
            {"failure": monitoring.realised(lake, model).failures}, schema={"failure": pl.String}
        )
        table = lake.open(f"monitor/{model.name}")
        facts = describe(lake, table, done) | _weeks(lake, model, table) if table and done else {}
        return dg.MaterializeResult(metadata=facts, check_results=[checked("quality", failing, warn=True)])

    return asset


def _weeks(lake: Lake, model: Model, table: Table) -> dict[str, Any]:
    weeks = table.scan().sort("week", "model").collect()
    known = registry.champion(lake, model.name)
    champion = registry.version(lake, model.name, known) if known else None
    course = dg.MetadataValue.md(weekly(weeks, champion))
    told: dict[str, Any] = {"weeks": table_of(weeks.reverse()), "course": course}
    if len(weeks):
        last = weeks.row(-1, named=True)
        plain = ("auc", "calibration", "brier", "share", "predicted")
        told |= {name: round(last[name], 4) for name in plain if last[name] is not None}
    if champion:
        moved = monitoring.drift(lake, model, champion)
        told |= {"drift": table_of(moved), "drift pictures": dg.MetadataValue.md(drifted(moved))}
    return told


def _sensor(models: dict[str, Model], jobs: Sequence[Any]) -> dg.SensorDefinition:
    @dg.sensor(
        name="models",
        jobs=list(jobs),
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="One run for every model of which a table lags, or that is due for training.",
    )
    def sensor(context: dg.SensorEvaluationContext, lakehouse: LakehouseResource) -> Iterator[dg.RunRequest]:
        for model in models.values():
            yield from requests(context.instance, lakehouse.lake, model, lakehouse.items)

    return sensor


def requests(instance: dg.DagsterInstance, lake: Lake, model: Model, items: Items) -> Iterator[dg.RunRequest]:
    """The run that a model needs now, told from tables and runs alone: none while one of its own is active.

    A training is asked for when it is due. One that found nothing to commit leaves it due: the pause before the
    next grows with the failures.
    """
    if instance.get_runs_count(dg.RunsFilter(tags={MODEL: model.name}, statuses=ACTIVE)):
        return
    for work, why in wanted(lake, model, items):
        tags = {MODEL: model.name, WORK: work}
        records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=HISTORY)
        if due([Past(r.dagster_run.status, r.end_time or 0.0) for r in records], time.time()):
            yield dg.RunRequest(job_name=f"{work}_{model.name}", tags={**tags, "lakehouse/why": why})
            return


def wanted(lake: Lake, model: Model, items: Items) -> Iterator[tuple[str, str]]:
    """What a model has yet to do, and why, the most urgent first."""
    if why := monitoring.due(lake, model):
        yield "train", why
    if behind := lag.lagging(lake, model, items):
        yield "score", f"{behind} lags"
