"""Engine rooms know no Dagster, and no room loads at its import what only some of its work needs."""

import subprocess
import sys
from pathlib import Path

import pytest

import lakehouse

ROOT = Path(lakehouse.__file__).parent
SKIN = {"orchestration", "definitions", "cli", "local"}
LOADED = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]; print(*sys.modules)"


def modules() -> list[str]:
    paths = [p.relative_to(ROOT.parent).with_suffix("") for p in ROOT.rglob("*.py")]
    return sorted(".".join(p.parts).removesuffix(".__init__") for p in paths if not SKIN & set(p.parts))


def loaded(names: list[str]) -> set[str]:
    told = subprocess.run([sys.executable, "-c", LOADED, *names], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in told.stdout.split()}


def test_no_engine_room_imports_dagster() -> None:
    rooms = {name.split(".")[1] for name in modules() if "." in name}
    assert rooms >= {"dataset", "datasets", "dynamodb", "lake", "landing", "layers", "settings"}
    found = loaded(modules())
    assert {"polars", "deltalake", "dataframely", "botocore"} <= found
    assert not {name for name in found if name.startswith("dagster")}


HEAVY = {
    *("polars", "deltalake", "dataframely", "pyarrow", "numpy", "scipy", "boto3", "botocore", "dagster"),
    *("dagster_aws", "lightgbm", "altair", "vl_convert", "pandas", "sqlglot", "pypdf", "PIL", "bs4"),
    *("prompt_toolkit", "pysail", "pyspark", "opentelemetry", "fastavro", "fastexcel", "lxml"),
}
TABLES = {"polars", "deltalake", "dataframely", "numpy", "botocore"}
PULLS = {
    "settings": set(),
    "cli": set(),
    "metrics": set(),
    "dataset": {"polars", "dataframely", "numpy"},
    "lake": {"polars", "deltalake"},
    "landing.readers": {"polars", "numpy"},
    "layers.cleaned": TABLES,
    "dynamodb.sync": TABLES,
    "ml.scoring": TABLES,
    "dashboard": TABLES,
    "query": TABLES | {"sqlglot"},
    "definitions": TABLES | {"boto3", "dagster", "dagster_aws"},
}
"""What each room loads of the packages that take long, before anything is asked of it."""


@pytest.mark.parametrize("room", PULLS)
def test_a_room_loads_at_its_import_what_all_of_its_work_needs(room: str) -> None:
    assert loaded([f"lakehouse.{room}"]) & HEAVY == PULLS[room]


def test_the_oracle_shares_no_import_with_the_package() -> None:
    lines = (Path(__file__).parent / "oracle.py").read_text().splitlines()
    imports = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imports <= sys.stdlib_module_names
