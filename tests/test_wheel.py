"""The wheel, in an environment of its own and an empty folder: what someone has who never sees the repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from llm4grn import __version__

ROOT = Path(__file__).parents[1]
# Written into the environment of the wheel: the libraries of this one, which are not installed twice. Its own comes
# first, and a path in a .pth is not searched for further .pth files, so the editable llm4grn stays out.
LIBRARIES = sysconfig.get_paths()["purelib"]
SMALL = (
    "dataset.preprocessing.n_genes=60",
    "dataset.preprocessing.n_test=60",
    "dataset.preprocessing.n_validation=20",
    "graph.k=3",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder, ROOT], check=True)
    return next(folder.glob("llm4grn-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a command of the environment in which the wheel is installed."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    own = Path(sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})["purelib"])
    (own / "libraries.pth").write_text(LIBRARIES + "\n")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(home / "bin" / "python"), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    keep_compiled(own / "llm4grn")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command, cwd, status=0):
        done = subprocess.run(
            [str(home / "bin" / command[0]), *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done

    return run


def keep_compiled(package: Path) -> None:
    """Copy the machine code of the checkout's kernels, where there is some: seconds to compile from the same source."""
    for code in (ROOT / "llm4grn").rglob("__pycache__/*.nb[ci]"):
        source = code.parents[1] / f"{code.name.partition('.')[0].partition('-')[0]}.py"
        copy = package / source.relative_to(ROOT / "llm4grn")
        copy.parent.joinpath("__pycache__").mkdir(exist_ok=True)
        shutil.copy(code, copy.parent / "__pycache__")
        shutil.copystat(source, copy)  # numba compiles again what is younger than its code


@pytest.mark.slow
def test_wheel_carries_every_file_of_package_and_configuration(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "llm4grn", "conf", "multirun_sweeps"], cwd=ROOT, capture_output=True)
    files = tracked.stdout.decode().split()
    assert len(files) > 200
    assert {file if file.startswith("llm4grn/") else f"llm4grn/{file}" for file in files} <= names
    assert "llm4grn/py.typed" in names


@pytest.mark.slow
def test_command_and_package_are_those_of_the_wheel(installed, tmp_path):
    where = installed("python", "-c", "import llm4grn; print(llm4grn.__file__)", cwd=tmp_path).stdout
    assert str(ROOT) not in where
    assert installed("llm4grn", "--version", cwd=tmp_path).stdout == f"llm4grn {__version__}\n"


@pytest.mark.slow
def test_infers_the_shipped_networks(installed, tmp_path):
    done = installed("llm4grn", "infer-grn", "inferer=llm", "llm=shipped", cwd=tmp_path)
    assert "edges                    8000" in done.stdout
    folder = next((tmp_path / "outputs").glob("grn_pbmc3k_human_llm_claude_*"))
    assert (folder / "grn.tsv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.slow
def test_trains_and_evaluates_below_the_current_folder(installed, tmp_path):
    steps = "model.controller.steps=3", "model.causal_gan.steps=3", "evaluation.n_samples=1"
    # No GRNBoost2, which is compiled where it is first used: here, in an environment that is thrown away.
    quick = "inferer=random", "evaluation.metrics=[cosine_distance,mmd]"
    done = installed("llm4grn", "train", *SMALL, *steps, *quick, "logger=csv", cwd=tmp_path)
    assert "mmd" in done.stdout.lower()
    run = next((tmp_path / "outputs").glob("pbmc3k_*"))
    assert "llm4grn train dataset.preprocessing.n_genes=60" in (run / "report.md").read_text()
    out = installed("llm4grn", "generate", f"run={run}", "n_cells=10", "out=cells.h5ad", cwd=tmp_path).stdout
    assert "cells.h5ad" in out
    assert (tmp_path / "cells.h5ad").is_file()


@pytest.mark.slow
def test_plans_a_shipped_sweep(installed, tmp_path):
    done = installed("llm4grn", "train", "-m", "+multirun_sweeps=demo", "plan_only=true", cwd=tmp_path)
    assert "consensus" in done.stdout


@pytest.mark.slow
def test_options_of_the_users_own_folder(installed, tmp_path):
    (tmp_path / "mine" / "inferer").mkdir(parents=True)
    (tmp_path / "mine" / "inferer" / "dice.yaml").write_text(
        "name: dice\nmethod:\n  _target_: llm4grn.inference.random_graph.RandomGRN\n"
    )
    installed("llm4grn", "infer-grn", "--config-dir", "mine", "inferer=dice", *SMALL, cwd=tmp_path)
    assert list((tmp_path / "outputs").glob("grn_pbmc3k_human_dice_*"))
    done = installed("llm4grn", "infer-grn", "inferer=dice", cwd=tmp_path, status=2)
    assert done.stderr.startswith("error: inferer=dice: no such option; choose one of consensus, ")


@pytest.mark.slow
def test_names_a_class_that_cannot_be_imported(installed, tmp_path):
    (tmp_path / "mine" / "inferer").mkdir(parents=True)
    (tmp_path / "mine" / "inferer" / "dice.yaml").write_text("name: dice\nmethod:\n  _target_: nowhere.Dice\n")
    done = installed("llm4grn", "infer-grn", "--config-dir", "mine", "inferer=dice", cwd=tmp_path, status=2)
    assert (
        done.stderr == "error: inferer.method._target_: there is no nowhere.Dice that Python can import; correct it\n"
    )


SHOW_HELP = """
import sys
from contextlib import suppress
from llm4grn.cli.app import main
for command in sys.argv[1:]:
    with suppress(SystemExit):
        main([command, "--help"])
    print(end="\\f")
"""


@pytest.fixture(scope="module")
def helps(installed, tmp_path_factory):
    """What each command says to ``--help``: in one process, because a start is seconds of imports."""
    commands = "train", "infer-grn", "evaluate", "perturb", "generate"
    texts = installed("python", "-c", SHOW_HELP, *commands, cwd=tmp_path_factory.mktemp("help")).stdout.split("\f")
    return dict(zip(commands, texts, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "infer-grn", "evaluate", "perturb", "generate"])
def test_help_shows_the_installed_command(helps, command):
    text = helps[command]
    assert f"  llm4grn {command} " in text
    assert "python " not in text
    assert "${" not in text


@pytest.mark.slow
def test_help_of_the_command(installed, tmp_path):
    assert "infer-grn" in installed("llm4grn", "--help", cwd=tmp_path).stdout
    assert "invalid choice: 'fit'" in installed("llm4grn", "fit", cwd=tmp_path, status=2).stderr
    assert "usage: llm4grn grn compare" in installed("llm4grn", "grn", "compare", "--help", cwd=tmp_path).stdout
    assert "usage: llm4grn answers" in installed("llm4grn", "answers", "--help", cwd=tmp_path).stdout


def test_what_is_imported_is_declared():
    """Every library that the package imports is a dependency of its own, an extra, or Python's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    declared = {re.split(r"[\[<>=~! ]", line)[0].lower() for line in [*project["dependencies"], *extras]}
    distribution = {
        "hydra": "hydra-core",
        "hydra_plugins": "hydra-joblib-launcher",
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "skmisc": "scikit-misc",
        "yaml": "pyyaml",
        "dask": "distributed",
        "lightning_fabric": "pytorch-lightning",
    }
    pattern = re.compile(r"^\s*(?:import|from) (\w+)", re.MULTILINE)
    imported = {name for path in (ROOT / "llm4grn").rglob("*.py") for name in pattern.findall(_code(path))}
    foreign = imported - set(sys.stdlib_module_names) - {"llm4grn"}
    undeclared = {name for name in foreign if distribution.get(name, name.replace("_", "-")).lower() not in declared}
    assert not undeclared


def _code(path):
    """A module without its docstrings and other texts of several lines."""
    return re.sub(r'"""(?:.|\n)*?"""', "", path.read_text())
