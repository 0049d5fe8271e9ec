"""Several processes with a share of every batch each: the training of one process, up to rounding."""

import multiprocessing

import pytest
import torch
from test_training import CPU, KilledError, causal_gan, controller, same, weights

from llm4grn.errors import UserError
from llm4grn.gan import training
from llm4grn.gan.adversarial import STEPS_PER_EPOCH, AdversarialModule
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.distributed import n_devices
from llm4grn.metrics import functional

TWO = {**CPU, "devices": 2}
FEW_STEPS = 6


@pytest.fixture
def float64():
    """In float32, AdamW makes full steps out of gradients that are zero but for rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def forked(monkeypatch):
    """Ranks that begin with everything imported: seconds less of CPU time for each."""
    get_context = multiprocessing.get_context
    methods = {"spawn": "fork"}
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: get_context(methods.get(method, method)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [controller, causal_gan])
def test_two_processes_train_what_one_does(make, tmp_path, float64):
    """Weights and running statistics; the batch of 17 has no equal shares."""
    trained = []
    for name, trainer in ("one", CPU), ("two", TWO):
        module = make(preconditioned=True, batch_size=17, checkpoint=FEW_STEPS, critic_spaces=["counts", "log1p"])
        start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        training.fit(module, tmp_path / name, "model", trainer)
        trained.append(module.state_dict())
    moved = 0
    for name, alone in trained[0].items():
        alone, shared = alone.double(), trained[1][name].double()
        assert (alone - shared).norm() <= 1e-9 * alone.norm(), name
        moved += not torch.equal(alone, start[name].double())
    assert moved > 0.5 * len(start)
    losses = [(tmp_path / name / training.LOSSES).read_text().splitlines() for name in ("one", "two")]
    assert losses[0][0] == losses[1][0]
    for alone, shared in zip(*(row[1].split(",") for row in losses), strict=True):
        assert float(shared) == pytest.approx(float(alone), rel=1e-9)


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path, monkeypatch, forked):
    """Rank 0 is killed and takes the other with it; both go on from its checkpoint. Only rank 0 looks and validates."""
    monkeypatch.setitem(functional.rf_auroc.__kwdefaults__, "n_trees", 20)
    validation = torch.rand(20, 12, generator=torch.Generator().manual_seed(1)) * 1000
    sizes = {"preconditioned": True, "checkpoint": STEPS_PER_EPOCH + 12, "monitor_every": 25, "validate_every": 1000}

    def fit(module, folder):
        training.fit(module, folder, "causal_gan", TWO, validation=validation, checkpoint_every=0)

    undisturbed = causal_gan(**sizes)
    fit(undisturbed, tmp_path / "whole")

    killed, n_steps = causal_gan(**sizes), iter(range(STEPS_PER_EPOCH + 10))
    take_step = AdversarialModule.take_step

    def dies(self, step):
        if next(n_steps, None) is None:
            raise KilledError
        return take_step(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(CausalGAN, "take_step", dies)
        with pytest.raises(KilledError):
            fit(killed, tmp_path / "killed")
    assert not torch.distributed.is_initialized()

    resumed = causal_gan(**sizes)
    fit(resumed, tmp_path / "killed")
    assert same(weights(resumed), weights(undisturbed))
    for name in "losses.csv", "monitor.csv", "validation.csv":
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert torch.equal(resumed.generate(20, seed=0), undisturbed.generate(20, seed=0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"devices": 17}, r"trainer\.devices=17: more than the 16 cells of model\.controller\.batch_size"),
        ({"devices": 2, "compile": True}, r"trainer\.compile=true with trainer\.devices=2"),
    ],
)
def test_what_cannot_be_shared_is_refused(options, says, tmp_path):
    with pytest.raises(UserError, match=says):
        training.fit(controller(), tmp_path, "controller", CPU | options)


@pytest.mark.parametrize(
    ("options", "n"),
    [({}, 1), ({"devices": 3}, 3), ({"devices": [0, 2]}, 2), ({"devices": "auto"}, 1), ({"devices": -1}, 1)],
)
def test_devices_are_counted(options, n):
    assert n_devices({"accelerator": "cpu"} | options) == n
