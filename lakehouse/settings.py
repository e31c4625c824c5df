"""The environment → settings. OpenTelemetry's own variables are read by `metrics` alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any


class SettingError(Exception):
    """A setting is missing or wrong: which, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}: {hint}")
        self.what = what
        self.hint = hint


VARIABLES = {
    "home": "LAKEHOUSE_HOME",
    "lake": "LAKEHOUSE_LAKE",
    "bucket": "LAKEHOUSE_LANDING_BUCKET",
    "queue_url": "LAKEHOUSE_QUEUE_URL",
    "dead_letter_url": "LAKEHOUSE_DEAD_LETTER_QUEUE_URL",
    "table_prefix": "LAKEHOUSE_TABLE_PREFIX",
    "undeclared": "LAKEHOUSE_UNDECLARED",
    "alert_topic": "LAKEHOUSE_ALERT_TOPIC_ARN",
    "engine": "LAKEHOUSE_ENGINE",
}
"""Where each setting comes from."""
RETENTIONS = {
    "landing_retention": "LAKEHOUSE_LANDING_RETENTION_DAYS",
    "quarantine_retention": "LAKEHOUSE_QUARANTINE_RETENTION_DAYS",
    "run_retention": "LAKEHOUSE_RUN_RETENTION_DAYS",
}
"""Whole numbers of days; for ever where one is not set."""
WORKERS = "LAKEHOUSE_WORKERS"


@dataclass(frozen=True)
class Settings:
    """Where things are. AWS itself is found by the standard `AWS_…` variables, which boto3 and delta-rs read."""

    home: Path
    """State on this machine."""
    lake: str
    """The Delta tables' root, a path or `s3://bucket/prefix`."""
    bucket: str | None
    """Where files land."""
    queue_url: str | None
    """Where S3's events arrive."""
    dead_letter_url: str | None
    table_prefix: str
    """Before every DynamoDB table's name."""
    undeclared: str = "on"
    """Whether what no dataset claims lands in a raw table of its prefix: `on` or `off`."""
    alert_topic: str | None = None
    """The SNS topic that is told of failures and recoveries."""
    engine: str = "polars"
    """What computes portable functions: `polars`, `sail` in this process, or Spark Connect at `sc://…`."""
    workers: int = 4
    """Runs that carry an oversized backlog of a dataset that declares `partition_by`; 1: its own alone."""
    landing_retention: timedelta | None = None
    """How long objects stay in the landing bucket after raw has read them; None: for ever."""
    quarantine_retention: timedelta | None = None
    """How long refused records stay; None: as long as they are refused."""
    run_retention: timedelta | None = None
    """How long Dagster keeps finished runs and what they told; None: for ever."""

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        told = {name: environment.get(variable) for name, variable in VARIABLES.items()}
        home = Path(told["home"] or ".lakehouse").resolve()
        return cls(
            home=home,
            lake=told["lake"] or str(home / "lake"),
            bucket=told["bucket"],
            queue_url=told["queue_url"],
            dead_letter_url=told["dead_letter_url"],
            table_prefix=environment.get(VARIABLES["table_prefix"], "lakehouse-"),
            undeclared=told["undeclared"] or "on",
            alert_topic=told["alert_topic"],
            engine=_engine(told["engine"] or "polars"),
            workers=_workers(environment.get(WORKERS) or "4"),
            **{name: _days(variable, environment.get(variable)) for name, variable in RETENTIONS.items()},
        )

    def required(self, name: str) -> str:
        value = getattr(self, name)
        if not value:
            hint = "start a local AWS with `lakehouse up`, or set it to yours"
            raise SettingError(f"{VARIABLES[name]} is not set", hint)
        return str(value)


def _engine(told: str) -> str:
    if told not in ("polars", "sail") and not told.startswith("sc://"):
        raise SettingError(f"{VARIABLES['engine']} is {told!r}", "say polars, sail, or sc://… for Spark Connect")
    return told


def _workers(told: str) -> int:
    if not told.isdecimal() or not int(told):
        raise SettingError(f"{WORKERS} is {told!r}", "give a whole number, 1 for no further runs")
    return int(told)


def _days(variable: str, told: str | None) -> timedelta | None:
    if not told:
        return None
    if not told.isdecimal() or not int(told):
        raise SettingError(f"{variable} is {told!r}", "give a whole number of days, or leave it unset to keep all")
    return timedelta(days=int(told))


def client(service: str, config: Any = None) -> Any:
    """A boto3 client by the standard settings. `config`: botocore's, where a room has its own."""
    import boto3

    return boto3.client(service, config=config)


def instance(settings: Settings) -> dict[str, str]:
    """The environment of Dagster's own commands: `DAGSTER_HOME` as it is told, else that of `make up`."""
    return {"DAGSTER_HOME": str(settings.home.absolute() / "dagster"), **os.environ}
