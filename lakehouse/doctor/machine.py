"""This machine and the lake: Python, packages, disk, tables, and what lags."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lakehouse.doctor.finding import Finding, Patient, fault, warning, well
from lakehouse.dynamodb.sync import items_of
from lakehouse.engines import EngineFailed, spark
from lakehouse.layers.lag import distances
from lakehouse.layers.tables import names
from lakehouse.ml.lag import distances as learned

TIGHT, FULL = 5 << 30, 1 << 30
"""Bytes that ought to be free below the home."""
SPACE = "free some, or set LAKEHOUSE_HOME to a larger disk; `lakehouse maintain` removes what retention has passed"
PINS = "`make clean`, then any other target of the Makefile: it installs what is pinned"
RECOVERY = "docs/recovery.md tells what may be deleted: the next run makes a table again from the one before it"
ENGINE = "start it or mend LAKEHOUSE_ENGINE; it needs the extra `engines`. Unset, Polars computes"
STUCK = "wait a minute; if it stays: is Dagster's daemon up, are its sensors on, and does a run fail?"


def python(_: Patient) -> Iterator[Finding]:
    wanted = SpecifierSet(metadata.metadata("lakehouse")["Requires-Python"])
    now = platform.python_version()
    if wanted.contains(now, prereleases=True):
        yield well("python", now)
    else:
        yield fault("python", f"{now}, not {wanted}", f"make .venv with Python {wanted}")


def packages(_: Patient) -> Iterator[Finding]:
    """The versions that are installed against those that the project asks for, extras aside."""
    wanted = [Requirement(text) for text in metadata.requires("lakehouse") or []]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [r for r in wanted if not r.specifier.contains(_version(r.name), prereleases=True)]
    if wrong:
        told = "; ".join(f"{r.name} is {_version(r.name)}, not {r.specifier}" for r in wrong)
        yield fault("packages", told, PINS)
    else:
        yield well("packages", f"{len(wanted)} as asked for, deltalake {_version('deltalake')} among them")


def engine(patient: Patient) -> Iterator[Finding]:
    """Whether what computes portable functions answers. Polars always does."""
    name = patient.settings.engine
    if name == "polars":
        return
    try:
        yield well("engine", f"{name} answers as Spark {spark.version(name)}")
    except EngineFailed as error:
        yield fault("engine", str(error).partition("\n")[0], ENGINE)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0"


def disk(patient: Patient) -> Iterator[Finding]:
    home = patient.settings.home
    stands = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(stands).free
    seen = f"{free / (1 << 30):.1f} GB free at {stands}"
    if free < TIGHT:
        yield (fault if free < FULL else warning)("disk", seen, SPACE)
    else:
        yield well("disk", seen)
    if not _writable(stands):
        yield fault(
            "disk", f"{stands} cannot be written to", "give it to whoever runs this, or set LAKEHOUSE_HOME"
        )


def _writable(folder: Path) -> bool:
    probe = folder / ".doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def datasets(patient: Patient) -> Iterator[Finding]:
    yield well("datasets", f"{len(patient.datasets)} declared; models: {len(patient.models)}")


def tables(patient: Patient) -> Iterator[Finding]:
    """Each by itself, since one that cannot be opened must not hide the others."""
    there, broken = 0, []
    for name in names(patient.datasets):
        try:
            if table := patient.lake.open(name):
                there += 1
                _keyed(patient, name, table.key)
        except Exception as error:
            broken.append(fault("tables", f"{name}: {str(error).splitlines()[0]}", RECOVERY))
    yield from broken or [well("tables", f"{there} at {patient.lake.root}")]


def _keyed(patient: Patient, name: str, key: list[str]) -> None:
    declared = {f"cleaned/{d.name}": d.keys for d in patient.datasets.values()}
    declared |= {f"serving/{s.name}": s.keys for d in patient.datasets.values() for s in d.serving}
    if key and key != declared.get(name, key):
        raise ValueError(f"made for the key {', '.join(key)}; {', '.join(declared[name])} is declared")


def lag(patient: Patient) -> Iterator[Finding]:
    items = partial(items_of, patient.settings)
    lags = distances(patient.lake, patient.datasets, items) | learned(patient.lake, patient.models, items)
    if behind := [f"{name} by {far}" for name, far in lags.items() if far]:
        yield warning("lag", f"behind: {', '.join(behind[:5])}", STUCK)
    else:
        yield well("lag", "nothing is behind")
