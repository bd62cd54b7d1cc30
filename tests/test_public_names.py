import subprocess
import sys

import hwq


def test_the_public_names_are_these():
    assert sorted(hwq.__all__) == [
        "__version__",
        "compare",
        "export",
        "run",
        "simulate",
        "synthesize",
        "train",
    ]
    assert dir(hwq) == sorted(hwq.__all__)


def test_every_public_name_is_a_function_that_can_be_imported():
    for name in set(hwq.__all__) - {"__version__"}:
        assert callable(getattr(hwq, name)), name
        assert getattr(hwq, name).__doc__, name


def test_importing_hwq_imports_no_heavy_package():
    code = (
        "import sys, hwq, hwq.cli; print([m for m in ('torch', 'onnx', 'numpy', 'rich') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(hwq, "simulat")


def test_the_version_is_the_one_of_the_package():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert hwq.__version__ == project["version"]
