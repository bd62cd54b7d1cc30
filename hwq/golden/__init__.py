"""The golden model: integers executed from definitions, and the exact reference of the real graph."""

from hwq.golden.bounds import Arithmetic
from hwq.golden.cells import Cells
from hwq.golden.differences import Difference, Flip, as_decided, count_differences, decisions
from hwq.golden.execute import check_frames, execute, host_quantize
from hwq.golden.floats import float_execute
from hwq.golden.reference import reference

__all__ = [
    "Arithmetic",
    "Cells",
    "Difference",
    "Flip",
    "as_decided",
    "check_frames",
    "count_differences",
    "decisions",
    "execute",
    "float_execute",
    "host_quantize",
    "reference",
]
