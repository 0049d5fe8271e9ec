"""Each seed changes what it must and nothing else; nothing follows from the global random state."""

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from scipy.sparse import csr_matrix

from llm4grn.cli.config import build_setting
from llm4grn.data.preprocess import Preprocessing
from llm4grn.evaluation.scores.score import score
from llm4grn.gan import api, monitor, training, validation
from llm4grn.gan.adversarial import AdversarialModule
from llm4grn.gan.causal_controller import CausalController
from llm4grn.gan.causal_gan import CausalGAN
from llm4grn.gan.hyperparameters import CausalGANHyperparameters, ControllerHyperparameters
from llm4grn.gan.networks import CellGenerator
from llm4grn.grn import CausalGraph
from llm4grn.inference.llm import LLMInferer
from llm4grn.inference.random_graph import RandomGRN
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.knowledge.random_kb import RandomGenes
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.messages import ChatModel
from llm4grn.llm.openai.protocol import to_body
from llm4grn.metrics import functional, stateful
from llm4grn.metrics.arrays import equal_size
from llm4grn.pipeline import Pipeline
from llm4grn.store import Store

# -- data -------------------------------------------------------------------------------------------------------------


def test_the_seed_of_preprocessing_decides_which_cells_are_held_out_and_nothing_else():
    counts = np.random.default_rng(0).poisson(2.0, (80, 12)).astype(np.float32) + 1
    raw = anndata.AnnData(csr_matrix(counts), var=pd.DataFrame(index=[f"g{i:02}" for i in range(12)]))
    raw.obs_names = [f"cell{i}" for i in range(80)]
    preprocessing = Preprocessing(n_genes=12, min_cells=1, n_test=20, n_validation=10)
    one, again, other = (preprocessing.run(raw, seed) for seed in (1, 1, 2))
    assert list(one.obs_names) == list(again.obs_names)
    assert set(one.obs_names[one.obs["split"] == "test"]) != set(other.obs_names[other.obs["split"] == "test"])
    assert list(one.var_names) == list(other.var_names)
    np.testing.assert_array_equal(one.X.toarray(), other[one.obs_names].X.toarray())


# -- the line ---------------------------------------------------------------------------------------------------------


class Course:
    """What the stages of a setting are seeded with, and the random draws that they make."""

    def __init__(self, pipeline: Pipeline, monkeypatch) -> None:
        self.trained, self.generated, self.scored = {}, [], []
        generate = {cls: cls.generate for cls in (CausalController, CausalGAN)}

        def fit(module, folder, name, *more):
            self.trained[name] = module.seed

        def follow(cls):
            def generates(module, n_cells, seed):
                self.generated.append(seed)
                return generate[cls](module, n_cells, seed)

            return generates

        def scores(real, sets, seeds, *more):
            self.scored.extend(seeds)
            return [{"mmd": 0.0} for _ in sets]

        with monkeypatch.context() as patch:
            patch.setattr(api, "fit", fit)
            patch.setattr("llm4grn.evaluation.scores.score.score_all", scores)
            for cls in generate:
                patch.setattr(cls, "generate", follow(cls))
            self.grn, self.graph = pipeline.inferred_grn.edges, pipeline.causal_graph
            for source in "control", "stage1", "run":
                pipeline.sample_scores(source)
        files = pipeline.cell_files("control")
        self.control = [tuple(anndata.read_h5ad(path).obs_names) for path in files]


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    counts = tiny.write_counts(folder / "counts.h5ad")
    setting = build_setting(tiny.config(*tiny.options(counts, folder), "graph.strategy=random"))
    settings = {
        "first": setting,
        "seed": replace(setting, seed=7),
        "inference_seed": replace(setting, inference_seed=7),
        "again": setting,
    }
    with pytest.MonkeyPatch.context() as patch:
        made = {}
        for i, (name, each) in enumerate(settings.items()):
            np.random.seed(i)  # noqa: NPY002
            torch.manual_seed(i)
            made[name] = Course(Pipeline(each, Store(folder / name), {"accelerator": "cpu"}), patch)
    return made


@pytest.mark.slow
def test_a_setting_is_seeded_alike_every_time_whatever_the_global_state(courses):
    first, again = courses["first"], courses["again"]
    assert (first.trained, first.generated, first.scored) == (again.trained, again.generated, again.scored)
    assert first.grn.equals(again.grn)
    assert first.graph == again.graph
    assert first.control == again.control


def test_no_two_stages_and_no_two_data_sets_share_a_seed(courses):
    course = courses["first"]
    assert len(course.generated) == 4
    assert set(course.trained) == {"controller", "causal_gan"}
    drawn = [*course.trained.values(), *course.generated]
    assert len(set(drawn)) == len(drawn)
    assert course.control[0] != course.control[1]
    assert len(set(course.scored[:2])) == 2  # sets of one source are scored alike, whatever the source
    assert course.scored[:2] == course.scored[2:4] == course.scored[4:]


def test_the_seed_reaches_trainings_cells_and_scores_and_not_the_inference(courses):
    first, other = courses["first"], courses["seed"]
    assert not set(first.trained.values()) & set(other.trained.values())
    assert not set(first.generated) & set(other.generated)
    assert not set(first.scored) & set(other.scored)
    assert first.control != other.control
    assert first.grn.equals(other.grn)
    assert first.graph == other.graph


def test_the_inference_seed_reaches_ranking_and_graph_and_nothing_else(courses):
    first, other = courses["first"], courses["inference_seed"]
    assert not first.grn.equals(other.grn)
    assert first.graph != other.graph
    assert (first.trained, first.generated, first.scored) == (other.trained, other.generated, other.scored)
    assert first.control == other.control


def test_random_genes_and_random_regulators_follow_their_seed():
    genes = [f"g{i}" for i in range(60)]
    kb = RandomGenes(n=10)
    assert kb.transcription_factors(genes, seed=1) == kb.transcription_factors(genes[::-1], seed=1)
    assert kb.transcription_factors(genes, seed=1).names != kb.transcription_factors(genes, seed=2).names
    names = anndata.AnnData(var=pd.DataFrame(index=genes))
    one, other = (RandomGRN().infer(names, genes[:20], seed) for seed in (1, 2))
    assert not one.edges.equals(other.edges)
    graphs = [one.top(3, genes, genes[:20], "random", seed) for seed in (1, 1, 2)]
    assert graphs[0] == graphs[1] != graphs[2]
    assert one.top(3, genes, genes[:20], "top", 1) == one.top(3, genes, genes[:20], "top", 2)


def test_a_random_graph_does_not_follow_the_ranking_when_both_have_one_seed():
    genes = [f"g{i}" for i in range(200)]
    names = anndata.AnnData(var=pd.DataFrame(index=genes))
    ranked = RandomGRN().infer(names, genes[:20], 1)
    best, drawn = (ranked.top(5, genes, genes[:20], strategy, 1).regulators for strategy in ("top", "random"))
    shared = np.mean([len({*best[gene]} & {*drawn[gene]}) / 5 for gene in genes[20:]])
    assert 0.15 < shared < 0.35  # 5 of 20 by chance


# -- training ---------------------------------------------------------------------------------------------------------

GENES = tuple(f"g{i}" for i in range(8))
GRAPH = CausalGraph(GENES, {gene: GENES[:2] for gene in GENES[3:]})
SMALL = {"steps": 3, "batch_size": 8, "critic_layers": [4], "critic_updates": 1}
LR = {"generator_lr": [1e-3, 1e-3], "critic_lr": [1e-3, 1e-3]}


def stage(name: str, seed: int, **changes) -> AdversarialModule:
    cells = torch.rand(30, 8, generator=torch.Generator().manual_seed(0)) + 0.1
    cells = cells / cells.sum(dim=1, keepdim=True) * 20_000
    if name == "controller":
        hyper = ControllerHyperparameters(**SMALL, **LR, noise_dim=3, generator_layers=[6], **changes)
        return CausalController(cells, hyper, 20_000, seed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        roots = CellGenerator(3, [6], 8)
    hyper = CausalGANHyperparameters(**SMALL, **LR, labeler_layers=[4], **changes)
    return CausalGAN(cells, GRAPH, roots, hyper, 20_000, seed)


STAGES = pytest.mark.parametrize("name", ["controller", "causal_gan"])


def step(module: AdversarialModule, number: int):
    """What a step draws: real cells, and the noise of its first generated cells."""
    drawn = []
    noise = type(module).noise
    module.noise = lambda n, random: drawn.append(noise(module, n, random)) or drawn[-1]
    module.start(dict(zip(module.networks(), module.configure_optimizers(), strict=True)))
    module.take_step(number)
    noise = drawn[0] if isinstance(drawn[0], torch.Tensor) else torch.cat([part.flatten() for part in drawn[0]])
    return module.batch(number), noise


@STAGES
def test_the_seed_of_a_training_reaches_weights_batches_and_the_noise_of_each_step(name):
    weights = [torch.cat([p.flatten() for p in stage(name, seed).parameters()]) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    (batch, noise), (same_batch, same_noise), (later_batch, later_noise), (other_batch, other_noise) = (
        step(stage(name, seed), number) for seed, number in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert torch.equal(batch, same_batch)
    assert torch.equal(noise, same_noise)
    for another in later_batch, other_batch:
        assert not torch.equal(batch, another)
    for another in later_noise, other_noise:
        assert not torch.equal(noise, another)


@STAGES
def test_critic_and_target_generators_of_two_seeds_share_no_weights(name):
    one, other = stage(name, 1), stage(name, 2)
    networks = zip(one.networks().items(), other.networks().items(), strict=True)
    for (network, (mine, _)), (_, (theirs, _)) in networks:
        matrices = [(a, b) for a, b in zip(mine, theirs, strict=True) if a.dim() > 1 and a.numel() and a.std() > 0]
        assert matrices, network
        assert not any(torch.equal(a, b) for a, b in matrices)


@STAGES
def test_the_noise_by_which_a_preconditioned_generator_starts_is_of_the_seed(name, monkeypatch):
    seeds = []
    manual_seed = torch.Generator.manual_seed

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            seeds.append(seed)
            return manual_seed(self, seed)

    monkeypatch.setattr(torch, "Generator", Generator)
    for seed in 1, 1, 2:
        module = CausalController if name == "controller" else CausalGAN
        assert isinstance(stage(name, seed, preconditioned=True), module)
    start = [seed for seed in seeds if seed != 0]  # 0: of the cells
    assert start[0] == start[1] != start[2]


@STAGES
def test_generated_cells_are_those_of_their_seed(name):
    module = stage(name, 1)
    one, again, other = (module.generate(12, seed) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@STAGES
def test_validation_and_monitor_draw_from_streams_of_the_training_s_seed(name, tmp_path, monkeypatch):
    generated, scored, looked = [], [], []
    cls = {"controller": CausalController, "causal_gan": CausalGAN}[name]
    generate, look = cls.generate, monitor.collapse_measures

    def generates(module, n_cells, seed):
        generated.append(seed)
        return generate(module, n_cells, seed)

    def scores(real, cells, seed, names, device):
        scored.append(seed)
        return dict.fromkeys(names, 0.0)

    def looks(module, reference, seed):
        looked.append(seed)
        return look(module, reference, seed)

    monkeypatch.setattr(cls, "generate", generates)
    monkeypatch.setattr(validation, "score", scores)
    monkeypatch.setattr(monitor, "collapse_measures", looks)
    cells = torch.full((6, 8), 2500.0)
    for run, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(run)
        training.fit(stage(name, seed, validate_every=25), folder, name, {"accelerator": "cpu"}, validation=cells)
    for one, again, other in generated, scored, looked:
        assert one == again != other
    assert generated[0] != looked[0]


# -- questions --------------------------------------------------------------------------------------------------------


def llm(**options) -> LanguageModel:
    class Chat(ChatModel):
        max_concurrency = 1

        def complete(self, request): ...

        def worst_cost(self, request):
            return 0.0

    Chat.__abstractmethods__ = frozenset()
    return LanguageModel("tester", "model", Chat(), **options)


def bodies(questions, model: LanguageModel) -> list[dict]:
    return [to_body(model.request(question)) for question in questions]


def asked_of_the_inferer(model, seed):
    return bodies(LLMInferer(model, n_samples=2).questions(["t1", "t2"], ["A", "B"], seed), model)


def asked_of_the_kb(model, seed):
    return bodies(LLMKnowledgeBase(model, window=2, overlap=1).questions(["A", "B", "C"], "Blood.", seed), model)


@pytest.mark.parametrize("ask", [asked_of_the_inferer, asked_of_the_kb])
def test_the_seed_reaches_every_question_to_a_model_that_draws_and_changes_nothing_else(ask):
    model = llm(temperature=0.7)
    one, again, other = (ask(model, seed) for seed in (1, 1, 2))
    assert one == again
    for mine, theirs in zip(one, other, strict=True):
        assert mine["seed"] != theirs["seed"]
        assert {**mine, "seed": 0} == {**theirs, "seed": 0}


def test_samples_of_one_question_have_seeds_of_their_own():
    first, second, *others = asked_of_the_inferer(llm(temperature=0.7), 1)
    assert first["messages"] == second["messages"]
    assert len({each["seed"] for each in (first, second, *others)}) == 4


def test_a_model_at_temperature_0_is_sent_no_seed_so_that_all_seeds_share_one_answer():
    model = llm(temperature=0.0)
    assert asked_of_the_kb(model, 1) == asked_of_the_kb(model, 2)
    assert all("seed" not in body for body in asked_of_the_kb(model, 1))


# -- metrics ----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
REAL, SYNTHETIC = RNG.gamma(0.5, 30, size=(60, 10)), RNG.gamma(0.5, 30, size=(25, 10))


def test_the_seed_decides_the_subsamples_of_the_larger_set():
    one, again, other = ([real.tobytes() for real, _ in equal_size(REAL, SYNTHETIC, seed)] for seed in (1, 1, 2))
    assert one == again
    assert not set(one) & set(other)
    assert len(set(one)) == 5


@pytest.mark.parametrize("metric", ["euclidean_distance", "mmd"])
def test_scores_of_unequal_sets_follow_their_seed_and_those_of_equal_sets_do_not(metric):
    def value(real, seed):
        return score(real, SYNTHETIC, seed, [metric])[metric]

    assert value(REAL, 1) == value(REAL, 1) != value(REAL, 2)
    assert value(REAL[:25], 1) == value(REAL[:25], 2)


def test_a_stateful_metric_subsamples_with_its_seed():
    def value(seed):
        metric = stateful.EuclideanDistance(seed)
        metric.update(torch.from_numpy(REAL), torch.from_numpy(SYNTHETIC))
        return metric.compute().item()

    assert value(1) == value(1) != value(2)


@pytest.fixture
def seeded(monkeypatch):
    """The random states that scikit-learn and the forest are given, by where."""
    import sklearn.decomposition
    import sklearn.model_selection

    from llm4grn.metrics import trees

    found = {}
    places = {
        "split": (sklearn.model_selection, "train_test_split"),
        "forest": (trees, "forest_votes"),
        "components": (sklearn.decomposition, "PCA"),
    }
    for name, (module, function) in places.items():
        original = getattr(module, function)

        def follow(*args, name=name, original=original, **kwargs):
            found.setdefault(name, []).append(args[-1] if name == "forest" else kwargs.get("random_state"))
            return original(*args, **kwargs)

        monkeypatch.setattr(module, function, follow)
    return found


def test_split_and_forest_of_the_auroc_have_streams_of_the_seed(seeded):
    for seed in 1, 1, 2:
        functional.rf_auroc(REAL, REAL + 1, seed, n_trees=2)
    for name in "split", "forest":
        one, again, other = seeded[name]
        assert one is not None
        assert one == again != other
    assert not set(seeded["split"]) & set(seeded["forest"])


def test_the_auroc_does_not_depend_on_the_global_state():
    values = []
    for state in range(4):
        np.random.seed(state)  # noqa: NPY002
        values.append(functional.rf_auroc(REAL, REAL[::-1] + 1, seed=1, n_trees=5))
    assert len(set(values)) == 1


def test_components_of_milisi_have_streams_of_the_seed(seeded):
    """All that is random of it: the t-SNE starts from them."""
    for seed in 1, 1, 2:
        functional.milisi(REAL[:8], REAL[8:16], seed)
    one, again, other = seeded["components"]
    assert one is not None
    assert one == again != other
