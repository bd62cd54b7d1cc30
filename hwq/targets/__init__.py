"""Boards as data: one TOML file each. A user adds a board by naming a file of the same form."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwq.errors import ConfigError


class Target(BaseModel):
    """What a part offers. LUT means LUT6 on xc7/xcup, LUT4 on ecp5/ice40; a block memory is counted as BRAM18."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    board: str
    part: str
    family: str = Field(pattern="^(xc7|xcup|ecp5|ice40)$")
    lut: int = Field(gt=0)
    ff: int = Field(gt=0)
    bram18: int = Field(ge=0)
    dsp: int = Field(ge=0)
    clock_mhz: float = Field(gt=0)

    def capacity(self) -> dict[str, int]:
        """Resource name -> how many the part has."""
        return {"lut": self.lut, "ff": self.ff, "bram18": self.bram18, "dsp": self.dsp}


def names() -> list[str]:
    """The shipped targets."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files(__name__).iterdir() if p.name.endswith(".toml"))


def load(name: str | Path) -> Target:
    """A shipped target by name, or a user's `.toml` file. Raises ConfigError on an unknown name or a bad file."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"target file '{path}' does not exist")
        text, label = path.read_text(), str(path)
    else:
        if str(name) not in names():
            near = difflib.get_close_matches(str(name), names(), n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(
                f"unknown target '{name}'; {hint}known: {', '.join(names())} (or the path of a .toml file)"
            )
        text, label = (resources.files(__name__) / f"{name}.toml").read_text(), str(name)
    try:
        return Target(name=path.stem if path.suffix == ".toml" else str(name), **tomllib.loads(text))
    except ValidationError as e:
        wrong = "; ".join(f"{'.'.join(map(str, err['loc']))}: {err['msg']}" for err in e.errors())
        raise ConfigError(f"target '{label}' is not valid: {wrong}; keys: {', '.join(Target.model_fields)}") from None
    except (tomllib.TOMLDecodeError, TypeError) as e:
        raise ConfigError(f"target '{label}' is not valid: {e}") from None
