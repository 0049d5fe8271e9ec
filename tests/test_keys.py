"""What a stage's key holds: every field of everything that decides its result, and nothing else.

Nothing here lists fields to be tested: they are read off the dataclasses, so that a new field, a new class and a new
stage are tested as soon as they exist. Listed is only what a key leaves out.
"""

import copy
import importlib
import pkgutil
from dataclasses import MISSING, fields, is_dataclass, replace

import pytest
import tiny

import llm4grn
from llm4grn.cli.config import build_setting
from llm4grn.data.preprocess import Preprocessing
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.inference.base import Inferer
from llm4grn.inference.file import FileGRN
from llm4grn.inference.llm import LLMInferer
from llm4grn.knowledge.base import KnowledgeBase
from llm4grn.knowledge.curated import CuratedList
from llm4grn.knowledge.random_kb import RandomGenes
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.recorded import RecordedChat
from llm4grn.pipeline import Pipeline, describe
from llm4grn.setting import Dataset, Model, Setting
from llm4grn.store import Stage, Store

#: Fields that no key holds: ``fingerprint`` tells what they lead to, or they change time and cost and not the result.
LEFT_OUT = {
    "path": "told by its content",
    "folder": "told by its content",
    "annotations": "told by its content",
    "genes": "told by its content",
    "organism": "of warnings only",
    "known_tfs": "told by its content, where it counts",
    "members": "stages of their own, which are read",
    "url": "where the same files come from",
    "name": "of prompts, whose texts count",
    "chat": "told by its fingerprint",
    "n_jobs": "time",
    "backend": "time",
    "scheduler": "time",
    "device": "time",
    "cache": "cost",
    "max_cost": "cost",
    "batch": "cost",
}


def found_parts() -> list[type]:
    """All concrete dataclasses from which ``describe`` makes arguments of stages."""
    for folder in "data", "knowledge", "inference":
        package = importlib.import_module(f"llm4grn.{folder}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found = {Preprocessing, ControllerHyperparameters, CausalGANHyperparameters, LanguageModel, Prompts}
    waiting = [Inferer, KnowledgeBase, *vars(importlib.import_module("llm4grn.data.sources")).values()]
    waiting += vars(importlib.import_module("llm4grn.data.simulated")).values()
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and (issubclass(each, Inferer | KnowledgeBase) or hasattr(each, "prepare")):
            found.add(each)
            waiting += each.__subclasses__()
    ours = {each for each in found if each.__module__.startswith(f"{llm4grn.__name__}.") and is_dataclass(each)}
    return sorted((each for each in ours if not getattr(each, "__abstractmethods__", None)), key=lambda c: c.__name__)


PARTS = found_parts()
FIELDS = [(cls, f.name) for cls in PARTS for f in fields(cls) if f.compare]


def some(cls: type):
    """An object with its defaults, unchecked: what a key holds does not depend on what a constructor refuses."""
    made = object.__new__(cls)
    for f in fields(cls):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        object.__setattr__(made, f.name, f"some {f.name}" if default is MISSING else default)
    return made


def changed(part, name: str):
    """The same object with another value in one field, unchecked likewise."""
    other = copy.copy(part)
    object.__setattr__(other, name, f"another {name}")
    return other


def key(part) -> str:
    return Stage("part", 1, describe(part)).key


@pytest.fixture
def no_files(monkeypatch):
    """Fields alone: the fingerprints of files are a matter of their own."""
    for cls in PARTS:
        if hasattr(cls, "fingerprint"):
            monkeypatch.setattr(cls, "fingerprint", lambda self: {})


# -- the parts of a setting -------------------------------------------------------------------------------------------


def test_all_kinds_of_parts_are_found():
    names = {cls.__name__ for cls in PARTS}
    assert {"H5ad", "LinearUniform", "CuratedList", "NoPriorList", "GENIE3", "LLMInferer"} <= names
    assert len(FIELDS) > 60


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS])
def test_every_field_changes_the_key(cls, name, no_files):
    part = some(cls)
    assert key(changed(part, name)) != key(part)
    assert key(copy.copy(part)) == key(part)


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_a_key_leaves_out_what_is_known_to_change_nothing(cls, no_files):
    left_out = {f.name for f in fields(cls) if not f.compare}
    assert left_out <= LEFT_OUT.keys(), "no part of any key: say why, or let it be compared"
    assert {key(changed(some(cls), name)) for name in left_out} <= {key(some(cls))}


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_an_optional_field_at_its_default_leaves_the_key_as_it_was_before_there_was_the_field(cls, no_files):
    optional = {f.name for f in fields(cls) if f.metadata.get("optional")}
    assert all(f.default is not MISSING for f in fields(cls) if f.name in optional)
    assert not optional & describe(some(cls)).keys()


def test_two_classes_with_the_same_fields_have_two_keys(no_files):
    keys = [key(some(cls)) for cls in PARTS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", [f.name for f in fields(LanguageModel) if f.compare])
def test_a_field_of_a_part_within_a_part_changes_the_key_of_the_whole(name, no_files):
    inferer = replace(some(LLMInferer), llm=LanguageModel("a", "b", chat=None))
    inside = changed(inferer.llm, name)
    outside = copy.copy(inferer)
    object.__setattr__(outside, "llm", inside)
    assert key(outside) != key(inferer)


def recorded(path) -> LLMInferer:
    return LLMInferer(LanguageModel("recorded", "recorded", RecordedChat(str(path))))


ANSWER = '{"messages": [{"role": "user", "content": "Who?"}], "text": "<Answer> [%s] </Answer>"}\n'
FILES = {
    "FileGRN": (lambda path: FileGRN(str(path)), "TF,target,importance\nSPI1,%s,1\n"),
    "CuratedList": (lambda path: CuratedList(path=str(path)), "SPI1\n%s\n"),
    "RandomGenes": (lambda path: RandomGenes(path=str(path)), "SPI1\n%s\n"),
    "RecordedChat": (recorded, ANSWER),
}


@pytest.mark.parametrize(("make", "content"), FILES.values(), ids=FILES)
def test_the_content_of_a_file_counts_and_not_its_place(make, content, tmp_path):
    keys = []
    for name, gene in ("one.txt", "GATA1"), ("two.txt", "GATA1"), ("three.txt", "GATA2"):
        (tmp_path / name).write_text(content % gene)
        keys.append(key(make(tmp_path / name)))
    assert keys[0] == keys[1] != keys[2]


# -- the stages of a pipeline -----------------------------------------------------------------------------------------

SOURCES = "control", "stage1", "run"
CELLS, SCORES = ({f"{name} {source}" for source in SOURCES} for name in ("cells", "scores"))

#: Which stages read which.
READS = {
    "data": set(),
    "tfs": {"data"},
    "grn": {"data", "tfs"},
    "graph": {"data", "tfs", "grn"},
    "controller": {"data"},
    "causal_gan": {"data", "graph", "controller"},
    "cells control": {"data"},
    "cells stage1": {"data", "controller"},
    "cells run": {"data", "causal_gan"},
    **{f"scores {source}": {"data", f"cells {source}"} for source in SOURCES},
}
#: For each field of a setting another value, and the stages of which it is an argument. None: a part, whose fields are
#: arguments one by one.
ARGUMENTS = {
    "dataset.name": ("other", set()),
    "dataset.source": (None, {"data"}),
    "dataset.preprocessing": (None, {"data"}),
    "dataset.context": ("Other cells.", {"tfs"}),
    "kb_name": ("other", set()),
    "kb": (None, {"tfs"}),
    "inferer_name": ("other", set()),
    "inferer": (None, {"grn"}),
    "k": (3, {"graph"}),
    "strategy": ("bottom", {"graph"}),
    "tf_k": (1, {"grn", "graph"}),
    "model.name": ("other", set()),
    "model.controller": (None, {"controller"}),
    "model.causal_gan": (None, {"causal_gan"}),
    "n_samples": (3, CELLS),
    "metrics": (("mmd",), SCORES),
    "exact": (True, SCORES),
    "predictive": (("trees",), set()),  # a stage beside the others, which none of them reads
    "llm": ("other", set()),
    "seed": (7, {"data", "tfs", "controller", "causal_gan"} | CELLS | SCORES),
    "inference_seed": (7, {"grn", "graph"}),
}


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> Setting:
    folder = tmp_path_factory.mktemp("keys")
    return build_setting(tiny.config(*tiny.options(tiny.write_counts(folder / "counts.h5ad"), folder)))


def stages(setting: Setting) -> dict[str, Stage]:
    """All stages, those of cells and scores under the name of their source as well."""
    pipeline = Pipeline(setting, Store("nowhere"))
    made = {stage.name: stage for stage in pipeline.stages if stage.name not in ("cells", "scores")}
    for source in SOURCES:
        made |= {f"cells {source}": pipeline.cells(source), f"scores {source}": pipeline.scores(source)}
    assert {stage.key for stage in made.values()} == {stage.key for stage in pipeline.stages}
    return made


def get(setting: Setting, where: str):
    for name in where.split("."):
        setting = getattr(setting, name)
    return setting


def put(setting: Setting, where: str, value) -> Setting:
    outer, _, inner = where.rpartition(".")
    return replace(setting, **({outer: replace(get(setting, outer), **{inner: value})} if outer else {where: value}))


def variants(setting: Setting, where: str) -> list[Setting]:
    """The setting with another value there, or, of a part, in one of its fields after the other."""
    value, _ = ARGUMENTS[where]
    if value is not None:
        return [put(setting, where, value)]
    part = get(setting, where)
    return [put(setting, where, changed(part, f.name)) for f in fields(part) if f.compare]


def downstream(first: set[str]) -> set[str]:
    found = set(first)
    for name, inputs in READS.items():  # in the order of the line
        if inputs & found:
            found.add(name)
    return found


def test_every_field_of_a_setting_has_its_stages():
    nested = {"dataset": Dataset, "model": Model}
    names = {f"{outer}.{f.name}" for outer, cls in nested.items() for f in fields(cls)}
    names |= {f.name for f in fields(Setting)} - nested.keys()
    assert names == ARGUMENTS.keys()


def test_stages_read_what_they_are_computed_from(setting):
    made = stages(setting)
    name_of = {stage.key: name for name, stage in made.items()}
    read = {name: {name_of[stage.key] for stage in made[name].inputs.values()} for name in made}
    assert read == READS


@pytest.mark.parametrize("where", ARGUMENTS)
def test_a_field_is_an_argument_of_the_stages_that_it_decides_and_changes_all_keys_after_them(setting, where, no_files):
    before = stages(setting)
    for other in variants(setting, where):
        after = stages(other)
        arguments = {name for name in before if before[name].description["args"] != after[name].description["args"]}
        assert arguments == ARGUMENTS[where][1]
        assert {name for name in before if before[name].key != after[name].key} == downstream(arguments)


def test_how_many_regulators_a_tf_gets_changes_the_graph_and_not_the_ranking(setting):
    one, two = (stages(replace(setting, tf_k=tf_k)) for tf_k in (1, 2))
    assert one["grn"].key == two["grn"].key
    assert one["graph"].key != two["graph"].key


# -- labels -----------------------------------------------------------------------------------------------------------


def test_graphs_that_differ_have_labels_and_names_that_differ(setting):
    made = [setting, *(put(setting, field, ARGUMENTS[field][0]) for field in ("k", "strategy", "tf_k"))]
    made += [replace(setting, tf_k=2), replace(setting, seed=1)]
    assert len({tuple(each.labels.values()) for each in made}) == len(made)
    assert len({each.name for each in made}) == len(made)
    assert len({each.labels["graph"] for each in made[:-1]}) == len(made) - 1


@pytest.mark.parametrize("field", ["dataset.name", "kb_name", "inferer_name", "llm", "model.name", "seed"])
def test_names_of_parts_show_in_labels_and_name(setting, field):
    other = put(setting, field, ARGUMENTS[field][0])
    assert other.labels != setting.labels
    assert other.name != setting.name
