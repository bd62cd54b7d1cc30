"""Geometry of hwq_window (least depth of its ring, which input beat every output beat needs, when slots are free) and
of hwq_slide (its scan, the steps that take input and that complete windows, cycles of a frame).

Beats are counted from 0 within a frame; frames repeat the same tables. The token model, the mapper and the benches
share this file; the rules are those of the RTL header.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwq.errors import ConfigError

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of kernel[0] x kernel[1] over an image of size[0] x size[1] pixels of `chunks` beats each.

    pad: rows and columns of padding (top, left); out: windows per column and per row; passes: times a window is
    sent; groups of channels, each of which is sent by itself, `passes` times: for group, pass, ky, kx, chunk.
    """

    chunks: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    out: tuple[int, int] = (1, 1)
    passes: int = 1
    groups: int = 1

    @property
    def frame_beats(self) -> int:
        """Input beats of a frame."""
        return self.size[0] * self.size[1] * self.chunks

    @property
    def window_beats(self) -> int:
        """Output beats of a window, all passes."""
        return self.kernel[0] * self.kernel[1] * self.chunks * self.passes

    @property
    def windows(self) -> int:
        return self.out[0] * self.out[1]

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns from the first to the last pixel of a window."""
        return (self.kernel[0] - 1) * self.dilation[0], (self.kernel[1] - 1) * self.dilation[1]

    @property
    def last(self) -> tuple[int, int]:
        """First row and column of the last window, plus padding."""
        return (self.out[0] - 1) * self.stride[0], (self.out[1] - 1) * self.stride[1]

    @property
    def released(self) -> str:
        """What the end of a window releases: "pixel", and "row" or "frame" where padding makes windows step back."""
        row = self.size[1]
        next_y = self.stride[0] * row - self.last[1]
        next_frame = (self.size[0] - self.last[0]) * row - self.last[1]
        if next_y >= 0 and next_frame >= 0:
            return "pixel"
        return "row" if self.size[0] >= self.last[0] else "frame"

    @property
    def least_depth(self) -> int:
        """Least DEPTH in beats: K - 1 rows plus K pixels (rows or the frame where those are what is released)."""
        row = self.size[1]
        match self.released:
            case "pixel":
                pixels = self.span[0] * row + self.span[1] + 1
            case "row":
                pixels = (self.span[0] + 1) * row
            case _:
                pixels = self.size[0] * row
        return pixels * self.chunks

    def check(self) -> None:
        """Raises ConfigError if a window lies in the padding altogether, or a size is not positive."""
        if min(self.chunks, *self.size, *self.kernel, *self.stride, *self.dilation, *self.out, self.passes) < 1:
            raise ConfigError(f"{self}: sizes, strides, dilations and passes must be at least 1")
        if self.groups < 1 or self.chunks % self.groups:
            raise ConfigError(f"{self}: {self.groups} groups do not divide {self.chunks} beats of a pixel")
        for axis, name in enumerate(("rows", "columns")):
            if self.pad[axis] > self.span[axis] or self.last[axis] >= self.size[axis] + self.pad[axis]:
                raise ConfigError(
                    f"a window of {self.span[axis] + 1} {name} lies in the padding of an image of {self.size[axis]} "
                    f"{name} altogether (padding {self.pad[axis]}, last window at {self.last[axis] - self.pad[axis]});"
                    " use less padding than the kernel is wide"
                )


def ring_words(depth: int, data_bits: int, style: int) -> int:
    """Words of memory that hwq_window takes for DEPTH: a power of two where that costs nothing, else whole LUT columns.

    style as hwq_ram. Same rule as RING in the RTL.
    """
    bits = max(1, (depth - 1).bit_length())
    luts = style == 1 or (style == 0 and (depth <= 64 or data_bits * depth < 8192))
    columns = -(-depth // 64)
    free = columns == -(-(1 << bits) // 64) if luts else bits <= 10
    if (style != 3 and free) or depth == 1:
        return 1 << bits
    return 64 * columns if luts else depth


def depth_to_space(chunks: int, size: tuple[int, int], block: int) -> Window:
    """hwq_window as DepthToSpace: [H, W, B * B * C] -> [H * B, W * B, C], `chunks` beats for C channels.

    The B pixels of an output row that one input pixel holds are a pixel here; a window is an output row. Two rows of
    the input (2 * least_depth, about) keep full rate.
    """
    h, w = size
    return Window(block * chunks, (h, w * block), (1, w), dilation=(1, block), out=(h, block))


@lru_cache(maxsize=64)
def need(w: Window) -> Int64:
    """Input beat that each output beat of a frame carries or waits for, int64 [windows * window_beats]; -1: none.

    Padding waits for nothing, but for the frame's first output beat, which waits for its first input beat.
    """
    (oh, ow), (kh, kw) = w.out, w.kernel
    y = np.arange(oh)[:, None] * w.stride[0] + np.arange(kh) * w.dilation[0] - w.pad[0]  # [OH, KH]
    x = np.arange(ow)[:, None] * w.stride[1] + np.arange(kw) * w.dilation[1] - w.pad[1]  # [OW, KW]
    pixel = y[:, None, :, None] * w.size[1] + x[None, :, None, :]  # [OH, OW, KH, KW]
    inside = ((y >= 0) & (y < w.size[0]))[:, None, :, None] & ((x >= 0) & (x < w.size[1]))[None, :, None, :]
    first = np.where(inside, pixel * w.chunks, -1).reshape(w.windows, 1, kh * kw)
    chunk = np.arange(w.chunks)
    beats = np.where(first < 0, -1, first + chunk[:, None]).reshape(w.windows, w.groups, -1, kh * kw)
    beats = beats.transpose(0, 1, 3, 2)[:, :, None]  # [windows, groups, 1, K, chunks / groups]
    table = np.repeat(beats, w.passes, axis=2).reshape(-1).astype(np.int64)
    table[0] = max(table[0], 0)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=64)
def dead(w: Window) -> Int64:
    """Number of output beats, from the frame's first, after which each input beat of a frame is released.

    int64 [frame_beats]; more than windows * window_beats: in the next frame. A slot is free the cycle after.
    """
    (oh, ow), row, c = w.out, w.size[1], w.chunks
    oy, ox = np.arange(oh)[:, None] * w.stride[0], np.arange(ow)[None, :] * w.stride[1]
    match w.released:
        case "pixel":
            start = ((oy - w.pad[0]) * row + ox - w.pad[1]) * c
        case "row":
            start = np.broadcast_to((oy - w.pad[0]) * row * c, (oh, ow))
        case _:
            start = np.zeros((oh, ow), dtype=np.int64)
    flat = start.reshape(-1)
    frames = 3 + max(0, -int(flat[0])) // w.frame_beats
    kept = (flat + w.frame_beats * np.arange(frames)[:, None]).reshape(-1)  # first beat kept while window i is sent
    table = np.searchsorted(kept, np.arange(w.frame_beats), side="right").astype(np.int64) * w.window_beats
    table.setflags(write=False)
    return table


# ---- hwq_slide: whole pixels, several taps a beat --------------------------------------------------------------------


def in_beats(w: Window, pixels: int) -> Window:
    """What hwq_slide with PIXELS = `pixels` does, in columns of so many pixels: windows side by side are one, which
    reaches back over whole columns.
    """
    if pixels == 1:
        return w
    abreast = pixels // w.stride[1]
    left = -(-w.pad[1] // pixels)
    first = ((abreast - 1) * w.stride[1] + w.span[1] - w.pad[1]) // pixels
    return replace(
        w,
        size=(w.size[0], w.size[1] // pixels),
        kernel=(w.kernel[0], first + left + 1),
        stride=(w.stride[0], 1),
        dilation=(w.dilation[0], 1),
        pad=(w.pad[0], left),
        out=(w.out[0], w.out[1] // abreast),
    )


def scan(w: Window) -> tuple[int, int]:
    """Rows and columns that hwq_slide scans: the image, padding before every row, and what windows see behind it."""
    end = [w.span[i] - w.pad[i] + w.last[i] for i in range(2)]  # last pixel of the last window
    return max(w.size[0], end[0] + 1), max(w.size[1] + w.pad[1], end[1] + 1, 2)


def real_steps(w: Window) -> Int64:
    """Step of the scan that takes each pixel of a frame, int64 [H * W]."""
    y, x = np.divmod(np.arange(w.size[0] * w.size[1]), w.size[1])
    return (y * scan(w)[1] + x).astype(np.int64)


def complete(w: Window) -> Int64:
    """Step of the scan that completes each window of a frame, int64 [windows]."""
    y, x = np.divmod(np.arange(w.windows), w.out[1])
    y, x = (a * w.stride[i] + w.span[i] - w.pad[i] for i, a in enumerate((y, x)))
    return (y * scan(w)[1] + x).astype(np.int64)


def slide_ring(w: Window) -> int:
    """Words of KH - 1 pixels in the ring of hwq_slide, 0 without one (KH = 1). Same rule as RING in the RTL."""
    if w.kernel[0] == 1:
        return 0
    rows = w.dilation[0] * scan(w)[1]
    least = max(1, rows - w.span[1] - 1)
    power = 1 << (least - 1).bit_length()
    return power if power < rows else least


def slide_cycles(w: Window, beats: int) -> int:
    """Cycles between frames of hwq_slide that sends `beats` a window (all passes), where nothing makes it wait.

    The columns hold one window while another is sent, so that a window takes as long as its beats, or as the scan
    takes to the next one if that is longer: at the start of a frame and between rows.
    """
    done = complete(w)
    rows, cols = scan(w)
    steps = np.diff(done, append=done[0] + rows * cols)
    return int(np.maximum(steps, beats).sum())
