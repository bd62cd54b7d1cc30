"""The command line: parse, call the flow, print, exit.

Exit codes: 0 done, 1 a check failed, 2 bad input (unknown options included), 3 a tool is missing or failed (a
full disk and errors inside hwq included), 130 interrupted or terminated. No traceback reaches a user: an
unexpected error leaves it in a log file. The environment (HWQ_DATA, HWQ_CACHE) is read once, here. Heavy
imports wait in the commands.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwq import __version__
from hwq.errors import ConfigError, HwqError

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
BACKENDS = ("rtl",)


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says: where data sets lie and where caches go."""

    data_dir: Path | None
    cache_dir: Path


def read_environment(env: dict[str, str]) -> Config:
    """HWQ_DATA: folder of data sets. HWQ_CACHE: folder of caches (default: hwq in the user's)."""
    data = env.get("HWQ_DATA")
    cache = env.get("HWQ_CACHE") or str(Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwq")
    return Config(Path(data).expanduser() if data else None, Path(cache).expanduser())


app = typer.Typer(
    name="hwq",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train quantized networks, export them to FPGA hardware, prove every integer in simulation.",
    epilog="Example: hwq train digits-mlp && hwq export runs/digits-mlp --target pynq-z2 && "
    "hwq sim build/digits-mlp-pynq-z2",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Run directory, shipped trained model, or QONNX file (.onnx, .onnx.xz)."
    ),
]
BuildDir = Annotated[Path, typer.Argument(metavar="BUILD", help="Build directory made by 'hwq export'.")]


def _quiet_imports() -> None:
    """Brevitas warns at import of an optional kernel package that hwq has no use for."""
    warnings.filterwarnings("ignore", message="fast_hadamard_transform")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hwq {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    ctx.obj = read_environment(dict(os.environ))


# ---- what is there
# ---------------------------------------------------------------------------------------------------


@app.command(epilog="Example: hwq doctor")
def doctor(as_json: Json = False) -> None:
    """Show every external tool: version, place, whether hwq was tested with it, and the fix if not."""
    from hwq.tools import versions

    findings = versions.find_all()
    rows = [
        {
            "tool": f.tool.name,
            "status": f.status,
            "version": f.version,
            "tested": f.tool.tested or "any",
            "role": f.tool.role,
            "where": f.where,
            "purpose": f.tool.purpose,
            "fix": "" if f.status == "ok" else f.tool.fix,
        }
        for f in findings
    ]
    blocked = [f.tool.name for f in findings if f.blocks]
    if as_json:
        _print_json({"ok": not blocked, "tools": rows})
    else:
        columns = ("tool", "status", "version", "tested", "role", "purpose", "where")
        _print_rows("Tools", columns, rows)
        for row in rows:
            if row["fix"]:
                _console().print(
                    f"{row['tool']} ({row['role']}): {row['status']}; fix: {row['fix']}", markup=False
                )
        _console().print(
            "a needed tool is missing or untested: " + ", ".join(blocked)
            if blocked
            else "everything hwq needs is there",
            markup=False,
        )
    raise typer.Exit(3 if blocked else 0)


@app.command(epilog="Example: hwq models")
def models(as_json: Json = False) -> None:
    """List the shipped recipes and trained models."""
    from hwq.flow import catalogue

    rows = [asdict(m) for m in catalogue.shipped_models()]
    _show(rows, as_json, "Models (train a recipe with 'hwq train NAME'; export a trained one by its name)")


@app.command(epilog="Example: hwq targets --json")
def targets(as_json: Json = False) -> None:
    """List the boards and what their parts offer."""
    from hwq import targets as boards

    rows = [boards.load(name).model_dump() for name in boards.names()]
    _show(rows, as_json, "Targets (add one: a .toml of the same form, given as --target FILE.toml)")


@app.command(epilog="Example: hwq methods")
def methods(as_json: Json = False) -> None:
    """List the quantization methods a recipe can name."""
    _quiet_imports()
    from hwq.nn.quant import METHODS

    rows = [
        {"method": name, "what": (type(m).__doc__ or "").strip().splitlines()[0]}
        for name, m in METHODS.items()
    ]
    _show(rows, as_json, 'Methods (method = "..." in a recipe; or your own "package.module:Class")')


# ---- the road
# --------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: hwq train digits-mlp --set train.epochs=30 -o runs/quick")
def train(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Shipped recipe or a .toml file.")],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (or HWQ_DATA).")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory (default: runs/RECIPE).")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; the result of a seed depends on their number.")
    ] = 1,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = True,
    as_json: Json = False,
) -> None:
    """Train a recipe: checkpoint, model.onnx (QONNX), encoding and metrics in a run directory."""
    changes = parse_overrides(overrides or [])
    config: Config = ctx.obj
    _quiet_imports()
    from hwq.nn.train import train as start

    run = start(
        recipe,
        data_dir=data or config.data_dir,
        device=device,
        seed=seed,
        overrides=changes,
        out=out,
        resume=resume,
        threads=threads,
        progress=not as_json and sys.stderr.isatty(),
        cache_dir=config.cache_dir,
    )
    from hwq import record

    records = record.load(run / "record.json")
    if as_json:
        _print_json({"run": str(run), "records": [asdict(r) for r in records]})
        return
    for r in records:
        if r.scope == "top" and r.unit:
            _console().print(f"{r.metric:<22} {r.value:>10g} {r.unit}", markup=False)
    _next(run, f"hwq export {run} --target pynq-z2")


@app.command(epilog="Example: hwq export runs/digits-mlp --target pynq-z2 --fps 100000")
def export(
    ctx: typer.Context,
    model: Model,
    target: Annotated[str, typer.Option(help="Board ('hwq targets') or a .toml file.")],
    fps: Annotated[float | None, typer.Option(help="Frames per second to reach.")] = None,
    latency: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Most milliseconds a frame may take through the empty design."),
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Fraction of the part to use, 0 to 1.")] = None,
    folding: Annotated[Path | None, typer.Option(help="A folding.toml, as every build holds one.")] = None,
    clock: Annotated[float | None, typer.Option(metavar="MHZ", help="Clock (default: the board's).")] = None,
    backend: Annotated[str, typer.Option(help="What to write: rtl.")] = "rtl",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Build directory (default: build/MODEL-TARGET).")
    ] = None,
    allow_overflow: Annotated[
        bool, typer.Option("--allow-overflow", help="Write designs that do not fit the part.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a trained model into a build directory: RTL, memories, benches, estimate."""
    if backend not in BACKENDS:
        raise ConfigError(
            f"--backend {backend} is not available in hwq {__version__}; available: {', '.join(BACKENDS)}"
        )
    from hwq.flow.export import export as write

    with _busy("exporting", quiet=as_json):
        build = write(
            model,
            target=target,
            fps=fps,
            latency_ms=latency,
            budget=budget,
            folding=folding,
            clock_mhz=clock,
            out=out,
            allow_overflow=allow_overflow,
        )
    _show_build(build, as_json, layers=True)
    _next(build, f"hwq sim {build}", quiet=as_json)


@app.command(epilog="Example: hwq run runs/digits-mlp --input frames.npy -o classes.npy")
def run(
    ctx: typer.Context,
    model: Model,
    frames: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE.npy", help="Frames [N, ...] of raw features (default: the test split)."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (or HWQ_DATA).")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.npy", help="Where to write the output.")
    ] = None,
    encoded: Annotated[
        bool, typer.Option("--encoded", help="Frames are encoded already: skip the model's feature encoding.")
    ] = False,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="ENGINE",
            help="Count where exact, float32, float64, brevitas-float32 or brevitas-float64 decides otherwise; "
            "exit 1 if one place is not a tie; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Integer inference on the CPU, equal to the hardware in every bit."""
    import numpy as np

    config: Config = ctx.obj
    from hwq.data.files import read_npy
    from hwq.flow.against import ENGINES, against, check
    from hwq.flow.frames import accuracy
    from hwq.flow.infer import int_graph, load_frames
    from hwq.flow.infer import run as infer
    from hwq.flow.model import load_model

    unknown = sorted(set(engines or ()) - set(ENGINES))
    if unknown:
        raise ConfigError(f"--against {', '.join(unknown)}: not an engine; there are {', '.join(ENGINES)}")
    labels = None
    if frames is not None:
        x = read_npy(frames, "--input")
        loaded = load_model(model)
    else:
        if encoded:
            raise ConfigError("--encoded: the test split is raw; give encoded frames with --input")
        loaded = load_model(model)
        x, labels = load_frames(loaded, data or config.data_dir)
    y = infer(loaded, x, encoded=encoded)
    outputs = y if isinstance(y, dict) else {"output": y}
    right = accuracy(int_graph(loaded), next(iter(outputs.values())), labels)
    summary: dict[str, Any] = {"frames": len(x)} | ({} if right is None else {"accuracy": right})
    if out is not None:
        _save_arrays(out, outputs)
        summary["output"] = str(out)
    with _progress("comparing", quiet=as_json or not engines) as advance:
        compared = [against(loaded, x, e, encoded=encoded, progress=advance) for e in dict.fromkeys(engines or ())]
    if as_json:
        if compared:
            summary["against"] = [asdict(c) for c in compared]
        elif out is None:
            summary["outputs"] = {name: v.tolist() for name, v in outputs.items()}
        _print_json(summary)
    else:
        for name, v in outputs.items() if out is None and not compared else ():
            typer.echo(f"{name} {list(v.shape)}\n{np.array2string(v, threshold=200)}")
        _console().print("; ".join(f"{k} {_cell(v)}" for k, v in summary.items()), markup=False)
        for c in compared:
            _print_rows(c.title(), list(c.rows()[0]), c.rows())
            for line in c.lines():
                _console().print(line, markup=False)
    for c in compared:
        check(c)


@app.command(epilog="Example: hwq sim build/digits-mlp-pynq-z2 --frames 100 --stall random")
def sim(
    ctx: typer.Context,
    build: BuildDir,
    frames: Annotated[str, typer.Option(metavar="N|all", help="How many frames.")] = "all",
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (or HWQ_DATA).")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE.npy", help="Frames to use instead of the data set."),
    ] = None,
    stall: Annotated[str, typer.Option(help="none, source, sink or random.")] = "none",
    seed: Annotated[int, typer.Option(help="Seed of stalls and of random frames.")] = 0,
    cocotb: Annotated[bool, typer.Option("--cocotb", help="Run the build's own cocotb bench too.")] = False,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write waves (.fst or .vcd).")] = None,
    replay: Annotated[Path | None, typer.Option(metavar="DIR", help="Replay a saved mismatch.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Processes.")] = os.cpu_count() or 1,
    as_json: Json = False,
) -> None:
    """Simulate every frame in RTL and compare every beat of every stream; exit 1 on a single difference."""
    count = _frame_count(frames)
    config: Config = ctx.obj
    from hwq.flow.simulate import simulate

    # HWQ_DATA is a place to look, not a demand: only --data makes a missing set an error.
    with _progress("simulating", quiet=as_json) as step:
        result = simulate(
            build,
            count,
            data_dir=data or _holding(config.data_dir),
            input=file,
            stall=stall,
            seed=seed,
            trace=trace,
            cocotb=cocotb,
            replay=replay,
            jobs=jobs,
            cache_dir=config.cache_dir / "sim",
            progress=lambda done, total: step(done, total, ""),
        )
    if as_json:
        body = {k: v for k, v in asdict(result).items() if k != "build"}
        _print_json({"build": str(build), **body})
        return
    _show_build(build, False, layers=False)
    _console().print(
        f"{result.frames} frames ({result.source}), {result.mismatches} mismatches in "
        f"{len(result.streams)} streams, {result.seconds:.1f} s{'; ' + result.bench if result.bench else ''}",
        markup=False,
    )
    _next(build, f"hwq synth {build}")


@app.command(epilog="Example: hwq synth build/digits-mlp-pynq-z2")
def synth(
    ctx: typer.Context,
    build: BuildDir,
    per_layer: Annotated[bool, typer.Option(help="Every layer out of context.")] = True,
    whole: Annotated[bool, typer.Option(help="The flattened whole.")] = True,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Yosys processes.")] = 2,
    as_json: Json = False,
) -> None:
    """Synthesize with Yosys: LUT, FF, BRAM, DSP per layer and whole; place and route for ECP5 targets."""
    config: Config = ctx.obj
    from hwq.flow.synth import synthesize

    with _progress("synthesizing", quiet=as_json) as step:
        records = synthesize(
            build,
            per_layer=per_layer,
            whole=whole,
            jobs=jobs,
            cache_dir=config.cache_dir / "synth",
            progress=step,
        )
    if as_json:
        _print_json({"build": str(build), "records": [asdict(r) for r in records]})
    else:
        _show_build(build, False, layers=per_layer)
        _next(build, f"hwq report {build} --html report.html")


@app.command(epilog="Example: hwq report build/digits-mlp-pynq-z2 --html report.html")
def report(
    build: BuildDir,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained HTML page.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show everything known of a build: accuracy, timing, resources, layers."""
    _show_build(build, as_json, layers=True)
    if html is not None:
        from hwq.flow.report import write_html

        write_html(build, html)
        if not as_json:
            _console().print(f"report written to {html}", markup=False)


@app.command(epilog="Example: hwq compare build/a build/b utilization.rpt --fail-on lut+2%")
def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUILD_OR_REPORT...", help="Builds, record files, reports of Vivado, Vitis, FINN, hls4ml."
        ),
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="METRIC+N%",
            help="Exit 1 if a design is worse than the first; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put designs side by side; with --fail-on, a regression gate."""
    from hwq.report.compare import compare as put
    from hwq.report.tables import comparison_table

    result = put(paths, fail_on or [])
    if as_json:
        _print_json(result.as_dict())
    else:
        _console().print(comparison_table(result))
    for failure in result.failures:
        _say(failure)
    raise typer.Exit(1 if result.failures else 0)


# ---- arguments
# -------------------------------------------------------------------------------------------------------


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` options to a mapping. Raises ConfigError naming every one that has no '='."""
    bad = [p for p in pairs if not p.partition("=")[0].strip() or "=" not in p]
    if bad:
        raise ConfigError(f"--set {', '.join(bad)}: expected KEY=VALUE, e.g. --set train.epochs=30")
    return {k.strip(): v.strip() for k, _, v in (p.partition("=") for p in pairs)}


def _frame_count(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"--frames {text}: expected a number of at least 1, or 'all'")
    return int(text)


def _holding(folder: Path | None) -> Path | None:
    return folder if folder is not None and folder.is_dir() else None


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """One array as .npy; several as .npz by output name."""
    import io

    import numpy as np

    from hwq.record import write_atomic

    buffer = io.BytesIO()
    if len(arrays) == 1:
        np.save(buffer, next(iter(arrays.values())))
    else:
        np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


# ---- printing
# --------------------------------------------------------------------------------------------------------


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:  # a pipe or a file: no wrapping to a terminal that is not there
        console = Console(stderr=stderr, highlight=False, width=200)
    return console


def _print_json(body: Any) -> None:
    typer.echo(json.dumps(body, indent=1, default=str))


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for c in columns:
        right = all(isinstance(r[c], int | float) for r in rows)
        table.add_column(c, justify="right" if right else "left", overflow="fold")
    for r in rows:
        table.add_row(*(_cell(r[c]) for c in columns))
    _console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    if as_json:
        _print_json(rows)
    else:
        _print_rows(title, list(rows[0]) if rows else [], rows)


def _show_build(path: Path, as_json: bool, layers: bool) -> None:
    from hwq.flow.report import capacity
    from hwq.report import tables
    from hwq.report.build import read_build

    build = read_build(path)
    rows = tables.summary(build, capacity(build.manifest))
    if as_json:
        _print_json(
            {
                "schema_version": 1,
                "build": str(path),
                "name": build.name,
                "summary": [asdict(r) for r in rows],
                "layers": tables.layer_rows(build),
                "totals": tables.total_rows(build),
                "notes": list(build.manifest.get("notes", [])),
                "records": [asdict(r) for r in build.records],
            }
        )
        return
    _console().print(tables.summary_table(build, rows))
    if layers:
        _console().print(tables.layers_table(tables.layer_rows(build), tables.total_rows(build)))
        for note in build.manifest.get("notes", []):
            _console().print(f"note: {note}", markup=False, highlight=False)


def _next(place: Path, command: str, quiet: bool = False) -> None:
    if not quiet:
        _console().print(f"{place} is done; next: {command}", markup=False)


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, or nothing where nobody watches."""
    console = _console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total, label: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, label: bar.update(
            task, completed=done, total=total, description=f"{what} {label}".strip()
        )


@contextmanager
def _busy(what: str, quiet: bool) -> Iterator[None]:
    console = _console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def _say(message: str) -> None:
    typer.echo(f"hwq: {message}", err=True)


# ---- start
# -----------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `hwq`: never lets a traceback out."""
    with _stoppable():
        _call(argv)


def _call(argv: Sequence[str] | None) -> None:
    try:
        app(args=list(argv) if argv is not None else None, prog_name="hwq")
    except SystemExit as e:
        if e.code == INTERRUPTED:
            _interrupted()
        raise
    except KeyboardInterrupt:
        _interrupted()
        sys.exit(INTERRUPTED)
    except HwqError as e:
        _say(str(e))
        sys.exit(e.exit_code)
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = "free some space and run the same command again" if full else "choose another place or fix this one"
        _say(f"{f'{e.filename}: ' if e.filename else ''}{e.strerror or e}; {way_out}")
        sys.exit(3 if full or e.errno == errno.EIO else 2)
    except Exception as e:
        _say(f"internal error: {type(e).__name__}: {e}\nthis is a bug in hwq; the traceback is in {_log(e)}")
        sys.exit(3)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, `kill` and a closed terminal raise KeyboardInterrupt, once: nothing interrupts the clean-up.

    A signal that is ignored (nohup) stays ignored. After an interrupt all stay ignored: the process is ending.
    """
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [s for s, handler in before.items() if handler is not signal.SIG_IGN]

    def stop(*_: object) -> None:
        for s in heard:
            signal.signal(s, signal.SIG_IGN)
        raise KeyboardInterrupt

    for s in heard:
        signal.signal(s, stop)
    try:
        yield
    finally:
        for s in heard:
            if signal.getsignal(s) is stop:
                signal.signal(s, before[s])


def _interrupted() -> None:
    _say("interrupted; nothing half-written is left, run the same command again")


def _log(error: BaseException) -> Path:
    """The traceback in a file of the cache folder, or in the working directory if that can't be written."""
    text = "".join(traceback.format_exception(error))
    name = f"hwq-error-{os.getpid()}.log"
    for folder in (read_environment(dict(os.environ)).cache_dir / "logs", Path.cwd()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"hwq {__version__}\n{' '.join(sys.argv)}\n{text}")
            return folder / name
        except OSError:
            continue
    return Path(name)


if __name__ == "__main__":
    main()
