"""library.toml, the RTL sources and their headers say the same."""

import re

import hwq_hls
import pytest

MODULES = list(hwq_hls.library())


def source(module):
    return (hwq_hls.root() / "rtl" / f"{module}.sv").read_text(encoding="utf-8")


def header(module):
    return re.match(r"(?://.*\n)+", source(module))[0]


def ports(module):
    """Text of the parameter and port lists: from `module` to the first `);`."""
    text = source(module)
    start = text.index(f"\nmodule {module} ")
    return text[start:text.index(");", start)]


def test_every_source_has_an_entry_and_every_entry_a_source():
    files = {f.stem for f in (hwq_hls.root() / "rtl").glob("hwq_*.sv")} - {"hwq_pkg"}
    assert files == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_parameters_of_entry_and_source_agree(module):
    entry = hwq_hls.library()[module]
    declared = re.findall(r"^\s*parameter\b[^=]*?(\w+)\s*=", ports(module), flags=re.M)
    assert declared == list(entry["params"])


@pytest.mark.parametrize("module", MODULES)
def test_stream_ports_of_entry_and_source_agree(module):
    declared = re.findall(r"(\w+)_tvalid\b", ports(module))
    assert declared == list(hwq_hls.library()[module]["streams"])


@pytest.mark.parametrize("module", MODULES)
def test_used_modules_of_entry_and_source_agree(module):
    body = re.sub(r"//.*", "", source(module))
    instances = set(re.findall(r"^\s*(hwq_\w+)\s+#\(", body, flags=re.M)) - {module}
    assert instances == set(hwq_hls.library()[module]["uses"]) - {"hwq_pkg"}


@pytest.mark.parametrize("module", MODULES)
def test_lint_sets_are_legal_and_complete(module):
    entry = hwq_hls.library()[module]
    assert len(entry["lint"]) >= 3
    for lint_set in entry["lint"]:
        assert set(lint_set) - {"rows"} == set(entry["params"])
        for name, value in lint_set.items():
            if isinstance(value, int):
                low, high = entry["params"][name]
                assert low <= value <= high, f"{name}={value}"


@pytest.mark.parametrize("module", MODULES)
def test_header_names_function_and_for_streams_latency_handshake_and_reset(module):
    text = header(module)
    assert text.startswith(f"// {module}: ")
    streams = hwq_hls.library()[module]["streams"]
    for field in ("Function", "Latency", "Handshake", "Reset") if streams else ("Function",):
        assert re.search(rf"^//   {field}\b", text, flags=re.M), field


@pytest.mark.parametrize("module", MODULES)
def test_source_is_ascii_within_110_columns(module):
    text = source(module)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 110


def test_memory_styles_are_chosen_in_ram_and_rom_only():
    with_style = {m for m in MODULES if re.search(r"(ram|rom)_style", re.sub(r"//.*", "", source(m)))}
    assert with_style <= {"hwq_ram", "hwq_rom"}


def test_files_come_with_what_they_use_first():
    stems = [f.stem for f in hwq_hls.rtl_files("hwq_fifo", "hwq_replay")]
    assert stems == ["hwq_ram", "hwq_fifo", "hwq_replay"]
