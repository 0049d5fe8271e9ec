"""Every option of every group in ``conf/``: composes, builds its objects. A new YAML is found by itself."""

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from llm4grn.cli.config import build_setting, instantiate, resolved, trainer_arguments
from llm4grn.cli.errors import one_line
from llm4grn.data.preprocess import Preprocessing
from llm4grn.data.sources import TutorialArchive
from llm4grn.inference.base import Inferer
from llm4grn.knowledge.base import KnowledgeBase
from llm4grn.setting import Setting
from llm4grn.tracking.base import Tracker

CONF = Path(__file__).parents[1] / "conf"
SCRIPTS = {"train", "infer_grn"}
ONLY_TRAIN = {"model", "trainer", "logger"}
GROUPS = {"dataset", "kb", "inferer", "llm", "model", "trainer", "logger"}
FILES = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra")
OPTIONS = [(path.parent.name, path.stem) for path in FILES]
WITH_SCRIPT = [
    (script, group, option)
    for group, option in OPTIONS
    for script in sorted({"train"} if group in ONLY_TRAIN else SCRIPTS)
]
#: What an option cannot do without.
_ANSWERS = Path(__file__).parent / "llm" / "one_answer.jsonl"
_RECORDED = ["llm=recorded", f"llm.path={_ANSWERS}"]
NEEDS = {
    ("kb", "llm"): _RECORDED,
    ("kb", "llama"): _RECORDED,
    ("inferer", "llm"): _RECORDED,
    ("inferer", "consensus"): _RECORDED,
    ("inferer", "shuffled"): _RECORDED,
    ("inferer", "popular"): _RECORDED,
    ("llm", "llama"): ["llm.base_url=http://localhost:8000/v1"],
    ("llm", "azure"): ["llm.base_url=https://some.openai.azure.com/openai/v1", "llm.model=some"],
    ("llm", "recorded"): [f"llm.path={_ANSWERS}"],
    ("llm", "openai_compatible"): ["llm.base_url=http://localhost:8000/v1", "llm.model=some"],
}


@cache
def composed(script: str, *overrides: str) -> DictConfig:
    """Only to be read: the tests share it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, list(overrides))


def chosen(script: str, group: str, option: str) -> DictConfig:
    """The option in the place of the default, and something in its fields that a user must set."""
    fields = OmegaConf.load(CONF / group / f"{option}.yaml")
    missing = [field for field in fields if OmegaConf.is_missing(fields, field)]
    in_defaults = group in composed(script)
    needs = NEEDS.get((group, option), [f"{group}.{field}=some" for field in missing])
    return composed(script, f"{'' if in_defaults else '+'}{group}={option}", *needs)


def test_inferer_of_a_language_model_works_at_another_place_of_the_config():
    """Within an inferer made of others, say: its own fields are found beside it."""
    cfg = composed("train", "inferer=llm", *_RECORDED, "+inferer@parts.one=llm", "parts.one.targets_per_question=7")
    assert instantiate(cfg.parts.one.method).targets_per_question == 7
    assert instantiate(cfg.inferer.method).targets_per_question == 1


def options(group: str) -> list[str]:
    return [option for other, option in OPTIONS if other == group]


def test_groups_are_there():
    assert {group for group, _ in OPTIONS} >= GROUPS


@pytest.mark.parametrize(
    "path", [*FILES, *sorted(CONF.glob("*.yaml"))], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_starts_with_a_comment(path):
    first = path.read_text().removeprefix("# @package _global_\n").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("script", "group", "option"), WITH_SCRIPT)
def test_composes_into_a_setting(script, group, option):
    cfg = chosen(script, group, option)
    setting = build_setting(cfg)
    assert isinstance(setting, Setting)
    assert isinstance(setting.kb, KnowledgeBase)
    assert isinstance(setting.inferer, Inferer)
    assert isinstance(setting.dataset.preprocessing, Preprocessing)
    assert (setting.model is not None) == (script == "train")
    assert all(hasattr(setting.dataset.source, method) for method in ("prepare", "fingerprint", "load"))
    assert not [value for value in str(resolved(cfg)).split() if "${" in value]


@pytest.mark.slow
@pytest.mark.parametrize("group", ["dataset", "kb", "inferer", "model"])
def test_option_is_called_by_its_name_in_the_results(group):
    controls = {("inferer", name): f"{name} llm" for name in ("shuffled", "popular")}
    others = {("kb", "llm"): "recorded", ("dataset", "file"): "some", **controls}
    for option in options(group):
        setting = build_setting(chosen("train", group, option))
        assert setting.labels[group] == others.get((group, option), option)


@pytest.mark.parametrize("option", options("logger"))
def test_logger_is_a_tracker(option):
    try:
        built = instantiate(chosen("train", "logger", option).logger)
    except InstantiationException as error:  # of an extra that is not installed here
        built = one_line(error)
    assert isinstance(built, Tracker) or "pip install" in built


@pytest.mark.parametrize("option", options("trainer"))
def test_trainer_takes_the_arguments(option):
    cfg = chosen("train", "trainer", option)
    if cfg.trainer.accelerator in ("gpu", "cuda"):
        assert cfg.trainer.devices == 1
        return
    import pytorch_lightning as pl

    from llm4grn.gan.training import lightning_arguments

    arguments = lightning_arguments(trainer_arguments(cfg))
    trainer = pl.Trainer(**arguments, logger=False, enable_checkpointing=False, max_epochs=1)
    assert trainer.num_devices == 1


# -- the numbers of the protocol --------------------------------------------------------------------------------------

CONTROLLER = {
    "steps": 200_000,
    "batch_size": 128,
    "noise_dim": 128,
    "generator_layers": [256, 512, 1024],
    "critic_layers": [1024, 512, 256],
    "critic_updates": 5,
    "penalty_weight": 10,
    "generator_lr": [1e-4, 1e-5],
    "critic_lr": [1e-4, 1e-5],
    "betas": (0.5, 0.9),
    "amsgrad": True,
    "preconditioned": False,
    "precision": "float32",
    "weight_decay": 0.01,
}
CAUSAL_GAN = {
    "steps": 200_000,
    "schedule_steps": 240_000,
    "batch_size": 1024,
    "noise_per_gene": 1,
    "depth": 2,
    "width": 1,
    "critic_layers": [1024, 512, 256],
    "labeler_layers": [2000, 2000, 2000],
    "critic_updates": 5,
    "penalty_weight": 10,
    "generator_lr": [1e-3, 1e-4],
    "critic_lr": [1e-3, 1e-3],
    "labeler_lr": [1e-4, 1e-4],
    "betas": (0.5, 0.9),
    "amsgrad": True,
    "preconditioned": False,
    "precision": "float32",
    "weight_decay": 0.01,
}


@pytest.mark.parametrize(
    ("option", "causal_gan"),
    [
        ("paper", CAUSAL_GAN),
        ("groundgan", CAUSAL_GAN | {"steps": 1_000_000, "schedule_steps": 1_000_000, "depth": 3, "width": 2}),
    ],
)
def test_model_has_the_numbers_of_section_5(option, causal_gan):
    model = build_setting(chosen("train", "model", option)).model
    for part, expected in (model.controller, CONTROLLER | {"schedule_steps": None}), (model.causal_gan, causal_gan):
        assert {name: getattr(part, name) for name in expected} == expected


SMALL = {
    "batch_size": 64,
    "critic_updates": 2,
    "critic_spaces": ["counts", "log1p"],
    "critic_weights": None,
    "observation": "poisson",
    "preconditioned": True,
    "amsgrad": False,
    "precision": "float32",
}


def test_small_is_what_the_results_were_measured_with():
    """Whoever changes one of these measures ``docs/results.md`` again."""
    model = build_setting(chosen("train", "model", "small")).model
    first = {"steps": 1800, "penalty_weight": 10, "critic_lr": [2e-3, 1e-4]}
    second = {"steps": 2400, "penalty_weight": 5, "critic_lr": [6e-3, 6e-4], "revive": True}
    for part, own in (model.controller, first), (model.causal_gan, second):
        assert {name: getattr(part, name) for name in SMALL | own} == SMALL | own


def test_learning_rates_decay_as_in_section_5():
    model = build_setting(chosen("train", "model", "paper")).model
    assert model.controller.learning_rate(model.controller.generator_lr, 200_000) == pytest.approx(1e-5)
    halfway = model.causal_gan.learning_rate(model.causal_gan.generator_lr, 120_000)
    assert halfway == pytest.approx((1e-3 * 1e-4) ** 0.5)  # exponential: the geometric mean


def test_groundgan_says_that_its_graph_has_15_regulators():
    assert "model=groundgan graph.k=15" in (CONF / "model" / "groundgan.yaml").read_text()


@pytest.mark.parametrize(("option", "held_out"), [("pbmc", 1000), ("pbmc_ctl", 1000), ("bone_marrow", 500)])
def test_data_of_the_paper_have_the_numbers_of_section_2(option, held_out):
    dataset = build_setting(chosen("train", "dataset", option)).dataset
    sizes = {"min_cells": held_out, "n_test": held_out, "n_validation": held_out}
    expected = {
        "n_genes": 1000,
        "min_genes": 10,
        "library_size": 20_000,
        "selection": "dispersion",
        "n_tfs": 0,
        **sizes,
    }
    assert {name: getattr(dataset.preprocessing, name) for name in expected} == expected
    assert dataset.preprocessing.genes is None
    assert isinstance(dataset.source, TutorialArchive)
    assert dataset.source.pbmc_shape == (68_579, 32_738)
    assert dataset.source.bone_marrow_shape[0] == 2_730


def test_defaults_are_those_of_sections_1_4_and_6():
    cfg = composed("train")
    setting = build_setting(cfg)
    assert (setting.k, setting.strategy, setting.n_samples, setting.seed) == (10, "top", 4, 1000)
    assert {"cosine_distance", "euclidean_distance", "mmd", "rf_auroc", "milisi"} <= set(setting.metrics)
    assert setting.inference_seed == setting.seed
    assert build_setting(composed("train", "seed=2000")).inference_seed == 2000


def test_default_model_is_far_below_the_papers_size():
    """The demo must end in minutes on a CPU."""
    small = build_setting(composed("train")).model
    assert small.name == "small"
    assert small.controller.steps + small.causal_gan.steps < 20_000


def test_script_without_training_has_no_groups_of_training():
    assert not ONLY_TRAIN & set(composed("infer_grn"))


def test_data_in_a_file_are_called_like_it():
    named = composed("infer_grn", "dataset=file", "dataset.path='~/data/patient 1.csv.gz'")
    assert build_setting(named).name.startswith("patient-1_human_")
    assert composed("infer_grn", "dataset=file", "dataset.path=x", "dataset.name=op").dataset.name == "op"


def test_the_name_of_a_model_makes_no_folder_within_a_folder():
    setting = build_setting(composed("infer_grn", "inferer=llm", "llm=openrouter", "llm.name='meta-llama/Llama 70B:x'"))
    assert setting.llm == "meta-llama/Llama 70B:x"
    assert "meta-llama-Llama-70B-x" in setting.name
    assert not set(setting.name) & set("/\\: ")


PRESETS = ["openai", "claude", "gemini", "deepseek", "azure", "openrouter", "ollama", "vllm"]


@pytest.mark.parametrize("option", PRESETS)
def test_a_preset_says_its_context_and_prices_and_takes_no_key_but_its_own(option):
    text = (CONF / "llm" / f"{option}.yaml").read_text()
    assert "\n# Context" in text
    assert any(words in text for words in ("check them", "Set the prices", "Free."))
    chat = instantiate(chosen("infer_grn", "llm", option).llm.chat)
    is_local = option in ("ollama", "vllm")
    assert (chat.api_key_env is None and not chat.headers) == is_local
    assert chat.has_prices == (not is_local and option != "azure")
    assert (chat.base_url is None) == (option == "openai")
    assert "OPENAI_API_KEY" not in f"{chat.api_key_env}" or option == "openai"
