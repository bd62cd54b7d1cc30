"""Quantized training with Brevitas, and export of what was trained to QONNX. torch is imported here alone."""
