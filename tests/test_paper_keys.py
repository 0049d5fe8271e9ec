"""The store keys of the paper's data sets: whoever finished a stage of them before finds it again."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import config

from llm4grn.cli.config import build_setting
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

#: As they were before gene selection could be chosen, scores as they are since a second version of their metrics, for
#: files whose digest is 64 zeros; model=paper.
KEYS = {
    "pbmc": {
        "data": "abd12d4eb9cc45ce4a9c",
        "tfs": "1fe6f371fbff223fc140",
        "grn": "53aba1b10673b47a45c1",
        "graph": "095673bf95ab4a21bd40",
        "controller": "0775b445eb608c104c11",
        "causal_gan": "121096c06b5dc7a8ed38",
        "cells of control": "f415e1ca53616a567862",
        "cells of stage1": "8bc6a86d6d41baeb698b",
        "cells of run": "68b3e5c95ee27cd5391f",
        "scores of control": "686c507c41504bdf726a",
        "scores of stage1": "373d340747e7d1b7588d",
        "scores of run": "78599394b3ac5350d29f",
    },
    "pbmc_ctl": {
        "data": "abd12d4eb9cc45ce4a9c",
        "tfs": "73a45442b9145c401b5a",
        "grn": "734ade4bed095b0797ad",
        "graph": "1a10e429f17d04851874",
        "controller": "0775b445eb608c104c11",
        "causal_gan": "0ddaecd44f201a0526f7",
        "cells of control": "f415e1ca53616a567862",
        "cells of stage1": "8bc6a86d6d41baeb698b",
        "cells of run": "e6b32cf58c72bd9b658d",
        "scores of control": "686c507c41504bdf726a",
        "scores of stage1": "373d340747e7d1b7588d",
        "scores of run": "45dc98422ec26832715c",
    },
    "bone_marrow": {
        "data": "6e777c2e37e8c0df48d8",
        "tfs": "2d23b54ee589336fdbbe",
        "grn": "626876d72bc998520c59",
        "graph": "b6731007e90de325e3c7",
        "controller": "6c9b48451807a3e262f2",
        "causal_gan": "392b3262eaba86fe80f5",
        "cells of control": "f4f91fefc46da75402a5",
        "cells of stage1": "d41060d22ac9da58810f",
        "cells of run": "bebecda2da2e586ef4a2",
        "scores of control": "494b2e6cbd3a785ac0cb",
        "scores of stage1": "b0eb513066b96fa918a8",
        "scores of run": "ef1e95720a1f0621e1aa",
    },
}


@dataclass(frozen=True)
class Fixed:
    """A source whose files are there; its name is part of the keys."""

    def prepare(self) -> None: ...

    def fingerprint(self) -> dict[str, str]:
        return {"counts": "0" * 64}


@pytest.mark.parametrize("dataset", KEYS)
def test_the_keys_of_the_papers_data_sets_are_what_they_were(dataset, tmp_path):
    setting = build_setting(config(f"dataset={dataset}", "model=paper"))
    source = dataclasses.replace(setting.dataset, source=Fixed())
    pipeline = Pipeline(dataclasses.replace(setting, dataset=source), Store(Path(tmp_path)))
    keys = {stage.name: stage.key for stage in pipeline.stages if stage.name not in ("cells", "scores")}
    sources = ("control", "stage1", "run")
    keys |= {f"cells of {name}": pipeline.cells(name).key for name in sources}
    keys |= {f"scores of {name}": pipeline.scores(name).key for name in sources}
    assert keys == KEYS[dataset]
