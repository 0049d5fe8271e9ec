import numpy as np
import pytest
from made_up_runs import OWN_GENES, TYPES, cells_of, types_at_random
from scipy.stats import ranksums

from llm4grn.evaluation.cells.markers import marker_differences, marker_expression, plot_markers, top_markers


def typed(n_cells: int = 150, seed: int = 0):
    types = types_at_random(n_cells, seed)
    cells = cells_of(types, seed + 1)
    cells.obs["cell_type"] = types
    return cells, types


def test_markers_are_the_genes_of_the_type():
    cells, _ = typed()
    found = top_markers(cells)
    assert list(found) == list(TYPES)
    for i, name in enumerate(TYPES):
        own = set(cells.var_names[i * OWN_GENES : (i + 1) * OWN_GENES])
        assert len(found[name]) == 5
        assert set(found[name]) <= own


def test_markers_by_the_rank_sum_test():
    cells, types = typed(seed=3)
    dense = np.log1p(cells.X.toarray())
    scores = np.array([ranksums(gene[types == "NK"], gene[types != "NK"]).statistic for gene in dense.T])
    found = top_markers(cells)["NK"]
    # without the correction for ties, which differs by gene, near ties may swap: the sets agree up to one gene
    assert len(set(found) & set(cells.var_names[np.argsort(-scores)[:5]])) >= 4


def test_a_type_of_few_cells_has_no_markers():
    cells, types = typed()
    types = types.copy()
    types[:4] = "rare"
    cells.obs["cell_type"] = types
    assert list(top_markers(cells)) == list(TYPES)


def test_expression_by_hand():
    cells, types = typed()
    shown = marker_expression(cells, types, ["T", "absent", "B"], ["G07", "G01"])
    dense = np.log1p(cells.X.toarray())[:, [7, 1]]
    for row, name in ((0, "T"), (2, "B")):
        assert shown.mean[row] == pytest.approx(dense[types == name].mean(axis=0))
        assert shown.fraction[row] == pytest.approx((dense[types == name] > 0).mean(axis=0))
    assert np.isnan(shown.mean[1]).all()
    assert list(shown.n_cells) == [(types == "T").sum(), 0, (types == "B").sum()]


def test_differences_by_hand():
    cells, types = typed()
    other, other_types = typed(seed=5)
    other_types = np.where(other_types == "B", "T", other_types)
    one = marker_expression(cells, types, TYPES, ["G07", "G01"])
    two = marker_expression(other, other_types, TYPES, ["G07", "G01"])
    assert marker_differences(one, one) == (0.0, 0.0)
    kept = [1, 2]  # no B among the others
    expected = np.abs(one.mean[kept] - two.mean[kept]).mean(), np.abs(one.fraction[kept] - two.fraction[kept]).mean()
    assert marker_differences(one, two) == pytest.approx(expected)
    none = marker_expression(other, np.full(other.n_obs, "x"), TYPES, ["G07", "G01"])
    assert np.isnan(marker_differences(one, none)).all()


def test_dot_plot_shows_a_type_without_cells(tmp_path):
    from matplotlib.image import imread

    cells, types = typed()
    markers = top_markers(cells)
    genes = [gene for own in markers.values() for gene in own]
    one = marker_expression(cells, types, list(markers), genes)
    two = marker_expression(cells, np.where(types == "B", "T", types), list(markers), genes)
    path = plot_markers({"real": one, "run": two}, markers, one.mean.max(axis=0), tmp_path / "new" / "dots.png")
    darkest = np.array([0x44, 0x01, 0x54]) / 255
    image = imread(path)[..., :3]
    assert image.shape[0] > 300
    assert (np.abs(image - darkest).max(axis=-1) < 0.02).sum() > 500
