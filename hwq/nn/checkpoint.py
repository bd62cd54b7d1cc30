"""Checkpoints: everything that makes a resumed run end in the same bits as an uninterrupted one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwq import record
from hwq.errors import ConfigError, ModelError

State = dict[str, Tensor]


def snapshot(net: nn.Module) -> State:
    """A copy of all parameters and buffers."""
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


def save_torch(path: Path, body: dict[str, Any]) -> None:
    """torch.save under a temporary name, then rename: an interrupt leaves the old file whole."""
    buffer = io.BytesIO()
    torch.save(body, buffer)
    record.write_atomic(path, buffer.getvalue())


def save_checkpoint(
    path: Path,
    config_hash: str,
    epoch: int,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: float,
    best_state: State,
    device: torch.device,
) -> None:
    """Write the state at the end of an epoch; `epoch` counts the epochs done."""
    rng = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        rng["cuda"] = torch.cuda.get_rng_state(device)
    save_torch(
        path,
        {
            "schema_version": record.SCHEMA_VERSION,
            "config_hash": config_hash,
            "epoch": epoch,
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "best": best,
            "best_state": best_state,
            "rng": rng,
        },
    )


def save_final(path: Path, net: nn.Module) -> None:
    """Add the finished net (best epoch, statistics re-estimated) to a checkpoint, as `final`."""
    body = torch.load(path, map_location="cpu", weights_only=True)
    save_torch(path, {**body, "final": net.state_dict()})


def load_checkpoint(
    path: Path,
    config_hash: str,
    net: nn.Module,
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
    device: torch.device,
) -> tuple[torch.optim.Optimizer, int, float, State]:
    """Restore net, random generators and optimizer; returns (optimizer, epochs done, best, best state)."""
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        found = body["config_hash"]
    except Exception as e:  # torch raises many kinds for a damaged file
        raise ModelError(
            f"{path}: damaged checkpoint ({type(e).__name__}); delete it to start over"
        ) from None
    if found != config_hash:
        raise ConfigError(
            f"{path} belongs to another recipe or seed; choose another output folder, or start over "
            "without resuming"
        )
    net.load_state_dict(body["net"])
    optimizer = optimizer_of(net)  # after the net: loading replaces the learned scales of Brevitas
    optimizer.load_state_dict(body["optimizer"])
    torch.set_rng_state(body["rng"]["cpu"])
    if device.type == "cuda" and "cuda" in body["rng"]:
        torch.cuda.set_rng_state(body["rng"]["cuda"], device)
    return optimizer, body["epoch"], body["best"], {k: v.to(device) for k, v in body["best_state"].items()}
