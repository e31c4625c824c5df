"""What a look at one thing tells, and who is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from botocore.config import Config

from lakehouse import model
from lakehouse.dataset import Dataset, load
from lakehouse.lake import Lake
from lakehouse.model import Model
from lakehouse.settings import Settings, client

QUICK = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, what was seen, and, if it is not well, what to do."""

    subject: str
    state: Literal["well", "warning", "fault"]
    seen: str
    mend: str = ""


def well(subject: str, seen: str) -> Finding:
    return Finding(subject, "well", seen)


def warning(subject: str, seen: str, mend: str) -> Finding:
    return Finding(subject, "warning", seen, mend)


def fault(subject: str, seen: str, mend: str) -> Finding:
    return Finding(subject, "fault", seen, mend)


@dataclass(frozen=True)
class Patient:
    """What is to be examined; `make` gives the client of an AWS service."""

    settings: Settings
    make: Callable[[str, Any], Any] = client

    def ask(self, service: str) -> Any:
        return self.make(service, QUICK)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """What is declared. Raises `DeclarationError`."""
        return load()

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """Likewise."""
        found = model.load()
        model.check(found, self.datasets)
        return found

    @cached_property
    def queue(self) -> dict[str, str]:
        """The queue's attributes. Raises `ClientError` where there is none."""
        url = self.settings.required("queue_url")
        told = self.ask("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return dict(told["Attributes"])


Look = Callable[[Patient], Iterator[Finding]]
