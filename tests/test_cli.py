"""Mistakes become one line, bugs keep their traceback, and the commands that the help shows can be typed."""

import inspect
import os
import re
import shlex
from functools import partial
from typing import NamedTuple

import hydra.errors
import omegaconf.errors
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from warm import ROOT, WarmProcess

from llm4grn.cli.config import build_setting, instantiate, trainer_arguments
from llm4grn.cli.errors import one_line
from llm4grn.errors import UserError

CONF = ROOT / "conf"
SCRIPTS = ("train", "infer_grn", "evaluate", "perturb", "generate")
OF_RUNS = ("evaluate", "perturb", "generate")  # they read finished runs, and compose no setting
# What a help text calls the user's own files: written as what they stand for, so that they can be opened.
PLACEHOLDERS = {
    "MY.h5ad": "",
    "FILE.h5ad": "",
    "MY_TFS.txt": "FOS\n",
    "recorded.jsonl": (ROOT / "tests" / "llm" / "one_answer.jsonl").read_text(),
    "answers.jsonl": (ROOT / "tests" / "llm" / "one_answer.jsonl").read_text(),
    "Homo_sapiens_TF.csv": "Species\tSymbol\nx\tFOS\n",
}


def composed(script, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, list(overrides))


def classes(module, base):
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, base)]


# -- one line ---------------------------------------------------------------------------------------------------------

KINDS = [
    kind
    for kind in [
        *classes(hydra.errors, hydra.errors.HydraException),
        *classes(omegaconf.errors, omegaconf.errors.OmegaConfBaseException),
    ]
    if kind not in (hydra.errors.InstantiationException, hydra.errors.OverrideParseException)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_error_becomes_one_line_with_all_its_words(kind):
    assert one_line(kind("seed is wrong\n    full_key: seed\n\tobject_type=dict")) == (
        "seed is wrong full_key: seed object_type=dict"
    )


SEE = "--help lists the common ones, --cfg job all of them"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=tiny"], "model=tiny: no such option; choose one of groundgan, paper, small"),
        (["grahp.k=3"], "grahp.k: there is no such option; did you mean graph.k? " + SEE),
        (["kb.lst=a"], "kb.lst: there is no such option; did you mean kb.list? " + SEE),
        (["n_test=9"], "n_test: there is no such option; did you mean dataset.preprocessing.n_test? " + SEE),
        (["optimizer=a"], "optimizer: there is no such option; " + SEE),
        (["seed=[1"], "cannot read the option seed=[1; write field=value, and quote what the shell would change"),
        (["seed"], "cannot read the option seed; write field=value, and quote what the shell would change"),
        (["seed=1,2"], "seed=1,2: one value is expected; a text is seed=\"'1,2'\", several runs need --multirun"),
    ],
)
def test_what_cannot_be_composed(overrides, line):
    with pytest.raises((hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException)) as caught:
        composed("train", *overrides)
    assert one_line(caught.value) == line


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset=h5ad"], ["dataset.path is not set", "add dataset.path=VALUE"]),
        (["kb.path=${nowhere}"], ["Interpolation key", "nowhere"]),
        (["graph.k=${nowhere:3}"], ["nowhere"]),
        (["+kb.method.extra=1"], ["extra", "remove", "CuratedList"]),
        (["inferer.n_jobs=0"], ["inferer.n_jobs=0", "-1"]),
        (["~dataset.preprocessing.n_test"], ["n_test", "add"]),
        (["model.controller.steps=0"], ["model.controller.steps=0"]),
        (["evaluation.metrics=mmd"], ["evaluation.metrics=mmd", "list"]),
        (["evaluation.exact=perhaps"], ["evaluation.exact=perhaps", "true or false"]),
    ],
)
def test_what_cannot_be_built(overrides, says):
    with pytest.raises((UserError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException)) as caught:
        build_setting(composed("train", *overrides))
    line = one_line(caught.value)
    assert "\n" not in line
    assert all(text in line for text in says), line


def test_user_error_loses_its_line_breaks_only():
    assert one_line(UserError("a.txt: no\n  such thing; add it")) == "a.txt: no such thing; add it"


def test_bug_in_a_constructor_is_no_mistake_of_the_user():
    node = OmegaConf.create({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0})
    with pytest.raises(hydra.errors.InstantiationException) as caught:
        instantiate(node)
    with pytest.raises(hydra.errors.InstantiationException):
        one_line(caught.value)


def test_instantiated_objects_get_plain_lists():
    node = OmegaConf.create({"_target_": "builtins.dict", "layers": [1, 2], "more": {"a": 1}})
    built = instantiate(node)
    assert type(built["layers"]) is list
    assert type(built["more"]) is dict


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["trainer.accelerator=abacus"], "trainer.accelerator=abacus"),
        (["trainer.devices=0"], "trainer.devices=0"),
        (["trainer.devices=none"], "trainer.devices=none"),
        (["trainer.devices=true"], "trainer.devices=True"),
        (["trainer.compile=fast"], "trainer.compile=fast: expected true or false"),
        (["trainer.stream=1"], "trainer.stream=1: expected true or false or null"),
        (["+trainer.strategy=fsdp"], "trainer.strategy: there is no such option"),
    ],
)
def test_trainer_is_refused_before_lightning_sees_it(overrides, says):
    with pytest.raises(UserError, match=re.escape(says)):
        trainer_arguments(composed("train", *overrides))


def test_gpu_is_refused_where_there_is_none(monkeypatch):
    cfg = composed("train", "trainer=gpu")
    monkeypatch.setattr("llm4grn.cli.config._gpu_available", lambda accelerator: False)
    with pytest.raises(UserError, match="trainer=cpu"):
        trainer_arguments(cfg)
    monkeypatch.setattr("llm4grn.cli.config._gpu_available", lambda accelerator: True)
    assert trainer_arguments(cfg) == {"accelerator": "gpu", "devices": 1, "compile": False, "stream": None}


def test_compile_is_refused_where_nothing_compiles(monkeypatch, tmp_path):
    cfg = composed("train", "trainer=cpu", "trainer.compile=true")
    assert trainer_arguments(cfg)["compile"] is True
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"trainer\.compile=true: there is no .*\+\+ on the PATH"):
        trainer_arguments(cfg)


# -- a whole script ---------------------------------------------------------------------------------------------------

SCRIPT = """
from pathlib import Path

from llm4grn.cli.config import build_setting, command, instantiate, trainer_arguments
from llm4grn.cli.errors import one_line
from llm4grn.cli.main import run
from llm4grn.errors import UserError

def task(cfg):
    print("what:", cfg.what)
    if cfg.what == "mistake":
        raise UserError("what=mistake: bad;\\n write another")
    if cfg.what == "bug":
        raise RuntimeError("a bug")
    if cfg.what == "missing":
        cfg.needed
    if cfg.what == "interrupt":
        raise KeyboardInterrupt
    print("command:", command())

if __name__ == "__main__":
    run(task, "tiny", Path(__file__).parent / "conf")
"""
TINY = """
defaults: [_self_, {override hydra/job_logging: none}, {override hydra/hydra_logging: none}]
what: nothing
needed: ???
paths: {outputs: outputs}
hydra: {run: {dir: .}, output_subdir: null}
"""


class Done(NamedTuple):
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


def run(script, *arguments, cwd):
    process = WarmProcess(str(script), *arguments, cwd=cwd, environment=os.environ)
    out, err = process.communicate()
    return Done(process.returncode, out, err)


@pytest.fixture
def start(tmp_path):
    """Start a small script of ours in another folder than its own, as a user might."""
    (tmp_path / "home" / "conf").mkdir(parents=True)
    (tmp_path / "home" / "tiny.py").write_text(SCRIPT)
    (tmp_path / "home" / "conf" / "tiny.yaml").write_text(TINY)
    (tmp_path / "elsewhere").mkdir()
    return partial(run, tmp_path / "home" / "tiny.py", cwd=tmp_path / "elsewhere")


@pytest.mark.slow
def test_task_runs_and_leaves_nothing_in_the_folder(start, tmp_path):
    done = start("paths.outputs=some where")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "what: nothing\ncommand: python tiny.py 'paths.outputs=some where'\n"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_mistake_is_one_line(start):
    done = start("what=mistake")
    assert (done.returncode, done.stderr) == (2, "error: what=mistake: bad; write another\n")


@pytest.mark.slow
def test_missing_value_is_one_line(start):
    done = start("what=missing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Missing mandatory value: needed")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_bug_keeps_its_traceback(start):
    done = start("what=bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "tiny.py" in done.stderr
    assert "RuntimeError: a bug" in done.stderr
    assert "error: " not in done.stderr.replace("RuntimeError: ", "")


@pytest.mark.slow
def test_interrupt_says_how_to_go_on(start):
    done = start("what=interrupt")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "the same command" in done.stderr


# -- the commands that are shown ---------------------------------------------------------------------------------------


def commands(text):
    """``(script, arguments)`` of each ``python SCRIPT.py ...`` in a text; two spaces end a command."""
    found = re.findall(r"python (\w+)\.py((?: \S+)*)", text)
    return [(script, shlex.split(arguments)) for script, arguments in found]


HELP = {
    script: re.sub(r"\$\{command:(\w+)\}", r"python \1.py", (CONF / "hydra" / "help" / f"{script}.yaml").read_text())
    for script in SCRIPTS
}
COMMENTS = "\n".join(
    line.split("#", 1)[1] for path in sorted(CONF.glob("**/*.yaml")) for line in path.open() if "#" in line
)
SHOWN = [
    pytest.param(script, arguments, id=shlex.join([script, *arguments]))
    for script, arguments in dict.fromkeys(
        (script, tuple(arguments)) for text in (*HELP.values(), COMMENTS) for script, arguments in commands(text)
    )
    if "-m" not in arguments  # several settings at once: tests/test_sweeps.py
]


def test_commands_are_found():
    assert commands("  python train.py                  the default") == [("train", [])]
    assert commands("other: python train.py --cfg job\n") == [("train", ["--cfg", "job"])]
    assert commands("python evaluate.py runs='[a, b]'") == [("evaluate", ["runs=[a, b]"])]
    assert len(commands(HELP["train"])) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_text(script, tmp_path):
    done = run(f"{script}.py", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert commands(done.stdout) == commands(HELP[script])
    assert commands(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "arguments"), SHOWN)
def test_shown_command_composes(script, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_BASE_URL", "http://localhost:8000/v1")
    for name, content in PLACEHOLDERS.items():
        (tmp_path / name).write_text(content)
    assert (ROOT / f"{script}.py").is_file()
    overrides = [word for word in arguments if "=" in word]
    assert [word for word in arguments if word not in overrides] in ([], ["--help"], ["--cfg", "job"])
    cfg = composed(script, *overrides)
    if script in OF_RUNS:
        assert all(cfg[word.split("=")[0]] is not None for word in overrides)
    else:
        build_setting(cfg)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_the_defaults(script):
    """Each ``field=value`` under "Fields" is what the config says; of ``a|b`` the first is."""
    _, _, fields = HELP[script].partition("Fields (field=value)")
    told = [pair for pair in re.findall(r"([\w.]+)=([^\s]+)", fields) if pair[1] != "..."]
    assert bool(told) == (script not in OF_RUNS)
    cfg = composed(script)
    for field, value in told:
        assert str(OmegaConf.select(cfg, field)) == value.split("|")[0], field
    for field, value in re.findall(r"([\w.]+)=(\.\.\.)", fields):
        assert OmegaConf.select(cfg, field) is not None, (field, value)
