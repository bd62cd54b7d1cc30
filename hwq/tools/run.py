"""The one place that starts external processes: argv in, `Completed` out, or a ToolError."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwq.errors import ToolFailed, ToolMissing

TAIL_LINES = 40
TIMED_OUT = 124  # the exit code reported for a process that ran past its limit, as timeout(1) does


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that ended: stdout and stderr interleaved, exit code, wall-clock seconds."""

    stdout: str
    code: int
    seconds: float


_running: set[subprocess.Popen[str]] = set()


def run(argv: Sequence[str | Path], cwd: str | Path, env: Mapping[str, str] | None = None,
        timeout_s: float | None = None, log: str | Path | None = None, check: bool = True) -> Completed:
    """Run `argv` in `cwd` and wait for it; output goes to `log` too if one is named.

    env: the whole environment of the process (None: inherit). The process gets a group of its own, and the
    group is killed on a timeout or an interrupt, so no compiler is left behind. Raises ToolMissing if argv[0]
    can't be started, ToolFailed on a non-zero exit (unless `check` is false) and on a timeout.
    """
    args = [str(a) for a in argv]
    start = time.monotonic()
    process = _start(args, cwd, env)
    _running.add(process)
    try:
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        out = _stop(process)
        _write_log(log, out)
        raise ToolFailed(args, TIMED_OUT, _tail(out), f"stopped after {timeout_s:g} s") from None
    except BaseException:
        _stop(process)
        raise
    finally:
        _running.discard(process)
    _write_log(log, out)
    if check and process.returncode != 0:
        hint = f"full log: {log}" if log is not None else ""
        raise ToolFailed(args, process.returncode, _tail(out), hint)
    return Completed(out, process.returncode, time.monotonic() - start)


def stop_all() -> None:
    """Kill every process that `run` waits for, in any thread: an interrupt reaches the main thread only."""
    for process in tuple(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_all(argvs: Sequence[Sequence[str | Path]], cwd: str | Path,
            env: Mapping[str, str] | None = None) -> list[Completed]:
    """Run several commands at the same time in `cwd` and wait for all, whatever their exit codes.

    None is left behind if one can't be started (ToolMissing) or the wait is interrupted.
    """
    start = time.monotonic()
    processes: list[subprocess.Popen[str]] = []
    done = []
    try:
        for argv in argvs:
            processes.append(_start([str(a) for a in argv], cwd, env))  # noqa: PERF401  (kept for the clean-up)
        for process in processes:
            out, _ = process.communicate()
            done.append(Completed(out, process.returncode, time.monotonic() - start))
    except BaseException:
        for process in processes:
            if process.poll() is None:
                _stop(process)
        raise
    return done


def _start(args: list[str], cwd: str | Path, env: Mapping[str, str] | None) -> subprocess.Popen[str]:
    """A process in a group of its own, its output on one pipe."""
    try:
        return subprocess.Popen(args, cwd=cwd, env=None if env is None else dict(env), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                errors="replace", start_new_session=True)
    except (FileNotFoundError, PermissionError) as e:
        if not Path(cwd).is_dir():
            raise ToolFailed(args, 127, f"working directory {cwd} does not exist") from e
        raise ToolMissing(f"{args[0]} can't be started ({e.strerror}); see 'hwq doctor'") from e


def _stop(process: subprocess.Popen[str]) -> str:
    """Kill the process group and return what it had printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def _write_log(log: str | Path | None, text: str) -> None:
    if log is not None:
        Path(log).write_text(text, encoding="utf-8")


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL_LINES:])
