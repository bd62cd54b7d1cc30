"""The import rules of docs/architecture.md, read from the syntax trees (deferred imports included)."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = {"errors", "record", "dtype", "bits"}
# package -> what it may import from hwq, beside itself
ALLOWED = {
    "errors": set(),
    "record": {"errors"},
    "dtype": {"errors"},
    "bits": {"errors", "dtype"},
    "data": {"errors"},
    "ir": BASE,
    "passes": BASE | {"ir"},
    "golden": BASE | {"ir"},
    "frontend": BASE | {"ir"},
    "nn": BASE | {"ir", "data"},
    "targets": {"errors"},
    "hw": BASE | {"ir", "targets"},
    "cost": BASE | {"ir", "hw", "targets"},
    "emit": BASE | {"ir", "hw", "targets"},
    "tools": {"errors", "record"},
    "report": {"errors", "record"},
}
EVERYTHING = set(ALLOWED) | {"__version__"}
ALLOWED |= {"flow": EVERYTHING, "cli": EVERYTHING | {"flow"}, "__init__": EVERYTHING | {"flow"}}
HEAVY = {
    "torch": {"nn"},
    "brevitas": {"nn"},
    "onnx": {"frontend", "nn"},
    "qonnx": {"frontend", "nn"},
    "subprocess": {"tools"},
}
# One file each, with the reason: anything more would be a rule.
EXCEPTIONS = {
    "hwq.hw.solve": {"tools"},  # the token model's inner loop is compiled where a compiler is there
    "hwq.cost.fold": {"cost"},  # the search for a folding asks the cost model
    "sim.harness.ports": {"hw"},
    "sim.harness.module": {"hw"},  # module benches assert the timing classes of hw.schedule
}
SIM_MAY_USE = {"dtype", "bits", "golden", "tools", "errors"}


@functools.cache
def modules(folder):
    return {
        p.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): p
        for p in (ROOT / folder).rglob("*.py")
    }


def imports(path, name):
    """(module, imported names) of every import statement, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = name.split(".")[: -node.level]
                base = ".".join([*parent, base]).rstrip(".")
            yield base, tuple(a.name for a in node.names)


def parts_of(path, name):
    """Parts of hwq (second name of the dotted path) that a module imports."""
    for base, names in imports(path, name):
        if base == "hwq":
            yield from names
        elif base.startswith("hwq."):
            yield base.split(".")[1]


@pytest.mark.parametrize("name", sorted(modules("hwq")))
def test_a_module_imports_only_what_its_layer_may(name):
    part = name.split(".")[1]
    assert part in ALLOWED, f"{name} belongs to no layer of docs/architecture.md"
    illegal = set(parts_of(modules("hwq")[name], name)) - ALLOWED[part] - {part} - EXCEPTIONS.get(name, set())
    assert not illegal, f"{name} imports hwq.{', hwq.'.join(sorted(illegal))}"


@pytest.mark.parametrize("name", sorted(modules("hwq")))
def test_heavy_packages_stay_where_they_belong(name):
    part = name.split(".")[1]
    tops = {base.split(".")[0] for base, _ in imports(modules("hwq")[name], name)}
    wrong = {top for top in tops if top in HEAVY and part not in HEAVY[top]}
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_hwq_never_imports_its_simulation_benches():
    for name, path in modules("hwq").items():
        assert not [b for b, _ in imports(path, name) if b.split(".")[0] == "hwq_sim"], name


def test_the_simulation_package_uses_only_its_part_of_hwq():
    for name, path in modules("sim").items():
        illegal = set(parts_of(path, name)) - SIM_MAY_USE - EXCEPTIONS.get(name, set())
        assert not illegal, f"{name} imports hwq.{', hwq.'.join(sorted(illegal))}"


def test_there_is_no_import_cycle():
    files = modules("hwq")
    known = {n.removesuffix(".__init__"): n for n in files}
    graph = {}
    for name, path in files.items():
        found = set()
        for base, names in imports(path, name):
            for target in (base, *(f"{base}.{n}" for n in names)):
                if target in known and known[target] != name:
                    found.add(known[target])
        # `from hwq.x import y` names the package too; that is no dependency of its own submodules on it
        graph[name] = {t for t in found if not name.startswith(t.removesuffix("__init__"))}
    graph["hwq.__init__"] = set()
    state = {}

    def visit(node, trail):
        assert state.get(node) != "open", " -> ".join([*trail[trail.index(node) :], node])
        if node in state:
            return
        state[node] = "open"
        for target in sorted(graph[node]):
            visit(target, [*trail, node])
        state[node] = "done"

    for name in sorted(graph):
        visit(name, [])
