"""Evidence for an edge of a network: its ranks, a language model's words, correlations, a reference, a knock-out."""

from __future__ import annotations

from dataclasses import dataclass

_SIGNS = {1: "activates", -1: "represses"}


@dataclass(frozen=True)
class EdgeRank:
    """The place of an edge in one network.

    Parameters
    ----------
    network
        Name of the network: KB and inferer, and after a colon the member of a consensus.
    rank, of
        Rank among the TFs that the network ranks for the target, and the number of these; rank None if it does not
        rank the TF.
    importance
        Importance in that network; None for members of a consensus, whose ranks alone are known.
    imposed
        Whether the edge is in the imposed graph.
    sign
        1 for activation, -1 for repression, 0 if the network does not say.
    votes, n_answers
        Share of the answers of a language model that name the TF, and their number; None for other methods.
    """

    network: str
    rank: int | None
    of: int
    importance: float | None = None
    imposed: bool = False
    sign: int = 0
    votes: float | None = None
    n_answers: int | None = None

    @property
    def text(self) -> str:
        """Rank, importance, votes and sign, as a reader sees them."""
        if self.rank is None:
            return "not ranked" if self.of else "target not ranked"
        parts = [f"rank {self.rank} of {self.of}"]
        if self.importance is not None:
            parts.append(f"importance {self.importance:.3g}")
        if self.votes is not None and self.n_answers and self.n_answers > 1:
            parts.append(f"named in {round(self.votes * self.n_answers)} of {self.n_answers} answers")
        parts += [_SIGNS[self.sign]] if self.sign else []
        return ", ".join([*parts, *(["imposed"] if self.imposed else [])])


@dataclass(frozen=True)
class EdgeEvidence:
    """What is known about the edge from ``tf`` to ``target``; None stands for what the runs cannot tell.

    Parameters
    ----------
    tf, target
        The edge.
    ranks
        Its place in each network.
    said
        What the language model's answer says about the target, and the name of its network.
    correlation, correlation_within
        Pearson correlation of log1p counts in training cells, over all of them and within cell types.
    r2_gain, r2_gain_within
        R² of the target in test cells that is lost when the edge is dropped from the imposed graph (ridge regression on
        the regulators that are imposed), raw and with cell type and depth regressed out. Near 0 where the other
        regulators can stand in for the TF.
    r2_gain_of, knock_out_of
        Name of the network whose imposed graph, and whose generator, the numbers are of.
    reference, in_reference, reference_sign
        Name of the reference, whether it has the edge, and the sign it gives it (0: unknown).
    knock_out
        log2 fold change of the target in generated cells under do(TF = 0).
    """

    tf: str
    target: str
    ranks: tuple[EdgeRank, ...]
    said: tuple[str, str] | None = None
    correlation: float | None = None
    correlation_within: float | None = None
    r2_gain: float | None = None
    r2_gain_within: float | None = None
    reference: str | None = None
    in_reference: bool | None = None
    reference_sign: int = 0
    knock_out: float | None = None
    r2_gain_of: str = ""
    knock_out_of: str = ""

    @property
    def name(self) -> str:
        """The edge as it is written."""
        return f"{self.tf} → {self.target}"

    def facts(self) -> list[tuple[str, str]]:
        """Return label and text of everything but the words, in the order shown; what is not known is left out."""
        facts = [(rank.network, rank.text) for rank in self.ranks]
        several = len({rank.network for rank in self.ranks}) > 1
        of_gain, of_knock_out = (f" ({of})" if several and of else "" for of in (self.r2_gain_of, self.knock_out_of))
        numbers = {
            "correlation": (self.correlation, "{:+.3f}"),
            "correlation within cell types": (self.correlation_within, "{:+.3f}"),
            "held-out R² lost without it": (self.r2_gain, "{:+.4f}" + of_gain),
            "the same within cell types": (self.r2_gain_within, "{:+.4f}" + of_gain),
            f"log2 fold change under do({self.tf} = 0)": (self.knock_out, "{:+.3f}" + of_knock_out),
        }
        facts += [(label, form.format(value)) for label, (value, form) in numbers.items() if value is not None]
        if self.reference is not None and self.in_reference is not None:
            sign = f", {_SIGNS[self.reference_sign]}" if self.reference_sign else ""
            facts.append((self.reference, f"has it{sign}" if self.in_reference else "does not have it"))
        return facts

    def text(self) -> str:
        """Return the evidence for the terminal."""
        facts = self.facts()
        width = max(len(label) for label, _ in facts)
        lines = [self.name, "", *(f"  {label:{width}}  {text}" for label, text in facts)]
        if self.said:
            lines += ["", f'  {self.said[0]} about {self.target}: "{self.said[1]}"']
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()
