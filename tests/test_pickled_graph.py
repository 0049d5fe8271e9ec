"""Pickled graphs become edges; what else a pickle asks for is refused, not done."""

import collections
import os
import pickle
import subprocess
import sys

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.pickled import read_pickled_graph

TABLE = pd.DataFrame({"TF": ["A", "B", "A"], "target": ["t", "t", "u"], "importance": [3.0, 2.5, 0.5]})
EDGES = TABLE.values.tolist()
UNWEIGHTED = [["A", "t", 1.0], ["A", "u", 1.0], ["B", "t", 1.0]]


def written(tmp_path, graph, protocol=None):
    path = tmp_path / "graph.pkl"
    path.write_bytes(graph if isinstance(graph, bytes) else pickle.dumps(graph, protocol))
    return path


def digraph(attribute="weight", cast=float, name=str):
    graph = nx.DiGraph(kind="a graph")
    for tf, target, importance in EDGES:
        graph.add_edge(name(tf), name(target), **({attribute: cast(importance)} if attribute else {}))
    _ = graph.nodes, graph.edges, graph.adj  # caches them, and then they are pickled as well
    return graph


FRAMES = {
    "plain": TABLE,
    "other order and columns": TABLE.assign(rank=[1, 2, 3])[["importance", "rank", "target", "TF"]],
    "rows in another order": TABLE.iloc[[2, 0, 1]],
    "float32": TABLE.astype({"importance": "float32"}),
    "integers": TABLE.assign(importance=[3, 2, 1]),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames(tmp_path, frame, protocol):
    expected = GRN.from_edges(frame).edges
    pd.testing.assert_frame_equal(read_pickled_graph(written(tmp_path, frame, protocol)).edges, expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "graph",
    [digraph(), digraph("importance", np.float32), digraph(cast=np.float64, name=np.str_)],
    ids=["weight", "importance", "numpy"],
)
def test_directed_graphs(tmp_path, graph, protocol):
    assert read_pickled_graph(written(tmp_path, graph, protocol)).edges.values.tolist() == EDGES


def test_a_graph_without_weights_gives_all_edges_1_and_a_warning(tmp_path, caplog):
    with caplog.at_level("WARNING", logger="llm4grn"):
        edges = read_pickled_graph(written(tmp_path, digraph(None))).edges
    assert edges.values.tolist() == UNWEIGHTED
    assert "all importances are equal" in caplog.text


BY_TF = {"A": ["t", "u"], "B": ["t"]}
DICTIONARIES = {
    "lists": BY_TF,
    "sets": {tf: set(targets) for tf, targets in BY_TF.items()},
    "frozensets": {tf: frozenset(targets) for tf, targets in BY_TF.items()},
    "tuples": {tf: tuple(targets) for tf, targets in BY_TF.items()},
    "defaultdict": collections.defaultdict(list, BY_TF),
    "OrderedDict": collections.OrderedDict(BY_TF),
    "arrays of objects": {tf: np.array(targets, dtype=object) for tf, targets in BY_TF.items()},
    "arrays of text": {np.str_(tf): np.array(targets) for tf, targets in BY_TF.items()},
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("graph", DICTIONARIES.values(), ids=DICTIONARIES)
def test_dictionaries(tmp_path, graph, protocol):
    path = written(tmp_path, graph, protocol)
    assert read_pickled_graph(path, "tf").edges.values.tolist() == UNWEIGHTED
    turned = read_pickled_graph(path, "target").edges
    assert sorted(turned[["target", "TF", "importance"]].values.tolist()) == UNWEIGHTED


def test_dictionaries_with_importances(tmp_path):
    graph = {"A": {"t": 3.0, "u": np.float64(0.5)}, "B": collections.OrderedDict(t=2.5)}
    assert read_pickled_graph(written(tmp_path, graph), "tf").edges.values.tolist() == EDGES


def test_a_dictionary_does_not_say_what_its_keys_are(tmp_path):
    with pytest.raises(UserError, match="--keys tf or --keys target"):
        read_pickled_graph(written(tmp_path, BY_TF))


# -- what must not happen ---------------------------------------------------------------------------------------------


class Command:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    """Pickles that would create the file ``marker``, in as many ways as pickles can call something."""
    touch = f"open({str(marker)!r}, 'w').close()"
    yield "reduce", pickle.dumps(Command(exec, touch))
    yield "a shell", pickle.dumps(Command(os.system, f"touch {marker}"))
    yield "a process", pickle.dumps({"A": Command(subprocess.getoutput, f"touch {marker}")})
    yield "inside a graph", pickle.dumps(nx.DiGraph([("A", "t", {"weight": Command(exec, touch)})]))
    yield "protocol 0", f"cbuiltins\nexec\n(V{touch}\ntR.".encode()
    yield "instance", f"(V{touch}\nibuiltins\nexec\n.".encode()
    yield "object", f"(cbuiltins\nexec\nV{touch}\no.".encode()
    yield "dotted name", b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93."
    yield "attribute of a known class", b"\x80\x04\x8c\x05numpy\x8c\x17dtype.__init_subclass__\x93."
    yield "numpy's loader", b"cnumpy\nload\n(Vx.npy\ntR."
    yield "getattr", f"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(V{'os'}\ntRVsystem\ntR.".encode()


@pytest.mark.parametrize("name", [name for name, _ in hostile("x")])
def test_nothing_is_executed(tmp_path, name):
    marker = tmp_path / "marker"
    content = dict(hostile(marker))[name]
    with pytest.raises(UserError, match=r"graph\.pkl: asks for .*which is not opened; write the edges as a table"):
        read_pickled_graph(written(tmp_path, content), "tf")
    assert not marker.exists()


def test_the_hostile_pickles_would_work(tmp_path):
    """Or the test above would prove nothing."""
    for name, content in hostile(tmp_path / "marker"):
        if name in ("reduce", "a shell", "a process", "inside a graph", "protocol 0", "instance", "object"):
            (tmp_path / "marker").unlink(missing_ok=True)
            pickle.loads(content)
            assert (tmp_path / "marker").exists(), name


def test_known_names_are_not_called_either(tmp_path):
    """A state given to a name that is known must not reach anything that outlives the file."""
    before = {name: value for name, value in vars(read_pickled_graph).items()}
    for content in (
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",  # BUILD on a class
        b"\x80\x02cbuiltins\nset\n]K\x01a\x85R}(K\x02K\x03ub.",
        b"\x80\x02ccollections\ndefaultdict\n(cbuiltins\ndict\ntR.",
    ):
        with pytest.raises(UserError):
            read_pickled_graph(written(tmp_path, content), "tf")
    assert vars(read_pickled_graph) == before
    assert collections.defaultdict(list)["x"] == []


def test_no_library_is_imported_by_a_pickle(tmp_path):
    """networkx is named by the file, and not even looked for."""
    path = written(tmp_path, digraph())
    program = (
        "import sys; sys.modules['networkx'] = None\n"
        "from llm4grn.grn.pickled import read_pickled_graph\n"
        "print(len(read_pickled_graph(sys.argv[1]).edges))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.Graph([("A", "t")]), "undirected"),
        (nx.MultiDiGraph([("A", "t")]), r"asks for networkx\.classes\.multidigraph\.MultiDiGraph"),
        (nx.DiGraph([(0, 1)]), "the node 0 is no gene name"),
        (nx.DiGraph(), "without edges"),
        ({}, "without edges"),
        ([1, 2], "holds list, no graph"),
        (np.zeros(3), "holds numpy"),
        (TABLE.drop(columns="target"), "without the column target"),
        (pd.DataFrame(EDGES), "columns have no names"),
        (TABLE.assign(TF=TABLE["TF"].astype("category")), "which is not opened"),
        (TABLE.assign(when=pd.Timestamp(0)), "which is not opened"),
        ({"A": 3}, "not a pickled graph"),
        ({"A": {"t": "high"}}, "not a number"),
        (b"TF\ttarget\timportance\nA\tt\t1\n", "not a pickled graph"),
        (b"", "not a pickled graph"),
        (pickle.dumps(TABLE)[:-40], "not a pickled graph"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line(tmp_path, graph, message):
    with pytest.raises(UserError, match=message) as caught:
        read_pickled_graph(written(tmp_path, graph), "tf")
    assert "graph.pkl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pkl: cannot be read"):
        read_pickled_graph(tmp_path / "absent.pkl")


def test_broken_pickles_end_in_one_line(tmp_path):
    """Bytes flipped anywhere."""
    rng, content, refused = np.random.default_rng(0), pickle.dumps(TABLE), 0
    for _ in range(300):
        broken = bytearray(content)
        broken[rng.integers(len(broken))] = rng.integers(256)
        try:
            read_pickled_graph(written(tmp_path, bytes(broken)), "tf")
        except UserError:  # anything else fails the test
            refused += 1
    assert refused > 100
