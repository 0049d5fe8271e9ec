"""``python -m llm4grn.llm``: a look into the kept answers, out of the file and back into another."""

from dataclasses import replace

import pytest
from cache_worker import reply, request

from llm4grn.cli.answers import main
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.messages import Reply


@pytest.fixture
def kept(path, cache):
    for i in range(3):
        cache.put(request(i), reply(i))
    return path


def test_what_is_exported_is_imported_and_summed_up(kept, tmp_path, capsys):
    file, other = tmp_path / "answers.jsonl", tmp_path / "new" / "other.sqlite"
    main(["export", str(file), "--cache", str(kept)])
    for _ in range(2):
        main(["import", str(file), "--cache", str(other)])
    main(["summary", "--cache", str(other)])
    assert capsys.readouterr().out.splitlines() == [
        f"3 answers written to {file}",
        f"3 new answers from {file}",
        f"0 new answers from {file}",
        "gpt-4: 3 answers, $0.0030",
    ]


def test_what_an_answer_did_cost_may_be_unknown(path, cache, capsys):
    cache.put(request(0), Reply("free", cost=0.0))
    cache.put(replace(request(1), model="claude"), Reply("some"))
    main(["summary", "--cache", str(path)])
    assert capsys.readouterr().out.splitlines() == ["claude: 1 answers, cost not recorded", "gpt-4: 1 answers, $0.0000"]


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    return err


def test_an_export_never_takes_the_place_of_the_answers(kept, tmp_path, capsys):
    (tmp_path / "link.jsonl").symlink_to(kept)
    for target in kept, tmp_path / "link.jsonl":
        assert "that is the file of the kept answers" in refused(capsys, "export", target, "--cache", kept)
    with AnswerCache(kept) as cache:
        assert cache.summary()["answers"] == 3


@pytest.mark.parametrize("command", [["export", "x.jsonl"], ["summary"]])
def test_without_a_file_none_is_made(tmp_path, capsys, command):
    assert "there is no such file" in refused(capsys, *command, "--cache", tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_imports_nothing(kept, tmp_path, capsys):
    file = tmp_path / "answers.jsonl"
    main(["export", str(file), "--cache", str(kept)])
    file.write_bytes(file.read_bytes()[:-20])  # as a copy that was cut off
    capsys.readouterr()
    assert "answers.jsonl, line 3: " in refused(capsys, "import", file, "--cache", tmp_path / "other.sqlite")
    with AnswerCache(tmp_path / "other.sqlite") as other:
        assert other.summary()["answers"] == 0
