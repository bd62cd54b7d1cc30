"""The network as an immutable graph: `real` ops as read from QONNX, `int` ops after lowering."""
