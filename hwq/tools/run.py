"""The one place that starts external processes: argv in, `Completed` out, or a ToolError."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hwq.errors import ToolFailed, ToolMissing

TAIL_LINES = 40
GRACE_S = 5.0  # a stopped tool may take this long to remove its half-written files
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
    group is stopped on a timeout or an interrupt, so no compiler is left behind. Raises ToolMissing if argv[0]
    can't be started, ToolFailed on a non-zero exit (unless `check` is false) and on a timeout.
    """
    args = [str(a) for a in argv]
    start = time.monotonic()
    started: list[subprocess.Popen[str]] = []
    try:
        _start(args, cwd, env, started)
        process = started[0]
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        out = _stop(started)
        _write_log(log, out)
        raise ToolFailed(args, TIMED_OUT, _tail(out), f"stopped after {timeout_s:g} s") from None
    except BaseException:
        _stop(started)
        raise
    finally:
        _running.difference_update(started)
    _write_log(log, out)
    if check and process.returncode != 0:
        hint = f"full log: {log}" if log is not None else ""
        raise ToolFailed(args, process.returncode, _tail(out), hint)
    return Completed(out, process.returncode, time.monotonic() - start)


def stop_all() -> None:
    """Stop every process that `run` waits for, in any thread: an interrupt reaches the main thread only."""
    _send(tuple(_running), signal.SIGTERM)


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
            _start([str(a) for a in argv], cwd, env, processes)
        for process in processes:
            out, _ = process.communicate()
            done.append(Completed(out, process.returncode, time.monotonic() - start))
    except BaseException:
        _stop([p for p in processes if p.poll() is None])
        raise
    return done


def _start(args: list[str], cwd: str | Path, env: Mapping[str, str] | None,
           started: list[subprocess.Popen[str]]) -> None:
    """Append to `started` a process in a group of its own, its output on one pipe."""
    try:
        with _signals_held():
            process = subprocess.Popen(args, cwd=cwd, env=None if env is None else dict(env), text=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       errors="replace", start_new_session=True)
            started.append(process)
            _running.add(process)
    except (FileNotFoundError, PermissionError) as e:
        if not Path(cwd).is_dir():
            raise ToolFailed(args, 127, f"working directory {cwd} does not exist") from e
        raise ToolMissing(f"{args[0]} can't be started ({e.strerror}); see 'hwq doctor'") from e


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Handle signals after the block: an exception in the middle of a start would lose the new process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    caught: list[tuple[int, FrameType | None]] = []
    before = {s: h for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if callable(h := signal.getsignal(s))}
    for s in before:
        signal.signal(s, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
        for number, frame in caught[:1]:
            before[signal.Signals(number)](number, frame)


def _stop(processes: Sequence[subprocess.Popen[str]]) -> str:
    """End process groups and return what they had printed.

    They are asked first, so that make and g++ remove the object file they were writing: half of one would be
    taken as up to date by the next make.
    """
    _send(processes, signal.SIGTERM)
    text = ""
    for process in processes:
        try:
            text += process.communicate(timeout=GRACE_S)[0]
            _send([process], signal.SIGKILL)  # whoever of the group is still there
        except subprocess.TimeoutExpired:
            _send([process], signal.SIGKILL)
            text += process.communicate()[0]
    return text


def _send(processes: Sequence[subprocess.Popen[str]], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _write_log(log: str | Path | None, text: str) -> None:
    if log is not None:
        Path(log).write_text(text, encoding="utf-8")


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL_LINES:])
