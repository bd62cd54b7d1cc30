"""QONNX file -> Graph(real). onnx is imported here (and in hwq.nn for export) and nowhere else."""

from hwq.frontend.qonnx import SUPPORTED, read_qonnx

__all__ = ["SUPPORTED", "read_qonnx"]
