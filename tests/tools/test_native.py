"""Compiled parts of the package: built once, absent without a compiler, loud when broken."""

import pytest

from hwq.errors import ToolFailed
from hwq.tools.native import shared_library


def test_a_library_is_compiled_once_and_called(tmp_path):
    source = tmp_path / "two.cpp"
    source.write_text('extern "C" int two() { return 2; }\n')
    library = shared_library(source, tmp_path / "cache")
    assert library is not None
    assert library.two() == 2
    built = list((tmp_path / "cache").iterdir())
    shared_library(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == built


def test_without_a_compiler_there_is_no_library(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shared_library(tmp_path / "two.cpp", tmp_path) is None


def test_a_source_that_does_not_compile_is_an_error(tmp_path):
    source = tmp_path / "bad.cpp"
    source.write_text("int two( {\n")
    with pytest.raises(ToolFailed, match=r"bad\.cpp"):
        shared_library(source, tmp_path)
