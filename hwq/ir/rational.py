"""Arrays of exact rationals as blobs: unicode arrays of 'n' or 'n/d', which hash, print and save like any
other array.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

ObjectArray = NDArray[np.object_]


def to_text(values: Any) -> NDArray[np.str_]:
    """Fractions, ints or finite floats (array-like) -> unicode array of the same shape. A float is taken
    exactly.
    """
    a = np.asarray(values, dtype=object)
    flat = [str(exact(v)) for v in a.ravel()]
    return np.array(flat, dtype=np.str_).reshape(a.shape)


def exact(value: Any) -> Fraction:
    """One number -> the Fraction it is exactly."""
    if isinstance(value, Fraction):
        return value
    return Fraction(int(value)) if isinstance(value, int | np.integer) else Fraction(float(value))


def fractions(values: Iterable[Any] | NDArray[Any]) -> ObjectArray:
    """Any array of numbers (or of texts made by `to_text`) -> object array of Fractions, same shape."""
    a = np.asarray(values)
    out = np.empty(a.shape, dtype=object)
    texts = a.dtype.kind == "U"
    cache: dict[Any, Fraction] = {}
    flat = out.reshape(-1)
    for i, v in enumerate(a.ravel().tolist() if a.dtype != object else a.ravel()):
        if v not in cache:
            cache[v] = Fraction(v) if texts else exact(v)
        flat[i] = cache[v]
    return out
