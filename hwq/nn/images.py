"""Images for training: kept as bytes, encoded when a batch is taken, augmented on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hwq.nn.recipe import Augment


@dataclass(frozen=True, eq=False)
class Images:
    """Encoded images [N, channels, height, width] as a net takes them; slices like a float32 tensor.

    raw: uint8 to be looked up in `table` (float32 [256]), or float32 as it is where there is no table. Memory is
    channel last: the convolutions of CPUs and GPUs are quickest so.
    """

    raw: Tensor
    table: Tensor | None

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def shape(self) -> torch.Size:
        return self.raw.shape

    @property
    def device(self) -> torch.device:
        return self.raw.device

    def __getitem__(self, pick: Tensor | slice) -> Tensor:
        """float32 [n, channels, height, width]."""
        return self.encode(self.raw[pick])

    def split(self, batch: int) -> Iterator[Tensor]:
        """All images in order, `batch` at a time, as float32."""
        return (self.encode(part) for part in self.raw.split(batch))

    def encode(self, raw: Tensor) -> Tensor:
        """Bytes to the float32 the net takes, in channel-last memory."""
        if self.table is None:
            return raw.contiguous(memory_format=torch.channels_last)
        rows = raw.permute(0, 2, 3, 1)
        flat = self.table.index_select(0, rows.reshape(-1).int())
        return flat.view(rows.shape).permute(0, 3, 1, 2)

    def augmented(self, pick: Tensor, how: Augment, random: torch.Generator) -> Tensor:
        """`self[pick]` of changed images: float32 [n, channels, height, width]."""
        return self.encode(augment(self.raw[pick], how, random))


def augment(x: Tensor, how: Augment, random: torch.Generator) -> Tensor:
    """Shifted and mirrored copies of images [N, channels, height, width]; zeros come in at the edges.

    Every image draws its own vertical and horizontal shift in -crop..crop and, with `flip`, a mirror. random: a
    generator on the CPU, so that all devices draw the same. The result is channel last in memory.
    """
    n, _, height, width = x.shape
    rows = torch.arange(height).expand(n, -1)
    columns = torch.arange(width).expand(n, -1)
    if how.flip:
        mirrored = torch.rand(n, 1, generator=random) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if how.crop:
        shift = torch.randint(0, 2 * how.crop + 1, (2, n, 1), generator=random)
        rows, columns = rows + shift[0], columns + shift[1]
        x = torch.nn.functional.pad(x, (how.crop,) * 4)
    frames = x.permute(0, 2, 3, 1)
    every = torch.arange(n, device=x.device)[:, None, None]
    return frames[every, rows.to(x.device)[:, :, None], columns.to(x.device)[:, None, :]].permute(0, 3, 1, 2)
