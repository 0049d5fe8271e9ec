"""The scripts with a language model: no answer is lost or paid twice, no key leaks, every setting runs."""

import csv
import json
import os
import random
import re
import secrets
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from record import RECORDED, SETTING
from server import running_server
from tiny import MODEL, options, write_counts
from warm import WarmProcess

from llm4grn.grn import CausalGraph

pytestmark = pytest.mark.slow

#: Keys and proxies of whoever runs the tests are none of theirs.
_PRIVATE = re.compile(r"OPENAI_|LLAMA_|WANDB_|.*_proxy$", re.I)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not _PRIVATE.match(name)} | {"OMP_NUM_THREADS": "1"}
QUICK = ["evaluation.n_samples=1", "evaluation.metrics=[cosine_distance]"]
OF_TRAINING = "model.", "evaluation.", "logger=", "trainer="


def start(script: str, *arguments: str, cwd: Path, **environment: str) -> WarmProcess:
    return WarmProcess(script, *arguments, cwd=cwd, environment=ENVIRONMENT | environment)


def end(process: WarmProcess, code: int = 0) -> tuple[str, str]:
    """What it wrote to stdout and stderr."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    return out, err


def asking(url: str) -> list[str]:
    return ["llm=openai_compatible", f"llm.base_url={url}", "llm.model=test-model"]


def inferring(counts: Path, folder: Path, n_genes: int = 30) -> list[str]:
    """For ``infer_grn.py``: five TFs from the curated list, and ``n_genes`` - 5 targets to be asked about."""
    shared = [option for option in options(counts, folder) if not option.startswith((*OF_TRAINING, "inferer="))]
    shared = [option.replace("n_genes=30", f"n_genes={n_genes}") for option in shared]
    return [*shared, "inferer=llm", f"paths.answers={folder.parent}/answers.sqlite"]


def stored(answers: Path) -> Counter[str]:
    """Answers to first questions, by question; those to repairs are left out."""
    with sqlite3.connect(answers) as connection:
        conversations = [json.loads(row[0]) for row in connection.execute("SELECT messages FROM answers")]
    connection.close()
    users = [[message["content"] for message in said if message["role"] == "user"] for said in conversations]
    return Counter(asked[0] for asked in users if len(asked) == 1 and "was empty" not in asked[0])


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


# ---------------------------------------------------------------- never lost, never paid twice


@pytest.mark.parametrize(("n_questions", "n_kills", "max_concurrency"), [(300, 2, 16)])
def test_killed_at_any_moment_every_question_has_one_answer(tmp_path, n_questions, n_kills, max_concurrency):
    """Against a server of which every fifth answer is a fault."""
    counts = write_counts(tmp_path / "counts.h5ad", n_genes=n_questions + 5)
    faults = "rate_limit,server_error,unavailable,drop_before,drop_midway,hang,truncated,empty,invented,slow@0.2"
    moments = random.Random(n_questions)
    with running_server(faults=faults, latency=0.05, retry_after=0.05, k=2) as server:
        arguments = [
            *inferring(counts, tmp_path / "outputs", n_questions + 5),
            *asking(server.url),
            f"llm.max_concurrency={max_concurrency}",
            "llm.timeout=3",
            "+llm.chat.backoff=0.05",
        ]
        kills = 0
        for kill in range(n_kills):
            threshold = moments.randint(n_questions * kill // n_kills, n_questions * (kill + 1) // n_kills - 20)
            process = start("infer_grn.py", *arguments, cwd=tmp_path)
            while server.stats()["successes"] <= threshold and process.poll() is None:
                time.sleep(0.01)
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        out, _ = end(start("infer_grn.py", *arguments, cwd=tmp_path))
        successes, did = server.successes(), server.stats()["did"]
    assert kills == n_kills
    assert set(faults.partition("@")[0].split(",")) < did.keys()
    answers = stored(tmp_path / "answers.sqlite")
    assert len(answers) == n_questions
    assert set(answers.values()) == {1}
    assert f"targets                  {n_questions}\n" in out
    assert f"edges                    {2 * n_questions}\n" in out
    # Twice were answered only the questions that were under way when it was killed.
    assert sum(successes.values()) - len(successes) <= kills * max_concurrency


@pytest.mark.parametrize("n_questions", [200])
def test_two_jobs_at_once_ask_each_question_once(tmp_path, n_questions):
    """In stores of their own: in a shared one the second job would wait for the whole stage of the first."""
    owners = tmp_path / "answers.sqlite.owners"
    counts = write_counts(tmp_path / "counts.h5ad", n_genes=n_questions + 5)
    with running_server(latency=0.15, k=2) as server:
        jobs = [
            start(
                "infer_grn.py",
                *inferring(counts, tmp_path / name, n_questions + 5),
                *asking(server.url),
                "llm.max_concurrency=8",
                cwd=tmp_path,
            )
            for name in ("one", "other")
        ]
        together = False
        while server.stats()["successes"] < n_questions and any(job.poll() is None for job in jobs):
            together |= len({*owners.glob("*.lock")} - {owners / "opening.lock"}) == 2  # each has the answers open
            time.sleep(0.02)
        errors = [end(job)[1] for job in jobs]
        stats = server.stats()
    assert together
    assert stats["did"] == {"answer": n_questions}
    assert stats["most_successes_of_a_question"] == 1
    n_new = [int(re.search(rf"{n_questions} questions: (\d+) new requests", error)[1]) for error in errors]
    assert sum(n_new) == n_questions
    assert len(stored(tmp_path / "answers.sqlite")) == n_questions
    (one,), (other,) = ((tmp_path / name).glob("grn_*/grn.tsv") for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


# ---------------------------------------------------------------- nothing leaks


def containing(folder: Path, text: str) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {str(path.relative_to(folder)) for path in files if text.encode() in path.read_bytes()}


@pytest.fixture(scope="module")
def secret_run(counts, tmp_path_factory):
    """A whole run followed by W&B, of a server that repeats the key in every third answer; its key, folder, output."""
    folder, key = tmp_path_factory.mktemp("secret"), f"sk-{secrets.token_hex(16)}"
    of_others = "logger=", "inferer=", "evaluation."
    arguments = [option for option in options(counts, folder / "outputs") if not option.startswith(of_others)]
    environment = {"MY_TEST_KEY": key, "WANDB_MODE": "offline"}
    environment |= {f"WANDB_{kind}_DIR": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    with running_server(faults="echo_key_500@0.3", k=2) as server:
        process = start(
            "train.py",
            *arguments,
            *asking(server.url),
            "logger=wandb",
            "inferer=llm",
            *QUICK,
            "llm.api_key_env=MY_TEST_KEY",
            "+llm.chat.backoff=0.05",
            f"paths.answers={folder}/answers.sqlite",
            cwd=folder,
            **environment,
        )
        output = "".join(end(process))
        assert server.stats()["did"].keys() == {"answer", "echo_key_500"}
    return folder, key, output


def test_the_key_is_found_nowhere_after_a_run(secret_run):
    folder, key, output = secret_run
    assert key not in output
    assert containing(folder, key) == set()
    # Where it would be found: the name of its variable is in the folders that are looked through.
    named = containing(folder, "MY_TEST_KEY")
    for part in "outputs/h5ad_human_llm_test-model", "outputs/wandb/":
        assert any(name.startswith(part) for name in named), named
    assert "answers.sqlite" in containing(folder, "TARGET1")


def audit_in(report: Path) -> dict[str, list[str]]:
    """The table of the section about the language model: figures by label; empty without the section."""
    section = report.read_text().partition("\n## Language model\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {label: figures for label, *figures in rows[1:]}


def test_the_report_of_a_run_holds_the_audit_that_train_prints(secret_run):
    folder, _, output = secret_run
    (report,) = folder.glob("outputs/*/report.md")
    figures = audit_in(report)
    assert figures["questions"] == ["25"]
    assert figures["targets"] == ["25"]
    for label in (
        "answers repaired",
        "symbols refused (genes that were not offered)",
        "symbols invented (no genes of this data set)",
        "targets short of k",
        "prompt tokens",
        "completion tokens",
        "cost, US dollars",
        "seconds per request, mean",
    ):
        assert re.search(rf"^  {re.escape(label)} +{re.escape(figures[label][0])}$", output, re.M), label


def test_train_prints_the_audit_and_names_the_model_in_the_table(secret_run):
    folder, _, output = secret_run
    assert "Scores (LLM test-model," in output
    assert re.search(r"^ +Setting 1 +human +test-model +1 ", output, re.M)
    assert re.search(r"25 questions: 25 new requests to test-model", output)
    (results,) = folder.glob("outputs/*/results.csv")
    with results.open() as file:
        assert {(row["kb"], row["inferer"], row["llm"]) for row in csv.DictReader(file)} == {
            ("human", "llm", "test-model")
        }


def test_a_server_that_repeats_the_key_in_its_refusal_does_not_get_it_printed(counts, tmp_path):
    key = f"sk-{secrets.token_hex(16)}"
    with running_server(faults="echo_key") as server:
        arguments = [*inferring(counts, tmp_path / "outputs"), *asking(server.url), "llm.api_key_env=MY_TEST_KEY"]
        out, err = end(start("infer_grn.py", *arguments, cwd=tmp_path, MY_TEST_KEY=key), code=2)
    assert "authorization Bearer ***" in err.splitlines()[-1]  # it was sent, and cut out
    assert "Traceback" not in err
    assert key not in out + err
    assert containing(tmp_path, key) == set()


# ---------------------------------------------------------------- before anything is asked


def test_a_dry_run_asks_nothing_and_says_what_it_would_cost(counts, tmp_path):
    with running_server() as server:
        arguments = [
            *inferring(counts, tmp_path / "outputs"),
            *asking(server.url),
            "kb=llm",
            "llm.dry_run=true",
            "llm.max_tokens=1000",
            "llm.price_completion=10",
        ]
        out, _ = end(start("infer_grn.py", *arguments, cwd=tmp_path))
        assert server.stats()["requests"] == 0
    assert "transcription factors: one of 2 questions" in out
    assert "Which of the genes listed at the end encode transcription factors?" in out
    assert "regulators: one of 27 questions" in out  # as if three of the thirty genes were TFs
    assert re.findall(r"questions +([\d,]+)", out) == ["2", "27"]
    assert re.findall(r"answer tokens +([\d,]+)", out) == ["2,000", "27,000"]
    assert re.findall(r"cost, US dollars +([\d.]+)", out) == ["0.02", "0.27"]
    assert all(int(n.replace(",", "")) > 100 for n in re.findall(r"prompt tokens +([\d,]+)", out))
    assert not (tmp_path / "answers.sqlite").exists()


def test_the_help_lists_what_can_be_chosen_and_nothing_else(tmp_path):
    out, _ = end(start("train.py", "--help", cwd=tmp_path))
    (options,) = re.findall(r"^llm: (.*)$", out, re.M)
    presets = {"openai", "claude", "gemini", "deepseek", "azure", "openrouter", "ollama", "vllm"}
    others = {"gpt4", "llama", "local", "none", "openai_compatible", "recorded", "shipped"}
    assert options.split(", ") == sorted(presets | others)
    assert not re.search(r"llm[/_](?:shared|interview|server)", out)


def test_mistakes_are_one_line_each_that_says_what_to_do(counts, tmp_path):
    mistakes = {
        ("kb=gpt4",): "the environment variable OPENAI_API_KEY is not set; export it with the API key and run again",
        ("kb=gpt4", "llm=llama"): "kb=gpt4 and llm=llama: the knowledge base would not be gpt4's; use kb=llm instead",
        ("kb=llm",): "kb=llm asks a language model; add llm=shipped",
        ("inferer=llm",): "inferer=llm asks a language model; add llm=shipped",
        ("kb=llama",): "the environment variable LLAMA_BASE_URL is not set",
    }
    shared = [option for option in inferring(counts, tmp_path / "outputs") if option != "inferer=llm"]
    jobs = [start("infer_grn.py", *shared, *mistake, cwd=tmp_path) for mistake in mistakes]
    for job, expected in zip(jobs, mistakes.values(), strict=True):
        out, err = end(job, code=2)
        assert out == ""
        assert err.splitlines()[-1].startswith(f"error: {expected}")
        assert "Traceback" not in err


# ---------------------------------------------------------------- the settings of the paper


#: Folders of runs, without the model, graph and seed at their ends.
SETTINGS = {
    "1.A": "pbmc3k_human_llm_recorded",
    "1.B": "pbmc3k_human_grnboost2",
    "2.A of GPT-4": "pbmc3k_gpt4_llm_recorded",
    "2.A of Llama": "pbmc3k_llama_llm_recorded",
    "2.B of GPT-4": "pbmc3k_gpt4_grnboost2_recorded",
    "2.B of Llama": "pbmc3k_llama_grnboost2_recorded",
    "random": "pbmc3k_human_random",
}


TRAINED = ["2.A of Llama", "2.B of Llama"]  # one of each network


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """From recorded answers, the graphs of all settings and the trainings of two; folder and stderr.

    Two sweeps that share a store at the same time.
    """
    folder = tmp_path_factory.mktemp("paper")
    recorded = [*SETTING, "llm=recorded", f"llm.path={RECORDED}"]
    model = [option.replace("steps=60", "steps=10") for option in MODEL]
    training = [*QUICK, "logger=csv", "trainer=cpu", *model, "inferer=llm,grnboost2"]
    sweeps = [
        start("train.py", "-m", *recorded, *training, "kb=llama", cwd=folder),
        start("infer_grn.py", "-m", *recorded, "inferer=llm,random,grnboost2", "kb=human,gpt4,llama", cwd=folder),
    ]
    return folder, "".join(end(sweep)[1] for sweep in sweeps)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_graph_of_the_paper_is_inferred_from_recorded_answers(paper, setting):
    (path,) = (paper[0] / "outputs").glob(f"grn_{setting}_*/graph.json")
    graph = CausalGraph.from_json(path)
    assert len(graph.tf_names) + len(graph.targets) == 84
    assert graph.n_edges == 2 * len(graph.targets)


@pytest.mark.parametrize("setting", TRAINED)
def test_settings_of_the_paper_are_trained_with_recorded_answers(paper, setting):
    (run,) = (paper[0] / "outputs").glob(f"{SETTINGS[setting]}_*")
    (path,) = (paper[0] / "outputs").glob(f"grn_{SETTINGS[setting]}_*/graph.json")
    assert (run / "graph.json").read_bytes() == path.read_bytes()
    with (run / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if not row["metric"].startswith("predictive_")]
    values = {row["source"]: float(row["value"]) for row in rows}
    assert values.keys() == {"control", "stage1", "run"}
    assert all(0 <= value < 2 for value in values.values())


@pytest.mark.parametrize(("setting", "n_stages"), [("2.A of Llama", 2), ("2.B of Llama", 1)])
def test_the_report_has_an_audit_of_each_stage_in_which_a_language_model_took_part(paper, setting, n_stages):
    (run,) = (paper[0] / "outputs").glob(f"{SETTINGS[setting]}_*")
    figures = audit_in(run / "report.md")
    assert len(figures.get("questions", ())) == n_stages
    targets = [n for n in figures.get("targets", ()) if n]
    expected = json.loads((run / "results.json").read_text())["run"]["graph"]["targets"]
    assert targets == [str(expected)] * ("_llm_" in run.name)


def test_recorded_answers_are_asked_of_nobody_and_leave_no_cache(paper):
    folder, err = paper
    assert "Traceback" not in err
    assert not list(folder.rglob("answers.sqlite*"))
    tfs = [json.loads(path.read_text()) for path in (folder / "outputs").glob("grn_pbmc3k_gpt4_*/tfs.json")]
    assert len(tfs) == 3
    assert all(set(found["votes"]) == set(found["names"]) for found in tfs)
    assert tfs[0]["provenance"]["audit"]["questions"] == 8  # windows of 20, 10 further each


def test_the_recorded_file_is_small():
    assert RECORDED.stat().st_size < 400_000
