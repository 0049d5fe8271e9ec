"""download against a real loopback server that drops, ignores ranges, fails, or is not there."""

import os
import socket
import threading

import pytest

from llm4grn.data.download import ATTEMPTS, download
from llm4grn.errors import UserError

CONTENT = os.urandom(1_000_000)


@pytest.fixture
def served(server):
    server.content = CONTENT
    return server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "file.tar"


def part_of(path):
    return path.with_name(path.name + ".part")


def test_whole_file_and_nothing_else(served, path, capfd):
    download(served.url, path)
    assert path.read_bytes() == CONTENT
    assert not part_of(path).exists()
    assert "download file.tar" in capfd.readouterr().err
    download(served.url, path)
    assert served.requests == [None], "a file that is there is not asked for again"


def test_dropped_connection_is_resumed_where_it_broke(served, path, caplog):
    served.drops = 1
    download(served.url, path)
    assert path.read_bytes() == CONTENT
    first, second = served.requests
    assert first is None
    assert 400_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 500_000
    assert "interrupted" in caplog.text


def test_many_drops_that_each_bring_something_are_endured(served, path):
    served.drops, served.drop_after = ATTEMPTS + 2, 100_000
    download(served.url, path)
    assert path.read_bytes() == CONTENT
    assert len(served.requests) == ATTEMPTS + 3


def test_part_of_an_earlier_run_is_resumed(served, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:300_000])
    download(served.url, path)
    assert path.read_bytes() == CONTENT
    assert served.requests == ["bytes=300000-"]


def test_server_that_ignores_ranges_sends_it_all_again(served, path):
    served.ranges, served.drops = False, 1
    download(served.url, path)
    assert path.read_bytes() == CONTENT


def test_server_that_always_drops_and_ignores_ranges_ends_in_an_error(served, path):
    served.ranges, served.drops = False, 1000
    with pytest.raises(UserError, match="cannot download"):
        download(served.url, path)
    assert not path.exists()
    assert len(served.requests) <= ATTEMPTS + 1


def test_complete_part_is_taken(served, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    download(served.url, path)
    assert path.read_bytes() == CONTENT


def test_part_longer_than_the_file_is_thrown_away(served, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"of something else")
    download(served.url, path)
    assert path.read_bytes() == CONTENT


def test_busy_server_is_asked_again_but_not_for_ever(served, path):
    served.statuses = [503, 429]
    download(served.url, path)
    assert path.read_bytes() == CONTENT
    path.unlink()
    served.statuses = [503] * 100
    with pytest.raises(UserError, match="503"):
        download(served.url, path)


def test_no_announced_length(served, path):
    served.announce_length = False
    download(served.url, path)
    assert path.read_bytes() == CONTENT


def test_missing_file_is_told_at_once(served, path):
    served.statuses = [404]
    with pytest.raises(UserError, match=r"404.*save it as .*file\.tar"):
        download(served.url, path)
    assert served.requests == [None]


def test_nobody_there_is_told_at_once_with_the_remedy(path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(UserError, match="put it there by hand") as caught:
            download(url, path, "put it there by hand")
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_jobs_fetch_it_once(served, path):
    threads = [threading.Thread(target=download, args=(served.url, path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert served.requests == [None]


def test_nowhere_to_write(served, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        download(served.url, tmp_path / "file" / "x.tar")
