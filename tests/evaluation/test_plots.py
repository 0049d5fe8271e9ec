import sys

import numpy as np
import pytest
from scipy import sparse

from llm4grn.errors import UserError
from llm4grn.evaluation.cells.plots import joint_tsne, plot_losses, read_history


def picture(path) -> np.ndarray:
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(path)


def has_colour(image: np.ndarray, hex_colour: str) -> bool:
    wanted = np.array([int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    # Points are drawn at 75 % on white or on each other.
    blended = 0.75 * wanted + 0.25
    return bool((np.abs(image[..., :3] - blended).max(axis=-1) < 0.02).any())


def test_joint_tsne_draws_every_set_over_the_real_cells(tmp_path):
    rng = np.random.default_rng(0)
    real, control, run = (rng.poisson(2, size=(40, 20)).astype(float) for _ in range(3))
    sets = {"control": control, "stage 1": sparse.csr_matrix(run + 3), "human / grnboost2": run}
    path = joint_tsne(real, sets, tmp_path / "new" / "tsne.png", seed=0, rf_auroc={"control": 0.5}, max_cells=30)
    image = picture(path)
    assert image.shape[1] > 2.5 * image.shape[0]
    for colour in ("#9a9a9a", "#009e73", "#0072b2", "#d55e00"):
        assert has_colour(image, colour)


def test_joint_tsne_is_the_same_picture_for_the_same_seed(tmp_path):
    cells = np.random.default_rng(0).poisson(2, size=(2, 30, 10))
    first, again, other = (
        joint_tsne(cells[0], {"control": cells[1]}, tmp_path / f"{name}.png", seed=seed, max_cells=20).read_bytes()
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again != other


def test_too_few_cells_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 4 cells"):
        joint_tsne(np.ones((1, 3)), {"control": np.ones((1, 3))}, tmp_path / "tsne.png", seed=0)


def test_losses_from_csv_to_picture(tmp_path):
    csv_path = tmp_path / "losses.csv"
    csv_path.write_text("epoch,step,critic_loss,val\n0,0,1.5,\n0,10,,\n0,20,0.5,\n")
    history = read_history(csv_path)
    assert history["step"] == [0.0, 10.0, 20.0]
    assert np.isnan(history["critic_loss"][1])
    more = {"step": [0, 1], **{f"loss_{i}": [1.0, 2.0] for i in range(5)}}
    image = picture(plot_losses({"stage 1": history, "stage 2": more}, tmp_path / "losses.png"))
    assert has_line(image)


def has_line(image: np.ndarray) -> bool:
    return bool((np.abs(image[..., :3] - np.array([0, 0x72, 0xB2]) / 255).max(axis=-1) < 0.02).any())


def test_losses_that_cannot_be_drawn_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_history(tmp_path / "losses.csv")
    (tmp_path / "losses.csv").write_text("step,loss\n1,abc\n")
    with pytest.raises(UserError, match="holds no numbers"):
        read_history(tmp_path / "losses.csv")
    with pytest.raises(UserError, match="'step' missing"):
        plot_losses({"stage 1": {"loss": [1.0]}}, tmp_path / "losses.png")
    with pytest.raises(UserError, match="nothing recorded"):
        plot_losses({"stage 1": {"step": [1.0], "loss": [float("nan")]}}, tmp_path / "losses.png")


def test_no_pyplot_state_is_touched():
    import subprocess

    code = (
        "import sys, numpy, tempfile, pathlib; from llm4grn.evaluation.cells.plots import plot_losses;"
        "plot_losses({'stage 1': {'step': [0, 1], 'loss': [1, 2]}}, pathlib.Path(tempfile.mkdtemp()) / 'l.png');"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
