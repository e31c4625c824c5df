"""The security lint reads every room but the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLANTED = {
    "S301": 'import pickle\n\nprint(pickle.loads(b""))\n',
    "S602": 'import subprocess\n\nsubprocess.run("ls", shell=True, check=True)\n',
}
ROOMS = sorted(
    {str(p.parent.relative_to(ROOT)) for r in ("benchmarks", "deploy", "docs") for p in (ROOT / r).rglob("*.py")}
)


@pytest.mark.parametrize("room", ["lakehouse/landing", *ROOMS])
@pytest.mark.parametrize("rule", PLANTED)
def test_what_is_planted_in_a_room_is_found(room: str, rule: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--stdin-filename"]
    told = subprocess.run(
        [*command, f"{room}/planted.py", "-"],
        cwd=ROOT,
        input=PLANTED[rule],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rule in told.stdout
