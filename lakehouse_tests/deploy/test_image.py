"""The image's recipe is sound as far as that can be told without an engine."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from lakehouse.local.aws import TEMPLATE

DEPLOY = TEMPLATE.parent
RECIPE = (DEPLOY / "Dockerfile").read_text()


def test_the_recipe_has_no_fault_that_hadolint_knows() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    let_in = {line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = [shlex.split(line)[1:-1] for line in RECIPE.splitlines() if line.startswith("COPY")]
    sources = {one for line in copied if not line[0].startswith("--from") for one in line}
    assert sources == let_in
    assert all((DEPLOY.parent / one).exists() for one in sources)


def test_the_image_is_nobodys_and_writes_only_where_the_tasks_let_it() -> None:
    assert RECIPE.rindex("USER 10001") > RECIPE.rindex("FROM")
    (written,) = re.findall(r'VOLUME \["(.*)"\]', RECIPE)
    mounted = set(re.findall(r"ContainerPath: (\S+?)}", TEMPLATE.read_text()))
    assert mounted == {written}
    for name in ("LAKEHOUSE_HOME", "HOME", "TMPDIR"):
        assert f"{name}={written}" in RECIPE


def test_every_variable_that_the_instance_reads_is_set_by_template_or_image() -> None:
    told = yaml.safe_load((DEPLOY / "dagster-aws.yaml").read_text())
    told = [told, yaml.safe_load((DEPLOY / "workspace-aws.yaml").read_text())]
    wanted = set(re.findall(r"'env': '(\w+)'", str(told)))
    assert wanted
    template = TEMPLATE.read_text()
    assert not {name for name in wanted if f"Name: {name}," not in template and f"{name}=" not in RECIPE}


def test_the_image_holds_the_versions_that_are_tested() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))

    tested, shipped = pins(DEPLOY.parent / "requirements.txt"), pins(DEPLOY / "requirements.txt")
    assert "dagster-postgres" in shipped
    assert not {"pytest", "ministack", "moto"} & set(shipped)
    assert {k: v for k, v in shipped.items() if tested.get(k, v) != v} == {}


BASE = {"libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv", "ld-linux-x86-64", "libz"}
BASE |= {"libgcc_s", "libstdc++"}
"""What Python's slim image on Debian has: the C library, what dpkg needs, and what apt needs."""
BROUGHT = {"libgomp1": "libgomp"}
"""Debian's packages that the recipe installs, and the library of each."""


@pytest.mark.skipif(sys.platform != "linux", reason="ldd is Linux's")
def test_every_library_that_a_shipped_package_needs_is_in_the_image() -> None:
    """LightGBM's wheel needs OpenMP and does not bring it; nothing imports it before a model is trained."""
    (installed,) = re.findall(r"--no-install-recommends (.+?) \\", RECIPE)
    there = BASE | {BROUGHT[name] for name in installed.split()}
    needed: dict[str, str] = {}
    files = [*binaries()]
    bundled = {file.name.split(".so")[0] for file in files}
    for file in files:
        told = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
        for name, where in re.findall(r"^\s*(\S+) => (\S+)", told, re.MULTILINE):
            if "site-packages" not in where and name.split(".so")[0] not in bundled:
                needed[name.split(".so")[0]] = str(file)
    assert "libc" in needed
    assert {name: file for name, file in needed.items() if name not in there} == {}


def binaries() -> Iterator[Path]:
    """The compiled files of the packages that the image pins."""
    for name in re.findall(r"^([a-z0-9-]+)==", (DEPLOY / "requirements.txt").read_text(), re.MULTILINE):
        with suppress(metadata.PackageNotFoundError):
            for file in metadata.files(name) or []:
                if ".so" in file.name and not file.name.endswith((".py", ".pyi")):
                    yield Path(str(file.locate()))
