import os
import sys
import time
from pathlib import Path

import pytest

from hwq.errors import ToolFailed, ToolMissing
from hwq.tools.run import TIMED_OUT, run


def test_output_and_exit_code_are_returned(tmp_path):
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = run([sys.executable, "-c", code], tmp_path, check=False)
    assert done.code == 3
    assert "out" in done.stdout and "err" in done.stdout
    assert done.seconds > 0


def test_a_failing_tool_raises_with_the_end_of_its_log(tmp_path):
    code = "for i in range(100): print('line', i)\nraise SystemExit(5)"
    with pytest.raises(ToolFailed, match="exit code 5") as e:
        run([sys.executable, "-c", code], tmp_path, log=tmp_path / "log.txt")
    assert "line 99" in e.value.log_tail and "line 10\n" not in e.value.log_tail
    assert "line 0" in (tmp_path / "log.txt").read_text()
    assert e.value.code == 5


def test_a_missing_tool_is_named(tmp_path):
    with pytest.raises(ToolMissing, match="no-such-tool"):
        run(["no-such-tool"], tmp_path)


def test_a_missing_working_directory_is_not_taken_for_a_missing_tool(tmp_path):
    with pytest.raises(ToolFailed, match="does not exist"):
        run([sys.executable, "-c", ""], tmp_path / "nowhere")


def test_a_timeout_kills_the_whole_process_group(tmp_path):
    script = ("import subprocess, sys; p = subprocess.Popen(['sleep', '60']); "
              "print('child', p.pid, flush=True); p.wait()")
    start = time.monotonic()
    with pytest.raises(ToolFailed, match="stopped after 1 s") as e:
        run([sys.executable, "-c", script], tmp_path, timeout_s=1)
    assert time.monotonic() - start < 20
    assert e.value.code == TIMED_OUT
    child = int(e.value.log_tail.split()[1])
    for _ in range(50):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the grandchild is still running")


def test_environment_is_replaced_not_extended(tmp_path):
    code = "import os; print(sorted(k for k in os.environ if k in ('HWQ_TEST_ENV', 'PATH')))"
    done = run([sys.executable, "-c", code], tmp_path, env={"HWQ_TEST_ENV": "1"})
    assert done.stdout.strip() == "['HWQ_TEST_ENV']"
