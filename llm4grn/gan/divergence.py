"""What to say when a training has diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from llm4grn.gan.adversarial import AdversarialModule

#: A loss this large in the step before says that its network ran away; healthy ones are of the order of 1 if cells are
#: preconditioned, and of the order of a cell's counts (1e4) if not.
RAN_AWAY = 1e8


def is_finite(module: AdversarialModule) -> bool:
    """Whether all losses of the last epoch and all weights are."""
    if not all(math.isfinite(loss) for loss in module.losses.values()):
        return False
    return bool(torch.stack([weights.detach().isfinite().all() for weights in module.parameters()]).all())


def diagnosis(module: AdversarialModule) -> str:
    """Step, loss and likely cause of a training whose losses or weights are no longer finite."""
    steps = [(step, {name: loss.item() for name, loss in losses.items()}) for step, losses in module.losses_of_steps]
    before: Mapping[str, float] = {}
    for step, losses in steps:
        wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            return f"at step {step + 1}: {wrong[0]} is not finite; {_cause(module, wrong[0], before)}"
        before = losses
    wrong = [name for name, weights in module.named_parameters() if not weights.detach().isfinite().all()]
    where = wrong[0].split(".")[0] if wrong else "network"
    return f"at step {module.steps_done}: weights of the {where} are not finite; {_cause(module, where, before)}"


def _cause(module: AdversarialModule, wrong: str, before: Mapping[str, float]) -> str:
    if not module.cells.per_gene(lambda cells: cells.isfinite().all(dim=0)).all():
        return "likely cause: the training cells themselves hold NaN or infinite values"
    largest = max(before, key=lambda name: abs(before[name]), default="")
    if largest and abs(before[largest]) > RAN_AWAY:
        wrong = largest
        seen = f"{largest} was {before[largest]:.2g} in the step before"
    else:
        seen = "the step before looked sound" if before else "it is among the first steps looked at"
    if "labeler" in wrong:
        fields = "labeler_lr"
    elif wrong.startswith("generator"):
        fields = "generator_lr"
    else:
        fields = "critic_lr, then generator_lr"
    rounding = ", or set precision=float32" if module.hyper.precision == "bfloat16" else ""
    return f"likely cause: learning rates too high ({seen}); lower {fields}{rounding}"
