"""Participants of a folder: alive until closed or killed, never swept away while they join."""

import subprocess
import sys
import threading

from llm4grn.llm.answers_cache.owners import Owners

HOLDER = (
    "import sys, time, pathlib; from llm4grn.llm.answers_cache.owners import Owners; "
    "o = Owners(pathlib.Path(sys.argv[1])); "
)


def files(folder):
    return {file.name for file in folder.iterdir()} - {"opening.lock"}


def test_each_is_alive_for_itself_and_the_others_until_it_closes(tmp_path):
    first, second = Owners(tmp_path / "new" / "folder"), Owners(tmp_path / "new" / "folder")
    assert first.me != second.me
    assert [first.alive(first.me), first.alive(second.me), second.alive(first.me)] == [True] * 3
    first.close()
    first.close()
    assert not second.alive(first.me)
    assert files(tmp_path / "new" / "folder") == {f"{second.me}.lock"}
    second.close()


def test_the_killed_are_dead_and_swept_away(tmp_path):
    program = HOLDER + "print(o.me, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        name = process.stdout.readline().strip()
        owners = Owners(tmp_path)
        try:
            assert owners.alive(name)
            with owners.alone():
                assert owners.sweep() == {name, owners.me}
        finally:
            process.kill()
    with owners.alone():
        assert owners.sweep() == {owners.me}
    assert not owners.alive(name)
    assert files(tmp_path) == {f"{owners.me}.lock"}
    owners.close()


def test_nobody_joins_while_another_is_alone(tmp_path):
    owners, joined = Owners(tmp_path), []
    thread = threading.Thread(target=lambda: joined.append(Owners(tmp_path)))
    with owners.alone():
        thread.start()
        thread.join(timeout=0.2)
        assert files(tmp_path) == {f"{owners.me}.lock"}
    thread.join(timeout=5)
    assert owners.alive(joined[0].me)
    for opened in (*joined, owners):
        opened.close()
