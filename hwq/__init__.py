"""hwq: train quantized networks, export them to FPGA dataflow hardware, prove every integer in simulation.

The public functions are imported when first used: `import hwq` is quick and needs no tool.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "export", "run", "simulate", "synthesize", "train"]

_PLACES = {
    "compare": "hwq.report.compare",
    "export": "hwq.flow.export",
    "run": "hwq.flow.infer",
    "simulate": "hwq.flow.simulate",
    "synthesize": "hwq.flow.synth",
    "train": "hwq.nn.train",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hwq' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
