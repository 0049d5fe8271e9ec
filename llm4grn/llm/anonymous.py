"""Codes in the place of gene names, so that a language model cannot use what it has read about a gene."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from llm4grn.llm.parsing.answers import Answer
from llm4grn.runtime.seeding import derive_seed

_WORD = re.compile(r"[\w.\-]*\w")


@dataclass(frozen=True)
class GeneNames:
    """The names under which a question shows genes: their own, or codes.

    Parameters
    ----------
    codes
        Code of each gene; empty if genes are shown by their own names.
    """

    codes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def coded(cls, genes: Iterable[str], tf_names: Iterable[str] = ()) -> GeneNames:
        """Give every gene a code: ``TF_017`` to the given TFs, ``GENE_412`` to all other genes.

        The numbers come from the sorted names in a fixed random order: they are the same in every run on these genes,
        and follow no alphabet.

        Examples
        --------
        >>> GeneNames.coded(["CD3E", "LYZ", "SPI1"], ["SPI1"]).codes
        {'SPI1': 'TF_001', 'CD3E': 'GENE_002', 'LYZ': 'GENE_001'}
        """
        tfs = set(tf_names)
        return cls({**_numbered(tfs, "TF"), **_numbered(set(genes) - tfs, "GENE")})

    def shown(self, gene: str) -> str:
        """Return the name under which a gene is shown."""
        return self.codes.get(gene, gene)

    def ordered(self, genes: Sequence[str]) -> list[str]:
        """Return the genes in the order of their codes, as the order of a list would give its names away."""
        return sorted(genes, key=self.shown) if self.codes else list(genes)

    def text(self, text: str) -> str:
        """Return a description of the data without the names of coded genes: ``CD14+ cells`` becomes ``GENE+ cells``.

        No code is put there, as a known phrase would tell which gene it stands for.
        """
        return _WORD.sub(lambda match: "GENE" if match[0] in self.codes else match[0], text)

    def read(self, answer: Answer) -> Answer:
        """Return an answer to a coded question with the genes' own names.

        Names that were not offered stay as they are written: they are quoted when the question is repeated.
        """
        if not self.codes:
            return answer
        symbols, repeated = (tuple(self._genes[code] for code in names) for names in (answer.symbols, answer.repeated))
        return replace(answer, symbols=symbols, repeated=repeated)

    @cached_property
    def _genes(self) -> dict[str, str]:
        return {code: gene for gene, code in self.codes.items()}


def _numbered(genes: set[str], kind: str) -> dict[str, str]:
    import numpy as np

    ordered = sorted(genes)
    order = np.random.default_rng(derive_seed(0, "anonymise", kind)).permutation(len(ordered))
    digits = max(3, len(str(len(ordered))))
    return {gene: f"{kind}_{number + 1:0{digits}}" for gene, number in zip(ordered, order, strict=True)}
