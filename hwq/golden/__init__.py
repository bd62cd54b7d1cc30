"""The golden model: integers executed from definitions, and the exact reference of the real graph."""

from hwq.golden.differences import Difference, count_differences, float_execute
from hwq.golden.execute import execute, host_quantize
from hwq.golden.reference import Cells, reference

__all__ = [
    "Cells",
    "Difference",
    "count_differences",
    "execute",
    "float_execute",
    "host_quantize",
    "reference",
]
