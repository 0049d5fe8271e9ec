"""A setting in Python has the defaults of the YAML files, and what identifies it cannot change afterwards."""

import dataclasses

import pytest
from tiny import config

from llm4grn.cli.config import build_setting
from llm4grn.errors import UserError
from llm4grn.setting import Setting
from llm4grn.store import Stage


@pytest.fixture(scope="module")
def setting():
    return build_setting(config())


def test_defaults_are_those_of_the_command(setting):
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(Setting)
        if field.default is not dataclasses.MISSING and field.name not in ("model", "metrics", "predictive")
    }
    assert {"k", "strategy", "tf_k", "n_samples", "exact", "llm", "seed", "inference_seed"} == defaults.keys()
    assert {name: getattr(setting, name) for name in defaults} == defaults
    for name in "metrics", "predictive":
        assert tuple(getattr(Setting, name)) == tuple(getattr(setting, name))


def test_its_name_has_no_blank_and_tells_what_is_in_it(setting):
    assert setting.name == "pbmc3k_human_grnboost2_small_top10_seed1000"
    layered = dataclasses.replace(setting, tf_k=2, model=None)
    assert layered.name == "pbmc3k_human_grnboost2_top10_tf2_seed1000"
    assert layered.labels["graph"] == "top 10, TFs 2"
    assert layered.labels["model"] == ""


def test_nothing_that_decides_its_numbers_can_be_set_later(setting):
    for frozen in setting, setting.dataset, setting.model, Stage("data", 1, {"seed": 1}):
        for field in dataclasses.fields(frozen):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(frozen, field.name, None)


@pytest.mark.parametrize("metrics", [["mmd", "unheard_of"], ["unheard_of"], []])
def test_unknown_metrics_and_none_at_all_are_refused(setting, metrics):
    with pytest.raises(UserError, match=r"evaluation.metrics=.*choose some of cosine_distance, "):
        dataclasses.replace(setting, metrics=metrics)
