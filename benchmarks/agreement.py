"""Decisions of other engines that differ from the integer network, on whole test sets: the table of docs/numerics.md.

    HWQ_DATA=... python -m benchmarks.agreement [MODEL ...]    default: every shipped model

A run directory is compared with Brevitas itself too. Exit 1 if one difference is not a tie.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hwq.flow.against import ENGINES, Comparison, against
from hwq.flow.infer import load_frames
from hwq.flow.model import load_model, shipped


def row(name: str, c: Comparison, seconds: float) -> str:
    where = ", ".join(f"{d.decision} {len(d.flips)}" for d in c.decisions if d.flips) or "-"
    worst = max((f.distance / f.reach for d in c.decisions for f in d.flips if f.reach), default=None)
    share = "-" if worst is None else f"{worst:.2g}"
    cells = (name, c.frames, c.engine, c.outputs, c.flips, c.ties, where, share, f"{seconds:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


def main(names: list[str]) -> int:
    data = os.environ.get("HWQ_DATA")
    print("| model | frames | engine | decisions | differ | ties | where | largest distance / bound | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    wrong = 0
    for name in names or shipped():
        model = load_model(name)
        x, _ = load_frames(model, Path(data) if data else None)
        trained = model.dir is not None and (model.dir / "checkpoint.pt").is_file()
        for engine in (e for e in ENGINES if trained or not e.startswith("brevitas")):
            start = time.perf_counter()
            found = against(model, x, engine)
            print(row(name, found, time.perf_counter() - start), flush=True)
            wrong += found.flips - found.ties
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
