"""All works and commands, their results and the page that shows them.

    make bench                                          all, at full size
    make bench-quick                                    all, small, in five minutes
    .venv/bin/python -m benchmarks.bench --only small   one of them; the others' results stay as they are
    .venv/bin/python -m benchmarks.bench --render       no work, the page alone

Results are files in `build/bench/full`, or `quick`, one a work or command; the former make docs/benchmarks.md, the
latter `build/bench/quick.md`. Exit code 1 where a command failed, or a way that is no peer's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import page
from benchmarks.commands import COMMANDS, perform
from benchmarks.measured import fresh, kept, measure
from benchmarks.works import WORKS

BUILD = Path("build/bench")


def main() -> None:
    names = [*(w.name for w in WORKS), *(c.name for c in COMMANDS)]
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", nargs="+", choices=names, default=names)
    options.add_argument("--rounds", type=int, help="of the works")
    options.add_argument("--size", type=float, help="of the works' data, where neither full nor quick fits")
    options.add_argument("--render", action="store_true")
    chosen = options.parse_args()
    results, failed = BUILD / ("quick" if chosen.quick else "full"), []
    results.mkdir(parents=True, exist_ok=True)
    scratch = fresh(BUILD / "scratch")
    for work in [] if chosen.render else [w for w in WORKS if w.name in chosen.only]:
        size = chosen.size or (work.quick if chosen.quick else work.size)
        rounds = chosen.rounds or (1 if chosen.quick else work.rounds)
        found = measure(work, BUILD / "data", size, rounds, scratch)
        kept(results / f"{work.name}.jsonl", found)
        print("\n".join(page.table(work, found)), flush=True)
        failed += [f"{work.name}, {one.way}" for one in found if one.failed and one.role != "peer"]
    for command in [] if chosen.render else [c for c in COMMANDS if c.name in chosen.only]:
        file = results / f"{command.name}.md"
        print(f"\n{command.title}\n", flush=True)
        if not perform(command, chosen.quick, file):
            failed.append(command.name)
    shown = BUILD / "quick.md" if chosen.quick else Path("docs/benchmarks.md")
    page.render(results, shown, WORKS, COMMANDS)
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
