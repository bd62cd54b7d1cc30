"""`hwq run --against`: the integer network beside a floating-point engine, decision by decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import MismatchError, ModelError
from hwq.flow.infer import features, int_graph
from hwq.flow.model import Model
from hwq.frontend import read_qonnx
from hwq.golden import Arithmetic, Difference, bounds, count_differences, float_execute, reference
from hwq.ir import ops
from hwq.ir.graph import Graph

CHUNK = 8192  # frames at a time: what training evaluates with
CHUNK_VALUES = 1 << 26  # values of all tensors of a chunk together, at most
SHOWN = 20
Values = dict[str, NDArray[Any]]  # output tensor of a decision -> its real values, the class of an ArgMax


@dataclass(frozen=True, slots=True)
class Comparison:
    """All decisions of all frames of one engine."""

    engine: str
    frames: int
    decisions: tuple[Difference, ...]

    @property
    def outputs(self) -> int:
        return sum(d.outputs for d in self.decisions)

    @property
    def flips(self) -> int:
        return sum(len(d.flips) for d in self.decisions)

    @property
    def ties(self) -> int:
        return sum(d.ties for d in self.decisions)

    def title(self) -> str:
        return f"{self.engine}: {self.flips} of {self.outputs} decisions differ, {self.ties} of them ties"

    def rows(self) -> list[dict[str, object]]:
        """One table row per decision. distance, reach: of the difference that is hardest to explain."""
        rows: list[dict[str, object]] = []
        for d in self.decisions:
            worst = max(d.flips, key=lambda f: f.distance / f.reach if f.reach else np.inf, default=None)
            rows.append(
                {
                    "decision": d.decision,
                    "outputs": d.outputs,
                    "differ": len(d.flips),
                    "ties": d.ties,
                    "downstream": d.downstream,
                    "distance": worst and worst.distance,
                    "error bound": worst and worst.reach,
                }
            )
        return rows

    def lines(self, ties: bool = True) -> list[str]:
        """A sentence for every difference, at most SHOWN of them; without `ties`, for those that are more."""
        found = [(d, f) for d in self.decisions for f in d.flips if ties or not f.tie]
        lines = [
            f"{d.decision} frame {f.frame} channel {f.channel}: {self.engine} {f.engine}, integer network {f.hwq}; "
            f"{f.distance:.3g} from the boundary, rounding errors reach {f.reach:.3g}"
            for d, f in found[:SHOWN]
        ]
        return lines + ([f"and {len(found) - SHOWN} more (--json has all)"] if len(found) > SHOWN else [])


def against(
    model: Model,
    x: NDArray[Any],
    engine: str,
    *,
    encoded: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Count where an engine (one of ENGINES) decides otherwise than the integer network, each layer alone.

    x: as for `hwq.run`. progress: told the frames done, all frames, and the engine. Raises ModelError where Brevitas
    has no finished run to load, VerifyError where the integer network differs from the exact reference.
    """
    make, arithmetic = ENGINES[engine]
    real, lowered = read_qonnx(model.onnx_bytes, name=model.name), int_graph(model)
    values = make(model, real)
    chunk = max(1, min(CHUNK, CHUNK_VALUES // sum(t.size for t in real.tensors.values())))
    parts: list[list[Difference]] = []
    for start in range(0, max(len(x), 1), chunk):
        frames = features(model, lowered, x[start : start + chunk], encoded, start)
        found = count_differences(real, lowered, [frames], values(frames), arithmetic)
        parts.append([replace(d, flips=tuple(replace(f, frame=f.frame + start) for f in d.flips)) for d in found])
        if progress is not None:
            progress(min(start + chunk, len(x)), len(x), engine)
    return Comparison(engine, len(x), tuple(map(_joined, zip(*parts, strict=True))))


def check(comparison: Comparison) -> None:
    """Raise MismatchError if a single difference is not a tie."""
    wrong = comparison.flips - comparison.ties
    if wrong:
        raise MismatchError(
            f"{wrong} differences from {comparison.engine} are more than rounding explains:\n  "
            + "\n  ".join(comparison.lines(ties=False))
        )


def _joined(parts: tuple[Difference, ...]) -> Difference:
    return replace(
        parts[0],
        outputs=sum(d.outputs for d in parts),
        flips=tuple(f for d in parts for f in d.flips),
        downstream=sum(d.downstream for d in parts),
    )


Engine = Callable[[NDArray[Any]], Values]  # float32 frames -> values


def _exact(_: Model, real: Graph) -> Engine:
    return lambda x: {t: cells.floats() for t, cells in reference(real, [x]).items()}


def _qonnx(dtype: type[np.floating[Any]]) -> Callable[[Model, Graph], Engine]:
    return lambda _, real: lambda x: float_execute(real, [x], dtype)


def _brevitas(double: bool) -> Callable[[Model, Graph], Engine]:
    def make(model: Model, real: Graph) -> Engine:
        if model.dir is None or not (model.dir / "checkpoint.pt").is_file():
            raise ModelError(
                f"model '{model.name}': Brevitas needs a run directory with its checkpoint.pt (hwq train); a shipped "
                "model is compared with float32 and float64, the same graph in QONNX"
            )
        from hwq.nn.evaluate import load_run, predictions, quantizer_outputs

        recipe, net = load_run(model.dir)
        made = [n for n in real.nodes if isinstance(n.op, (*ops.QUANTIZERS, ops.ArgMax))]
        head = made.pop() if recipe.head != "logits" else None
        frame = real.tensor(real.inputs[0]).shape

        def run(x: NDArray[Any]) -> Values:
            outputs, logits = quantizer_outputs(net, x.reshape(len(x), *frame), double)
            if len(outputs) != len(made):
                raise ModelError(
                    f"model '{model.name}': {len(outputs)} activation quantizers in the net, {len(made)} in model.onnx"
                )
            values = dict(zip((n.outputs[0] for n in made), outputs.values(), strict=True))
            if head is not None:
                classes = predictions(logits, recipe.head)[:, None]
                values[head.outputs[0]] = classes if isinstance(head.op, ops.ArgMax) else 2 * classes - 1
            return values

        return run

    return make


ENGINES: dict[str, tuple[Callable[[Model, Graph], Engine], Arithmetic]] = {
    "exact": (_exact, bounds.EXACT),
    "float32": (_qonnx(np.float32), bounds.FLOAT32),
    "float64": (_qonnx(np.float64), bounds.FLOAT64),
    "brevitas-float32": (_brevitas(False), bounds.FLOAT32),
    "brevitas-float64": (_brevitas(True), bounds.FLOAT64_OWN_CONSTANTS),
}
