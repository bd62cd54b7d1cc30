"""A user's own class or function by dotted name, `package.module:name`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from hwq.errors import ConfigError


def resolve(dotted: str, what: str) -> Any:
    """Import `package.module:name`; modules in the working directory are found too.

    what: names the setting in error messages, e.g. "net". Raises ConfigError.
    """
    module_name, colon, attribute = dotted.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"{what} = '{dotted}': expected 'package.module:name'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not (
            module_name == missing.name or module_name.startswith(missing.name + ".")
        ):
            raise ConfigError(f"{what} = '{dotted}': importing it failed: {missing}") from missing
        module = _import_from(Path.cwd(), module_name, what, dotted)
    if not hasattr(module, attribute):
        raise ConfigError(f"{what} = '{dotted}': module '{module_name}' has no '{attribute}'")
    return getattr(module, attribute)


def _import_from(folder: Path, module_name: str, what: str, dotted: str) -> Any:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        raise ConfigError(f"{what} = '{dotted}': {e}; it must be importable or lie in {folder}") from None
    finally:
        sys.path.remove(str(folder))
