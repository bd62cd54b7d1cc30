"""The golden model: integers executed from definitions, and the exact reference of the real graph."""

from hwq.golden.execute import execute, host_quantize

__all__ = ["execute", "host_quantize"]
