"""``llm.context`` and ``llm.anonymise`` from the command line: what is asked, keys, labels, and mistakes."""

import pytest
from tiny import config, pipeline_of, write_counts

from llm4grn.cli.config import build_setting, resolved
from llm4grn.cli.errors import one_line

LIVE = ["llm=openai_compatible", "llm.base_url=http://127.0.0.1:9/v1", "llm.model=some"]
ASKING = ["inferer=llm", *LIVE]


def setting_of(*overrides):
    return build_setting(config(*overrides, name="infer_grn"))


def prompt(setting) -> str:
    return setting.inferer.questions(["T1"], ["A", "B"], 0)[0].messages[-1]["content"]


def test_the_description_is_the_data_sets_none_or_anothers():
    own = setting_of(*ASKING)
    assert "2,700 peripheral blood" in prompt(own)
    assert "The data" not in prompt(setting_of(*ASKING, "llm.context=none"))
    assert "bone marrow of mice" in prompt(setting_of(*ASKING, "llm.context=bone_marrow"))
    kb = setting_of("kb=llm", "inferer=random", *LIVE, "llm.context=bone_marrow").kb
    assert "bone marrow of mice" in kb.questions(["A", "B"], own.dataset.context, 0)[0].messages[-1]["content"]


def test_names_are_codes():
    assert "TF_002" in prompt(setting_of(*ASKING, "llm.anonymise=true"))
    kb = setting_of("kb=llm", "inferer=random", *LIVE, "llm.anonymise=true").kb
    assert "GENE_002" in kb.questions(["A", "B"], "", 0)[0].messages[-1]["content"]


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        ([], ""),
        (["llm.context=none"], " without context"),
        (["llm.context=pbmc", "llm.anonymise=true"], " context pbmc anonymised"),
    ],
)
def test_tables_tell_changed_questions_apart(change, suffix):
    changed = setting_of("kb=llm", *ASKING, *change)
    assert (changed.labels["kb"], changed.labels["llm"]) == (f"some{suffix}", f"some{suffix}")
    assert " " not in changed.name
    assert setting_of("kb=gpt4", "inferer=random", *change).labels["kb"] == f"gpt4{suffix}"
    shown = resolved(config("kb=gpt4", "inferer=llm", *change, name="infer_grn"))
    assert shown["llm"]["label"] == f"gpt4{suffix}"


@pytest.mark.slow
def test_only_stages_that_ask_have_another_key(tmp_path):
    counts = write_counts(tmp_path / "counts.h5ad")
    plain = pipeline_of(counts, tmp_path, *ASKING)
    for change in "llm.context=none", "llm.anonymise=true":
        changed = pipeline_of(counts, tmp_path, *ASKING, change)
        assert plain.tfs.key == changed.tfs.key  # curated
        assert plain.grn.key != changed.grn.key
    default = pipeline_of(counts, tmp_path, *ASKING, "llm.context=null", "llm.anonymise=false")
    assert default.grn.key == plain.grn.key
    description = str(plain.grn.args)
    assert "anonymise" not in description  # keys from before the fields existed stay valid
    asking = ["kb=llm", "inferer=random", *LIVE]
    changes: tuple[list[str], ...] = ([], ["llm.context=none"], ["llm.anonymise=true"])
    assert len({pipeline_of(counts, tmp_path, *asking, *change).tfs.key for change in changes}) == 3


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("llm.context=nope", "llm.context=nope: expected null, none, or the data set whose description is used"),
        ("llm.anonymise=perhaps", "llm.anonymise=perhaps: expected true or false"),
    ],
)
def test_a_mistake_is_one_line(override, told):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (some come through Hydra)
        setting_of(*ASKING, override)
    assert told in one_line(caught.value)
