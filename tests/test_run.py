"""Parts of a run's folder; the whole is in the tests of the scripts."""

from dataclasses import replace

import yaml

from llm4grn.results import Result
from llm4grn.run import _mean, _yaml

LABELS = {"dataset": "d", "kb": "human", "inferer": "random", "llm": "", "model": "small", "graph": "k2", "seed": 0}


def test_the_mean_is_of_one_source_and_metric():
    one = Result(**LABELS, sample=0, source="run", metric="rf_auroc", value=0.6)
    results = [one, replace(one, sample=1, value=0.8), replace(one, source="control", value=0.5)]
    results.append(replace(one, metric="mmd", value=0.01))
    assert _mean(results, "run", "rf_auroc") == 0.7
    assert _mean(results, "control", "mmd") is None


def test_the_configuration_is_written_as_it_was_typed():
    text = _yaml({"dataset": {"context": "Zellen für Ω"}, "seed": 1})
    assert "Zellen für Ω" in text
    assert text.index("dataset") < text.index("seed")
    assert yaml.safe_load(text) == {"dataset": {"context": "Zellen für Ω"}, "seed": 1}
