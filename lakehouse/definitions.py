"""What Dagster loads."""

from functools import cache

import dagster as dg
from dagster_aws.s3 import S3Resource

from lakehouse import model
from lakehouse.dataset import load
from lakehouse.layers import porting, retention, undeclared
from lakehouse.layers.lag import servings_of
from lakehouse.orchestration import alerts, assets, daily, models, sensor, shares, upkeep, watch
from lakehouse.orchestration.resources import DynamoDBResource, LakehouseResource, SNSResource, SQSResource
from lakehouse.settings import Settings


def build(executor: dg.ExecutorDefinition) -> dg.Definitions:
    """Every asset, a job a dataset, and the sensor that starts them."""
    datasets, learned = load(), model.load()
    model.check(learned, datasets)
    jobs = []
    retention.refuse(datasets.values(), Settings.load().landing_retention)
    by_day, by_hour = daily.build(datasets, learned), watch.build(datasets, learned)
    by_clock, by_share = upkeep.build(datasets, learned), shares.build(datasets)
    whole = dg.AssetSelection.checks(*by_day["asset_checks"], *by_hour["asset_checks"])
    learning = models.build(learned, datasets, executor, whole)
    for name in datasets:
        keys = [dg.AssetKey([layer, name]) for layer in ("raw", "cleaned", "quarantine")]
        keys += [dg.AssetKey(["history", name])] if datasets[name].history else []
        for one in servings_of(datasets, name):
            keys.append(dg.AssetKey(["serving", one.name]))
            if one.publish:
                keys.append(dg.AssetKey(["dynamodb", one.name]))
        selection = dg.AssetSelection.assets(*keys) - whole
        described = f"Carry what landed for {name} down the road."
        jobs.append(dg.define_asset_job(name, selection, description=described, executor_def=executor))
    described = "Carry what landed where no dataset claims it into raw."
    rest = dg.AssetSelection.assets(["raw", undeclared.NAME])
    jobs.append(dg.define_asset_job(undeclared.NAME, rest, description=described, executor_def=executor))
    s3, sqs, dynamodb = S3Resource(), SQSResource(), DynamoDBResource()
    lakehouse = LakehouseResource(s3=s3, sqs=sqs, dynamodb=dynamodb)
    return dg.Definitions(
        assets=[*assets.build(datasets), *by_hour["assets"], *by_clock["assets"], *learning["assets"]],
        asset_checks=[*by_day["asset_checks"], *by_hour["asset_checks"]],
        jobs=[
            *jobs,
            *by_day["jobs"],
            *by_hour["jobs"],
            *by_clock["jobs"],
            *learning["jobs"],
            *by_share["jobs"],
        ],
        schedules=[*by_day["schedules"], *by_hour["schedules"], *by_clock["schedules"]],
        sensors=[*sensor.build(datasets, jobs), alerts.build(), *by_share["sensors"], *learning["sensors"]],
        resources={"s3": s3, "sqs": sqs, "sns": SNSResource(), "dynamodb": dynamodb, "lakehouse": lakehouse},
        executor=executor,
    )


@cache
def built() -> dg.Definitions:
    """Once a process, without a query: the fork server builds them, and its workers have them."""
    return build(dg.in_process_executor)


@dg.definitions
def defs() -> dg.Definitions:
    """What engines do not do alike is refused here: to ask what functions give starts threads."""
    porting.refuse(load())
    return built()
