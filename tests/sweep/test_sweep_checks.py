"""What would stop a job is found before it starts: disks, GPUs, keys, data and addresses, on both sides of the line."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import config, options, write_counts

from llm4grn.cli.config import build_setting
from llm4grn.data.sources import TutorialArchive
from llm4grn.errors import UserError
from llm4grn.pipeline import Pipeline
from llm4grn.setting import Dataset, Setting
from llm4grn.store import Stage, Store
from llm4grn.sweep.estimates import networks_of
from llm4grn.sweep.jobs import Job
from llm4grn.sweep.preflight import (
    SPARE_BYTES,
    UNSET,
    Problems,
    check_data,
    check_disk,
    check_gpu,
    check_llm,
    check_stages,
)

MODEL = {"steps": 100, "batch_size": 8, "critic_layers": [8], "critic_updates": 5, "noise_dim": 4}
CELLS = Stage("data", 1, {"preprocessing": {"n_genes": 20}})
TRAINING = Stage("controller", 1, {"model": MODEL | {"generator_layers": [8]}}, {"data": CELLS})
GIB = 2**30


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Behind a proxy an address that does not answer cannot be told from one that does."""
    for name in "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY":
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answering() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"  # nobody listens there any more


def test_a_disk_needs_room_for_what_is_written_and_a_gibibyte_to_spare(tmp_path):
    free, folders = shutil.disk_usage(tmp_path).free, [tmp_path / "not" / "yet", tmp_path]
    problems = Problems()
    check_disk(folders, 0.0, problems, [0, 1])  # nothing is to be written
    check_disk(folders, free - SPARE_BYTES - GIB, problems, [0, 1])  # others write here as well: hence one GiB more
    assert not problems
    check_disk(folders, free - SPARE_BYTES + GIB, problems, [0, 1])
    (line,) = problems.lines(2)
    assert line.startswith(f"{tmp_path}: {free / GIB:.0f}"[:-1])
    assert line.endswith("set paths.store and paths.outputs to another disk")


@pytest.mark.parametrize("free", [[], [0.5, 1.0], [1.0]])
def test_a_gpu_with_just_enough_memory_or_an_unknown_one_is_no_problem(free):
    problems, needed = Problems(), networks_of(TRAINING).gpu_bytes
    check_gpu([share * needed for share in free], [CELLS, TRAINING], 0, problems)
    assert not problems


def test_no_room_on_any_gpu_is_a_problem_of_the_job_that_trains_there():
    problems, needed = Problems(), networks_of(TRAINING).gpu_bytes
    check_gpu([0.9 * needed, 0.8 * needed], [CELLS], 1, problems)  # trains nothing
    check_gpu([0.9 * needed, 0.8 * needed], [CELLS, TRAINING], 2, problems)
    (line,) = problems.lines(3)
    assert line.startswith(f"trainer.accelerator=gpu: {0.9 * needed / GIB:.1f} GiB of GPU memory are free and about")
    assert line.endswith("(job 2)")


def test_jobs_that_share_a_gpu_need_room_for_all():
    problems, needed = Problems(), networks_of(TRAINING).gpu_bytes
    check_gpu([3 * needed], [TRAINING], 0, problems, sharing=3)
    assert not problems
    check_gpu([2.9 * needed], [TRAINING], 0, problems, sharing=3)
    (line,) = problems.lines(1)
    assert "by the 3 jobs that share it; let fewer jobs run at once" in line


def of(source: object) -> Job:
    setting = build_setting(config("inferer=random", name="infer_grn"))
    dataset = Dataset("pbmc", source, setting.dataset.preprocessing)
    return Job(0, (), Setting(dataset, "human", setting.kb, "random", setting.inferer))


def told_of_data(source: object) -> str:
    problems = Problems()
    check_data(of(source), problems)
    return "\n".join(problems.lines(1))


def test_data_that_are_to_be_downloaded_need_an_address_that_answers(tmp_path, answering, silent):
    assert told_of_data(TutorialArchive(str(tmp_path), "pbmc", url=answering)) == ""
    told = told_of_data(TutorialArchive(str(tmp_path), "pbmc", url=silent))
    assert told.startswith(
        f"dataset=pbmc: its files are not there, and {silent} cannot be reached (Connection refused)"
    )
    assert not list(tmp_path.iterdir())


def test_behind_a_proxy_only_that_would_know(tmp_path, silent, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert told_of_data(TutorialArchive(str(tmp_path), "pbmc", url=silent)) == ""


def test_a_data_file_that_is_not_there_is_named(tmp_path):
    counts = write_counts(tmp_path / "counts.h5ad")
    there = build_setting(config(*options(counts, tmp_path))).dataset.source
    gone = build_setting(config(*options(tmp_path / "absent.h5ad", tmp_path))).dataset.source
    assert told_of_data(there) == ""
    assert str(tmp_path / "absent.h5ad") in told_of_data(gone)


def llm(address: str | None = None, name: str = "gpt4"):
    words = [f"llm={name}", *([f"llm.base_url={address}"] if address else [])]
    return build_setting(config("inferer=llm", *words, name="infer_grn")).inferer.llm


def test_who_is_asked_needs_a_key_also_if_there_is_nothing_to_ask(answering, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        check_llm(llm(answering), has_questions=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "x" * 20)
    check_llm(llm(answering), has_questions=True)


def test_an_address_must_answer_if_there_is_something_to_ask(silent, answering, monkeypatch):
    monkeypatch.setenv("LLAMA_BASE_URL", silent)
    check_llm(llm(name="llama"), has_questions=False)
    with pytest.raises(UserError, match=f"llm=llama: {silent} cannot be reached"):
        check_llm(llm(name="llama"), has_questions=True)
    for address in answering, UNSET:  # of the latter the missing variable was told already
        monkeypatch.setenv("LLAMA_BASE_URL", address)
        check_llm(llm(name="llama"), has_questions=True)


def test_stages_whose_files_cannot_be_read_are_none(tmp_path):
    counts = write_counts(tmp_path / "counts.h5ad")
    setting, problems = build_setting(config(*options(counts, tmp_path))), Problems()
    assert len(check_stages(Pipeline(setting, Store(tmp_path)), Job(0, (), setting), problems)) == 12
    assert not problems
    Path(counts).unlink()
    assert check_stages(Pipeline(setting, Store(tmp_path)), Job(0, (), setting), problems) is None
    (line,) = problems.lines(1)
    assert str(counts) in line


def test_each_problem_is_told_once_with_its_jobs():
    problems = Problems()

    def refuse() -> None:
        raise UserError("a file\n  is missing")

    for job in 0, 1, 3:
        problems.catch(job, refuse)
    problems.add("no key", 1)
    assert problems.lines(5) == ["a file is missing (jobs 0-1, 3)", "no key (job 1)"]
    assert problems.lines(3) == ["a file is missing", "no key (job 1)"]
