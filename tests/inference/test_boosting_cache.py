"""Compiled code on disk is never older than any file of the engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from llm4grn.inference.boosting import compiled

CALLER = """
from llm4grn.inference.boosting.compiled import compiled
from llm4grn.inference.boosting.called import called

@compiled
def caller():
    return called()
"""
CALLED = """
from llm4grn.inference.boosting.compiled import compiled

@compiled
def called():
    return {}
"""
ASK = """
from llm4grn.inference.boosting.caller import caller
print(caller(), sum(caller.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_a_change_of_another_file_compiles_again_and_the_old_code_is_still_there(tmp_path):
    folder = tmp_path / "llm4grn" / "inference" / "boosting"
    folder.mkdir(parents=True)
    for init in folder, folder.parent, folder.parent.parent:
        (init / "__init__.py").touch()
    (folder / "compiled.py").write_text(Path(compiled.__file__).read_text())
    (folder / "caller.py").write_text(CALLER)

    def ask(version: int) -> list[int]:
        """What the caller returns, and whether its code came from disk."""
        (folder / "called.py").write_text(CALLED.format(version))
        command = [sys.executable, "-c", ASK]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        return [int(word) for word in done.stdout.split()]

    assert ask(1) == [1, 0]
    assert ask(1) == [1, 1]
    assert ask(2) == [2, 0]
    assert ask(1) == [1, 1]
