"""Share of the input tokens that a server's prompt cache can serve, on the questions of ``make table1``.

    python -m benchmarks.prompt_cache

A prompt cache serves the beginning of a prompt that an earlier prompt had too. The questions are those of the jobs of
one seed: 99 windows of genes, and the regulators under the curated list and under the recorded model's own list, with
20 targets in each question, as the recording has them, and with one. They are built in the wording before
(``cot_context_v1``) and after (``cot_context``). Three caches: an ideal one, which serves any common beginning; vLLM's,
blocks of 16 tokens; and OpenAI's, at least 1024 tokens in steps of 128. Tokens are those of ``estimate_tokens``;
nothing is sent. The last line is JSON.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from llm4grn.cli.config import build_setting
from llm4grn.cli.program import CONF
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.llm.openai.tokens import estimate_tokens
from llm4grn.llm.prompts import Messages, Prompts
from llm4grn.setting import Setting

GENES = (Path(__file__).resolve().parents[1] / "tests" / "data" / "pbmc3k_genes.txt").read_text().split()
WORDINGS = {"before": "cot_context_v1", "after": "cot_context"}
CACHES: dict[str, Callable[[int], int]] = {
    "ideal": lambda tokens: tokens,
    "blocks of 16": lambda tokens: tokens // 16 * 16,
    "1024 and 128": lambda tokens: tokens // 128 * 128 if tokens >= 1024 else 0,
}


def shares(questions: Sequence[Messages]) -> dict[str, float]:
    """Return the share of the tokens that each cache serves, if the questions are asked in this order."""
    texts = ["\n".join(message["content"] for message in messages) for messages in questions]
    served, total = dict.fromkeys(CACHES, 0), 0
    earlier: list[str] = []  # sorted, so that the text with the longest common beginning is a neighbour
    for text in texts:
        total += estimate_tokens(text)
        i = bisect.bisect(earlier, text)
        common = max((_common(text, other) for other in earlier[max(0, i - 1) : i + 1]), default=0)
        earlier.insert(i, text)
        tokens = estimate_tokens(text[:common])
        for name, rule in CACHES.items():
            served[name] += rule(tokens)
    return {name: round(tokens / total, 4) for name, tokens in served.items()}


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    return bisect.bisect_left(range(1, min(len(one), len(other)) + 1), True, key=lambda n: one[:n] != other[:n])


def of_table1(kb: str) -> Setting:
    """Return the setting of a job of ``make table1`` with this knowledge base."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build_setting(compose("infer_grn", ["dataset=pbmc3k", f"kb={kb}", "inferer=llm", "llm=shipped"]))


def main() -> None:
    settings = {kb: of_table1(kb) for kb in ("human", "llm")}
    context = settings["llm"].dataset.context
    tfs = [sorted(each.kb.transcription_factors(GENES, context, each.seed).names) for each in settings.values()]
    kb = settings["llm"].kb
    assert isinstance(kb, LLMKnowledgeBase)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for when, name in WORDINGS.items():
        prompts = Prompts.load(name)
        windows = [prompts.transcription_factors(window, context) for window in kb.windows(GENES)]
        result[when] = {"transcription factors": shares(windows)}
        for size in 20, 1:
            regulators = [
                prompts.regulators(targets[i : i + size], names, 10, context)
                for names in tfs
                for targets in [sorted(set(GENES) - set(names))]
                for i in range(0, len(targets), size)
            ]
            result[when][f"regulators, targets: {size}"] = shares(regulators)
            result[when][f"all, targets: {size}"] = shares([*windows, *regulators])
    print(f"{'':32}" + "".join(f"{when + ', ' + cache:>24}" for cache in CACHES for when in WORDINGS))
    for row in result["before"]:
        print(f"{row:32}" + "".join(f"{result[when][row][cache]:>24.1%}" for cache in CACHES for when in WORDINGS))
    print(json.dumps({"benchmark": "prompt_cache", **result}))


if __name__ == "__main__":
    main()
