"""Where constants are stored: in LUTs or in block memory, whichever costs less."""

from __future__ import annotations

from hwq.targets import Target

BRAM18_IN_LUT = 190  # what one block memory is worth: xc7z020 has 53 200 LUT for 280 BRAM18
BRAM18_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))  # width x depth, UG473
DEEP_ROM = 1.2  # LUTs per LUT of contents where a column is more than four LUTs and wants multiplexers in LUTs
STYLE = {"auto": 0, "lut": 1, "block": 2, "constant": 1}  # memory of a folding -> STYLE of hwq_rom


def weight_style(width: int, depth: int, memory_kind: str, target: Target) -> int:
    """hwq_rom STYLE: as asked, or the cheaper of LUTs (64 rows each, 16 on LUT4 parts) and block memories."""
    if memory_kind != "auto":
        return STYLE[memory_kind]
    if depth == 1:
        return 1
    per_lut = 64 if target.family.startswith("xc") else 16
    lut = width * -(-depth // per_lut) * (DEEP_ROM if depth > 4 * per_lut else 1)
    if target.family == "ice40":
        blocks = -(-width // 16) * -(-depth // 256)
    else:
        blocks = min(-(-width // w) * -(-depth // d) for w, d in BRAM18_SHAPES)
    return 2 if lut > BRAM18_IN_LUT * blocks else 1
