"""From an int Graph to a Design: folding, module choice, memory layout, timing."""
