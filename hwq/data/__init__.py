"""Data sets and feature encodings (numpy only)."""

from hwq.data.dataset import Dataset, default_data_dir, load
from hwq.data.encoding import Encoding, fit

__all__ = ["Dataset", "Encoding", "default_data_dir", "fit", "load"]
