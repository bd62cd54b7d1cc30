"""Training: read `train` and `fit` top to bottom.

Data are tensors in memory; the learning rate is a function of the step; every epoch ends with an
atomically written checkpoint that holds all state, so an interrupted run continues to a bit-identical
result. The best epoch is chosen on the validation split; the test set is looked at once, at the end.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from hwq import record
from hwq.data.plugin import resolve
from hwq.errors import ConfigError
from hwq.nn.checkpoint import load_checkpoint, save_checkpoint, save_final, save_torch, snapshot
from hwq.nn.evaluate import accuracy
from hwq.nn.export import save_model
from hwq.nn.hooks import Hooks, param_groups
from hwq.nn.images import Images
from hwq.nn.layers import NORMS
from hwq.nn.prepare import Prepared, build, load_float, prepare, take_float
from hwq.nn.quant import calibrate
from hwq.nn.recipe import Recipe, Train, hash_of, load_recipe


def train(
    recipe: str | Path | Recipe,
    *,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    seed: int | None = None,
    overrides: dict[str, Any] | None = None,
    out: Path | None = None,
    resume: bool = True,
    progress: bool = True,
    threads: int = 1,
    baseline: bool = True,
    cache_dir: Path | None = None,
) -> Path:
    """Train a recipe and write its model directory (docs/architecture.md); returns the directory.

    out: default runs/<name>. resume: go on from the checkpoint in `out`. baseline: also train the same net
    in float, once for all seeds (kept in `cache_dir`). threads: of the CPU; the result of a seed depends on
    their number. Raises ConfigError, DataError, ModelError.
    """
    r = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    if seed is not None:
        r = r.model_copy(update={"train": r.train.model_copy(update={"seed": seed})})
    run = Path("runs") / r.name if out is None else Path(out)
    dev = _device(device)
    with _threads(threads):
        data = prepare(r, data_dir, dev)
        run.mkdir(parents=True, exist_ok=True)  # now: a place that can't be written shows before the work

        needs_float = baseline or r.train.init == "float" or r.train.distill
        teacher = (
            _baseline(r, data, dev, cache_dir or Path.home() / ".cache" / "hwq", progress) if needs_float else None
        )
        accuracy_float = accuracy(teacher, data.test.x, data.test.y, r.head) if teacher else None

        torch.manual_seed(r.train.seed)
        net = build(r, data.frame).to(dev)
        if teacher and r.train.init == "float":
            take_float(net, teacher.state_dict(), "init = 'float'")
        elif r.train.init:
            load_float(net, Path(r.train.init), dev)
        calibrate(net, data.train.x[: r.train.calibration])
        best_validation = fit(
            net, data, r.train, r.head, run / "checkpoint.pt", r.config_hash(), resume, progress, r.name, teacher
        )

        (run / "model.onnx").unlink(missing_ok=True)  # a model of an earlier recipe must not meet these files
        save_final(run / "checkpoint.pt", net)
        record.write_atomic(run / "recipe.toml", r.to_toml())
        record.write_atomic(run / "encoding.json", data.encoding.to_json())
        record.save(run / "record.json", _records(r, net, data, best_validation, accuracy_float))
        names = [str(n.name) for n in r.named_layers()]
        save_model(net, run / "model.onnx", data.frame, r.head, names)  # last: a run that has it is whole
    return run


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch computes with `count` CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    net: nn.Module,
    data: Prepared,
    t: Train,
    head: str,
    checkpoint: Path | None,
    config_hash: str = "",
    resume: bool = True,
    progress: bool = False,
    label: str = "",
    teacher: nn.Module | None = None,
) -> float:
    """Train `net` in place to its best epoch; returns that epoch's validation accuracy in per cent.

    teacher: a float net whose logits are learned too where the recipe says `distill`.
    """
    x, y = data.train.x, data.train.y
    steps = math.ceil(len(x) / t.batch)
    if checkpoint and resume and checkpoint.exists():
        optimizer, start, best, best_state = load_checkpoint(
            checkpoint, config_hash, net, lambda n: _optimizer(n, t), x.device
        )
    else:
        optimizer, start, best, best_state = _optimizer(net, t), 0, -1.0, snapshot(net)
    loss_of, hooks = _loss(t, teacher), Hooks(net)
    autocast = partial(torch.autocast, x.device.type, torch.bfloat16, enabled=_half(t, x.device))

    with _bar(progress) as bar:
        task = bar.add_task(label, total=t.epochs * steps, completed=start * steps, note="")
        for epoch in range(start, t.epochs):
            net.train()
            hooks.begin_epoch(epoch / t.epochs)
            random = torch.Generator().manual_seed(hash_seed(t.seed, epoch))
            order = torch.randperm(len(x), generator=random).to(x.device)
            for i, pick in enumerate(order.split(t.batch)):
                if len(pick) == 1:
                    continue  # BatchNorm needs two frames
                factor = lr_factor(t, epoch * steps + i, steps)
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * factor
                frames = x.augmented(pick, t.augment, random) if t.augment else x[pick]
                with autocast():
                    out = net(frames)
                loss = loss_of(out.float(), y[pick], frames) + hooks.penalty()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                hooks.project()
                bar.advance(task)

            validation = accuracy(net, data.validation.x, data.validation.y, head)
            if validation >= best:  # of equal epochs the later one: its learning rate is lower
                best, best_state = validation, snapshot(net)
            if checkpoint:
                save_checkpoint(checkpoint, config_hash, epoch + 1, net, optimizer, best, best_state, x.device)
            bar.update(task, note=f"loss {loss.item():.4f}  validation {validation:.2f} %  best {best:.2f} %")

    net.load_state_dict(best_state)
    if t.bn_reestimate:
        reestimate_norms(net, x)
        again = accuracy(net, data.validation.x, data.validation.y, head)
        if again < best:
            net.load_state_dict(best_state)
        best = max(best, again)
    net.eval()
    return best


def lr_factor(t: Train, step: int, steps_per_epoch: int) -> float:
    """Learning rate at a step as a fraction of t.lr."""
    total = t.epochs * steps_per_epoch
    if t.schedule == "constant":
        return 1.0
    if t.schedule == "step":
        return float(t.gamma ** sum(step // steps_per_epoch >= m for m in t.milestones))
    warm = int(t.warmup * total) if t.schedule == "onecycle" else 0
    if step < warm:
        return 0.04 + 0.96 * step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def hash_seed(seed: int, epoch: int) -> int:
    """One seed for the order of one epoch."""
    return (seed * 1_000_003 + epoch) % (1 << 62)


def sqr_hinge(out: Tensor, y: Tensor) -> Tensor:
    """Mean of max(0, 1 - out * t)^2 with t = +1 for the class and -1 elsewhere (Courbariaux et al. 2016)."""
    if out.shape[1] == 1:
        t = y[:, None].to(out.dtype) * 2 - 1
    else:
        t = torch.full_like(out, -1.0).scatter_(1, y[:, None], 1.0)
    return (1 - out * t).clamp_min(0).square().mean()


def cross_entropy(out: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy; smoothing: the share of the target that goes to all classes alike."""
    return nn.functional.cross_entropy(out, y, label_smoothing=smoothing)


def distillation(out: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(wanted / T) || softmax(out / T)), mean over the batch (Hinton et al. 2015)."""
    a, b = (nn.functional.log_softmax(v / temperature, 1) for v in (out, wanted))
    return nn.functional.kl_div(a, b, reduction="batchmean", log_target=True) * temperature**2


def _loss(t: Train, teacher: nn.Module | None) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """loss(logits, labels, frames) as the recipe wants it."""
    plain = sqr_hinge if t.loss == "sqr_hinge" else partial(cross_entropy, smoothing=t.label_smoothing or 0.0)
    if t.distill is None or teacher is None:
        return lambda out, y, _: plain(out, y)
    weight, temperature, wise = t.distill.weight, t.distill.temperature, teacher.eval()

    def loss(out: Tensor, y: Tensor, frames: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = wise(frames)
        return (1 - weight) * plain(out, y) + weight * distillation(out, wanted, temperature)

    return loss


def _half(t: Train, device: torch.device) -> bool:
    """Whether matrix ops of the training run in bfloat16; never on a CPU that would have to emulate it."""
    if device.type == "cuda":
        return t.amp is not None
    return t.amp == "bfloat16" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


@torch.no_grad()
def reestimate_norms(net: nn.Module, x: Tensor | Images, batch: int = 1000) -> None:
    """Replace moving averages of normalization layers by averages over all of `x`, without dropout."""
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, NORMS)]
    kept = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    for part in x.split(batch):
        if len(part) > 1:
            net(part)
    for m, momentum in zip(norms, kept, strict=True):
        m.momentum = momentum
        m.eval()


def _baseline(r: Recipe, data: Prepared, device: torch.device, cache_dir: Path, progress: bool) -> nn.Module | None:
    """The same net in float, trained once per topology and data and kept in the cache."""
    cls = resolve(r.net, "net")
    if not hasattr(cls, "from_recipe") and "quantized" not in inspect.signature(cls).parameters:
        return None  # a user's net without a float form
    shape = [(n.name, n.out, n.act, n.bias, n.norm, n.dropout) for n in r.named_layers()]
    digest = hash_of(
        [
            *_image_training(r),
            r.data,
            r.encoding,
            r.net,
            r.net_args,
            r.head,
            shape,
            r.float_.model_dump(),
            r.train.batch,
            r.train.loss,
            r.train.validation,
            r.train.split_seed,
            len(data.train.x),
            len(data.test.x),
        ]
    )
    path = cache_dir / "float" / f"{digest}.pt"
    torch.manual_seed(1)
    net = build(r, data.frame, quantized=False).to(device)
    if path.is_file():
        load_float(net, path, device)
    else:
        part = path.with_suffix(".part")
        t = r.train.model_copy(
            update={
                "epochs": r.float_.epochs,
                "lr": r.float_.lr,
                "seed": 1,
                "optimizer": "adam",
                "schedule": "onecycle",
                "clip_weights": 0.0,
                "distill": None,
            }
        )
        fit(net, data, t, r.head, part, digest, progress=progress, label=f"{r.name} float")
        save_torch(path, {"state_dict": net.state_dict()})
        part.unlink(missing_ok=True)
    return net.eval()


def _image_training(r: Recipe) -> list[Any]:
    """What the float baseline of an image net depends on, beyond what that of any net does."""
    if not r.images:
        return []
    keep = {"kind", "from_", "join", "kernel", "stride", "pad", "dilation", "groups", "factor", "share"}
    layers = [n.model_dump(include=keep, exclude_none=True) for n in r.named_layers()]
    limits = [(n.act_scale, n.act_limit) for n in r.named_layers() if n.act == "signed"]
    t = r.train
    return [layers, limits, t.augment and t.augment.model_dump(), t.label_smoothing, t.amp]


def _records(
    r: Recipe, net: nn.Module, data: Prepared, validation: float, accuracy_float: float | None
) -> list[record.Record]:
    common = {"source": "train", "tool": "brevitas", "config_hash": r.config_hash(), "seed": r.train.seed}
    out = [
        record.make("accuracy", accuracy(net, data.test.x, data.test.y, r.head), **common),
        record.make("accuracy_validation", validation, unit="%", **common),
        record.make("frames", len(data.test.x), **common),
        record.make("epochs", r.train.epochs, unit="epochs", **common),
    ]
    if accuracy_float is not None:
        out.append(record.make("accuracy_float", accuracy_float, **common))
    named = [(n, m) for n, m in net.named_modules() if hasattr(m, "weight_quant") and hasattr(m, "weight")]
    names = r.matrix_names() or [n for n, _ in named]
    bits = [int(m.quant_weight().bit_width) for _, m in named]
    out += [record.make("weight_bits", b, scope=n, **common) for n, b in zip(names, bits, strict=True)]
    sizes = [m.weight.numel() for _, m in named]
    mean = sum(b * s for b, s in zip(bits, sizes, strict=True)) / max(1, sum(sizes))
    return [*out, record.make("weight_bits", mean, **common)]


def _optimizer(net: nn.Module, t: Train) -> torch.optim.Optimizer:
    groups = param_groups(net, t.lr, t.scale_lr)
    if t.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=t.lr, momentum=t.momentum, weight_decay=t.weight_decay)
    kind = torch.optim.Adam if t.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=t.lr, weight_decay=t.weight_decay)


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"device '{name}': expected 'cpu' or 'cuda'")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': torch finds no CUDA device here; use --device cpu")
    return torch.device(name)


def _bar(progress: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not (progress and console.is_terminal),
    )
