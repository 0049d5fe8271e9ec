"""The store: stable keys, whole folders or none, one build among many processes, survival of kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from llm4grn.errors import UserError, WriteError
from llm4grn.store import Stage, Store, atomic_write

DATA = Stage("data", 1, {"min_cells": 20, "genes": ("A", "B")})
GRN = Stage("grn", 2, {"rate": 1e-3, "nested": {"x": 1, "y": None, "z": True}}, {"data": DATA})

# A build that counts its calls, says that it has begun, and stops half-way as long as the file "hold" is there.
WORKER = """
import sys, time, logging
from pathlib import Path
from llm4grn.store import Stage, Store

folder = Path(sys.argv[1])
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)

def build(partial):
    with (folder / "calls").open("a") as file:
        file.write("x")
    if not (partial / "checkpoint").exists():
        (partial / "checkpoint").write_text(sys.argv[2])
    (partial / ".tmp-1234-cells.h5ad").write_text("half")
    (folder / "begun").touch()
    while (folder / "hold").exists():
        time.sleep(0.02)
    (partial / "result").write_text("done from " + (partial / "checkpoint").read_text())

print(Store(folder / "store").get_or_run(Stage("slow", 1, {"a": 1}), build), flush=True)
"""


def start(folder: Path, name: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), name], stdout=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_a_key_is_the_same_in_every_process_and_for_equal_values():
    assert len(GRN.key) == 20
    same = Stage("grn", 2, {"nested": {"z": True, "y": None, "x": 1.0}, "rate": 0.001}, {"data": DATA.key})
    assert same.key == GRN.key
    assert Stage("data", 1, {"genes": ["A", "B"], "min_cells": 20.0}).key == DATA.key
    program = "from llm4grn.store import Stage; print(Stage('data', 1, {'min_cells': 20, 'genes': ['A', 'B']}).key)"
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        assert answer.stdout.strip() == DATA.key


def test_everything_that_counts_changes_the_key():
    stages = [
        DATA,
        Stage("data2", 1, DATA.args),
        Stage("data", 2, DATA.args),
        Stage("data", 1, {**DATA.args, "min_cells": 21}),
        Stage("data", 1, {**DATA.args, "min_cells": "20"}),
        Stage("data", 1, {**DATA.args, "genes": ["B", "A"]}),
        Stage("data", 1, DATA.args, {"file": "abc"}),
        Stage("data", 1, DATA.args, {"file": "abd"}),
        Stage("data", 1, {"flag": True}),
        Stage("data", 1, {"flag": 1}),
        Stage("data", 1, {"flag": None}),
    ]
    assert len({stage.key for stage in stages}) == len(stages)
    changed_input = Stage("grn", 2, GRN.args, {"data": stages[3]})
    assert changed_input.key != GRN.key


@pytest.mark.parametrize(
    "value",
    [Path("x"), {1, 2}, np.float64(1.0), np.int64(1), float("nan"), float("inf"), {1: "a"}, [object], b"x"],
    ids=repr,
)
def test_a_value_without_a_stable_text_is_refused(value):
    with pytest.raises(TypeError, match=r"args\.value"):
        _ = Stage("data", 1, {"value": value}).key


def test_a_name_that_is_no_folder_is_refused():
    with pytest.raises(ValueError, match="stage name"):
        Stage("../data", 1)


def test_a_stage_runs_once_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO", logger="llm4grn")
    store = Store(tmp_path / "store")
    assert not store.has(GRN)
    first = store.get_or_run(GRN, lambda folder: (folder / "grn.tsv").write_text("edges"))
    assert f"running grn {GRN.key}" in caplog.text
    second = store.get_or_run(GRN, lambda _: pytest.fail("built again"))
    assert f"reusing grn {GRN.key}" in caplog.text
    assert first == second == store.path(GRN) == tmp_path / "store" / "grn" / GRN.key
    assert store.has(GRN)
    assert sorted(path.name for path in first.iterdir()) == ["grn.tsv", "stage.json"]


def test_two_stores_hold_the_same_bytes(tmp_path):
    texts = []
    for root in ("one", "another"):
        folder = Store(tmp_path / root).get_or_run(GRN, lambda folder: (folder / "x").write_text("x"))
        texts.append((folder / "stage.json").read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == {
        "name": "grn",
        "version": 2,
        "args": {"rate": 0.001, "nested": {"x": 1, "y": None, "z": True}},
        "inputs": {"data": DATA.key},
    }


def test_a_failed_build_is_kept_to_go_on_from_but_not_after_a_users_mistake(tmp_path):
    store = Store(tmp_path)

    def crash(folder):
        (folder / "checkpoint").write_text("half")
        raise RuntimeError("bug")

    def mistake(folder):
        assert (folder / "checkpoint").read_text() == "half"
        raise UserError("no such file")

    with pytest.raises(RuntimeError, match="bug"):
        store.get_or_run(GRN, crash)
    assert not store.has(GRN)
    with pytest.raises(UserError, match="no such file"):
        store.get_or_run(GRN, mistake)
    assert not list((tmp_path / "grn").iterdir())


def test_after_a_full_disk_only_a_checkpoint_is_kept(tmp_path):
    store = Store(tmp_path)

    def full(folder):
        raise WriteError("no space left")

    def full_later(folder):
        (folder / "checkpoint").write_text("half")
        raise WriteError("no space left")

    for build, kept in (full, []), (full_later, ["checkpoint"]), (full, ["checkpoint"]):
        with pytest.raises(WriteError):
            store.get_or_run(GRN, build)
        assert [path.name for path in (tmp_path / "grn").glob("*.partial/*")] == kept
        assert len(list((tmp_path / "grn").iterdir())) == len(kept)


def test_a_folder_without_its_description_counts_as_absent(tmp_path):
    store = Store(tmp_path)
    store.get_or_run(GRN, lambda folder: (folder / "x").write_text("old"))
    (store.path(GRN) / "stage.json").unlink()
    assert not store.has(GRN)
    assert (store.get_or_run(GRN, lambda folder: (folder / "x").write_text("new")) / "x").read_text() == "new"


def test_a_store_that_cannot_be_made_is_the_users_to_repair(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"paths\.store="):
        Store(tmp_path / "file").get_or_run(GRN, lambda _: None)


def test_kill_minus_nine_leaves_no_lock_and_the_next_process_goes_on_from_the_checkpoint(tmp_path):
    (tmp_path / "hold").touch()
    victim = start(tmp_path, "victim")
    wait_for(tmp_path / "begun")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    (tmp_path / "hold").unlink()

    output = start(tmp_path, "heir").communicate(timeout=20)[0]
    folder = Path(output.splitlines()[-1])
    assert "resuming slow" in output
    assert (folder / "result").read_text() == "done from victim"
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "result", "stage.json"]
    assert (tmp_path / "calls").read_text() == "xx"


def test_two_processes_at_once_build_once(tmp_path):
    (tmp_path / "hold").touch()
    first = start(tmp_path, "first")
    wait_for(tmp_path / "begun")
    second = start(tmp_path, "second")
    assert "waiting for another process" in second.stdout.readline()
    (tmp_path / "hold").unlink()
    outputs = [first.communicate(timeout=20)[0], second.communicate(timeout=20)[0]]
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    assert "reusing slow" in outputs[1]
    assert (tmp_path / "calls").read_text() == "x"


def test_atomic_write_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "table.tsv"
    with atomic_write(path) as temporary:
        assert temporary.suffix == ".tsv"
        assert temporary.parent == path.parent
        temporary.write_text("first")
        assert not path.exists()

    def stop_half_way():
        with atomic_write(path) as temporary:
            temporary.write_text("second, cut off")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_half_way()
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.tsv"]


def test_a_stage_is_busy_while_another_process_builds_it(tmp_path):
    store, stage = Store(tmp_path / "store"), Stage("slow", 1, {"a": 1})
    assert not store.is_busy(stage)
    (tmp_path / "hold").touch()
    process = start(tmp_path, "one")
    wait_for(tmp_path / "begun")
    assert store.is_busy(stage)
    assert not store.is_busy(Stage("slow", 1, {"a": 2}))
    (tmp_path / "hold").unlink()
    process.communicate(timeout=20)
    assert not store.is_busy(stage)
    assert store.has(stage)
