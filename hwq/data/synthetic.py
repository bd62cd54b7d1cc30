"""Images made from a seed, for tasks without a small free data set. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE_CLASSES = ("background", "disc", "square", "cross")


def shapes(count: int, seed: int, side: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey images of up to three shapes on a noisy, sloping ground, and the class of every pixel.

    Returns uint8 [count, side, side] and int64 [count, side, side], indices into SHAPE_CLASSES. A shape is a disc, a
    square or an upright cross of random size, place and brightness, so that only its outline tells its class; later
    ones cover earlier ones.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side][:, None]
    slope = rng.integers(-2, 3, (2, count, 1, 1))
    image = 96 + slope[0] * (y - side // 2) + slope[1] * (x - side // 2)
    labels = np.zeros((count, side, side), dtype=np.int64)
    for _ in range(3):
        kind = rng.integers(0, len(SHAPE_CLASSES), (count, 1, 1))  # 0: none this time
        radius = rng.integers(4, side // 4 + 1, (count, 1, 1))
        cy, cx = rng.integers(4, side - 4, (2, count, 1, 1))
        shade = rng.integers(24, 64, (count, 1, 1)) * rng.choice((-1, 1), (count, 1, 1))
        dy, dx = np.abs(y - cy), np.abs(x - cx)
        square = np.maximum(dy, dx) <= radius
        masks = (dy**2 + dx**2 <= radius**2, square, square & (np.minimum(dy, dx) <= radius // 3))
        inside = np.select([kind == i + 1 for i in range(3)], masks, False)
        image = np.where(inside, 112 + shade, image)
        labels = np.where(inside, kind, labels)
    noisy = image + rng.integers(-12, 13, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), labels
