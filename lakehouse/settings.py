"""The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SettingError(Exception):
    """A setting is missing or wrong; the message says which and what to do."""


@dataclass(frozen=True)
class Settings:
    """Where things are. AWS itself is found by the standard `AWS_…` variables, which boto3 and delta-rs read."""

    home: Path
    """`LAKEHOUSE_HOME`: state on this machine."""
    lake: str
    """`LAKEHOUSE_LAKE`: the Delta tables' root, a path or `s3://bucket/prefix`."""
    bucket: str | None
    """`LAKEHOUSE_LANDING_BUCKET`: where files land."""
    queue_url: str | None
    """`LAKEHOUSE_QUEUE_URL`: where S3's events arrive."""
    dead_letter_url: str | None
    """`LAKEHOUSE_DEAD_LETTER_QUEUE_URL`"""
    table_prefix: str
    """`LAKEHOUSE_TABLE_PREFIX`: before every DynamoDB table's name."""

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        home = Path(environment.get("LAKEHOUSE_HOME", ".lakehouse")).resolve()
        return cls(
            home=home,
            lake=environment.get("LAKEHOUSE_LAKE", str(home / "lake")),
            bucket=environment.get("LAKEHOUSE_LANDING_BUCKET"),
            queue_url=environment.get("LAKEHOUSE_QUEUE_URL"),
            dead_letter_url=environment.get("LAKEHOUSE_DEAD_LETTER_QUEUE_URL"),
            table_prefix=environment.get("LAKEHOUSE_TABLE_PREFIX", "lakehouse-"),
        )

    def required(self, name: str) -> str:
        value = getattr(self, name)
        if not value:
            raise SettingError(
                f"{name} is not set: start a local AWS with `make up`, or set LAKEHOUSE_{name.upper()} to yours"
            )
        return str(value)


def client(service: str, config: Any = None) -> Any:
    """A boto3 client by the standard settings. `config`: botocore's, where a room has its own."""
    import boto3

    return boto3.client(service, config=config)
