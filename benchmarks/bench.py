"""All works, their results and the page that shows them.

    make bench                                          all, at full size
    make bench-quick                                    all, small, in five minutes
    .venv/bin/python -m benchmarks.bench --only small   one of them; the others' results stay as they are
    .venv/bin/python -m benchmarks.bench --render       no work, the page alone

Results are lines of JSON in `build/bench/results.jsonl`, or `quick.jsonl`; only the former make
docs/benchmarks.md, the latter make `build/bench/quick.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import page
from benchmarks.measured import fresh, kept, measure
from benchmarks.works import WORKS

BUILD = Path("build/bench")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", nargs="+", choices=[w.name for w in WORKS], default=[w.name for w in WORKS])
    options.add_argument("--rounds", type=int)
    options.add_argument("--size", type=float, help="of the data, where neither the full nor the quick one fits")
    options.add_argument("--render", action="store_true")
    chosen = options.parse_args()
    results = BUILD / ("quick.jsonl" if chosen.quick else "results.jsonl")
    scratch = fresh(BUILD / "scratch")
    for work in [] if chosen.render else [w for w in WORKS if w.name in chosen.only]:
        size = chosen.size or (work.quick if chosen.quick else work.size)
        rounds = chosen.rounds or (1 if chosen.quick else work.rounds)
        found = measure(work, BUILD / "data", size, rounds, scratch)
        kept(results, found)
        print("\n".join(page.table(work, found)), flush=True)
    page.render(results, BUILD / "quick.md" if chosen.quick else Path("docs/benchmarks.md"), WORKS)


if __name__ == "__main__":
    main()
