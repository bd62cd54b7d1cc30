"""Every error a user can meet, and the exit code the command line gives it.

    HwqError                     exit 2 unless a subclass says otherwise
    +-- ConfigError              a recipe, target, folding or option that makes no sense
    +-- ModelError               a model file that is missing, corrupt or not what it says
    |   +-- UnsupportedOp        an operator outside the supported list
    +-- DataError                a data set that has the wrong shape or range
    |   +-- DataMissing          its files are not there
    +-- VerifyError              a Graph that breaks a rule of its stage (lists every violation)
    +-- FoldingError             a folding that does not divide, or a target that can't be met
    +-- FitError                 a design larger than its part
    +-- EmitError                a Design that can't be written
    +-- CheckFailed              exit 1: a check ran and said no
    |   +-- MismatchError        hardware and golden model differ
    +-- ToolError                exit 3: an external tool is at fault
        +-- ToolMissing
        +-- ToolVersion          found, but not a version hwq was tested with
        +-- ToolFailed           carries argv, exit code and the end of its log

A message gives place, fact and way out: ``layer 'fc1': PE=6 does not divide MH=64; legal PE: 1, 2, 4 ...``.
"""

from __future__ import annotations

from collections.abc import Sequence


class HwqError(Exception):
    """Base of everything hwq raises on purpose; the CLI prints it without a traceback."""

    exit_code = 2


class ConfigError(HwqError):
    """A recipe, target, folding file or option is wrong."""


class ModelError(HwqError):
    """A model file is missing, corrupt, or holds values no hardware can be made from."""


class UnsupportedOp(ModelError):
    """An operator (or a use of one) outside the supported list."""


class DataError(HwqError):
    """A data set is missing or its arrays have the wrong shape, type or range."""


class DataMissing(DataError):
    """The files of a data set are not where they were looked for; the message names source and files."""


class VerifyError(HwqError):
    """A Graph violates the rules of its stage; the message lists every violation."""

    def __init__(self, stage: str, violations: Sequence[str]) -> None:
        self.stage = stage
        self.violations = tuple(violations)
        lines = "\n".join(f"  - {v}" for v in self.violations)
        super().__init__(f"graph is not legal at stage '{stage}' ({len(self.violations)} violations):\n{lines}")


class FoldingError(HwqError):
    """A folding does not divide its layer, or no folding reaches the asked throughput."""


class FitError(HwqError):
    """The design needs more of a resource than the part has."""


class EmitError(HwqError):
    """A Design can't be written as asked."""


class CheckFailed(HwqError):
    """A check ran to its end and failed."""

    exit_code = 1


class MismatchError(CheckFailed):
    """Hardware and golden model differ somewhere."""


class ToolError(HwqError):
    """An external tool is missing, has the wrong version, or failed."""

    exit_code = 3


class ToolMissing(ToolError):
    """A tool is not installed; the message says how to get it."""


class ToolVersion(ToolError):
    """A tool was found but its version is outside the tested range."""


class ToolFailed(ToolError):
    """A tool ran and failed. `log_tail` holds the end of what it printed."""

    def __init__(self, argv: Sequence[str], code: int, log_tail: str, hint: str = "") -> None:
        self.argv = tuple(argv)
        self.code = code
        self.log_tail = log_tail
        way_out = f"\n{hint}" if hint else ""
        super().__init__(f"{argv[0]} failed with exit code {code}: {' '.join(argv)}\n{log_tail.rstrip()}{way_out}")
