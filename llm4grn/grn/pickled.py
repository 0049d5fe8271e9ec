"""Read pickled networks as ranked edges without executing them: requested calls are recorded, never imported."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.grn.edge_tables import table_of_edges

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

logger = logging.getLogger("llm4grn")

Keys = Literal["tf", "target"]

_INSTEAD = "write the edges as a table TF, target, importance where the pickle was made"
_KNOWN = re.compile(
    r"(builtins|__builtin__) (dict|list|set|frozenset|object|slice)"
    r"|collections (defaultdict|OrderedDict)|(copyreg|copy_reg) _reconstructor|_codecs encode"
    r"|networkx\.classes\.(digraph DiGraph|graph Graph|(coreviews|reportviews) \w+View)"
    r"|numpy (dtype|ndarray)|numpy\._?core\.multiarray (_reconstruct|scalar)|numpy\._?core\.numeric _frombuffer"
    r"|pandas\.core\.frame DataFrame|pandas\.core\.internals\.managers BlockManager"
    r"|pandas\._libs\.internals _unpickle_block"
    r"|pandas\.core\.indexes\.(base (Index|_new_Index)|range RangeIndex|numeric Int64Index)"
)
_WEIGHTS = ("importance", "weight")


class _Request:
    """A call requested by a pickle, recorded as data: a subclass for each function, an instance for each call."""

    __slots__ = ("args", "items", "state")
    name: str
    args: tuple[Any, ...]
    items: dict[Any, Any]
    state: Any

    def __new__(cls, *args: Any) -> _Request:
        request = super().__new__(cls)
        request.args, request.items, request.state = args, {}, None
        return request

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Unpickler without imports: every requested name becomes a subclass of :class:`_Request`, or an error."""

    def find_class(self, module: str, name: str) -> type[_Request]:
        full = f"{module} {name}"
        if not _KNOWN.fullmatch(full):
            raise UserError(f"asks for {module}.{name}, which is not opened; {_INSTEAD}")
        return type("Request", (_Request,), {"__slots__": (), "name": full})


def read_pickled_graph(path: str | Path, keys: Keys | None = None) -> GRN:
    """Read the edges of a pickled ``networkx.DiGraph``, ``pandas.DataFrame``, or dictionary of regulators or targets.

    Only text, numbers, containers, and arrays of them are rebuilt. No class or function named in the file is ever
    imported, so a malicious file cannot execute code.

    Parameters
    ----------
    path
        Uncompressed pickle of any protocol. A frame has the columns TF, target, importance; a graph has edges TF ->
        target, with the attribute ``importance`` or ``weight`` or neither; a dictionary has lists, sets or arrays of
        names, or dictionaries from names to importances. Without importances, every edge gets 1.
    keys
        Whether the keys of a dictionary are ``tf`` or ``target``, which its content does not show.

    Raises
    ------
    UserError
        If the file is anything else.
    """
    try:
        with Path(path).open("rb") as file:
            table = _table(_Unpickler(file).load(), keys)
        texts = table.astype(object).map(lambda value: value if isinstance(value, str) else _text(value))
        edges = table_of_edges([str(name) for name in table], texts.to_numpy().tolist(), lists=False)
        if line := edges.report():
            logger.warning("%s: %s", path, line)
        return GRN.from_edges(edges.edges, {"source": Path(path).name})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a pickled graph") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a damaged or malicious pickle can raise any exception
        raise UserError(f"{path}: not a pickled graph ({type(error).__name__}: {error}); {_INSTEAD}") from error


def _table(root: Any, keys: Keys | None) -> pd.DataFrame:
    import pandas as pd

    kind = _kind(root)
    if kind == "pandas.core.frame DataFrame":
        return _frame(root)
    if kind == "networkx.classes.digraph DiGraph":
        edges = list(_graph_edges(root))
    elif kind == "networkx.classes.graph Graph":
        raise UserError(f"an undirected graph: nothing says which end is the TF; {_INSTEAD}")
    elif (content := _mapping(root)) is not None:
        if keys is None:
            raise UserError("a dictionary; say whether its keys are TFs or targets: --keys tf or --keys target")
        edges = list(_dict_edges(content, keys))
    else:
        raise UserError(f"holds {kind or type(root).__name__}, no graph; {_INSTEAD}")
    if not edges:
        raise UserError(f"a graph without edges; {_INSTEAD}")
    if all(importance is None for *_, importance in edges):
        edges = [(tf, target, 1.0) for tf, target, _ in edges]
    return pd.DataFrame(edges, columns=["TF", "target", "importance"])


def _text(value: Any) -> str:
    """Return a number as text that gives it again."""
    return repr(float(value)) if isinstance(value, int | float) or hasattr(value, "dtype") else str(value)


def _graph_edges(graph: _Request) -> Iterator[tuple[str, str, float | None]]:
    successors = graph.state.get("_succ", graph.state.get("_adj"))
    for tf, targets in successors.items():
        for target, attributes in targets.items():
            weight = next((attributes[name] for name in _WEIGHTS if name in attributes), None)
            yield _name(tf), _name(target), None if weight is None else _plain(weight)


def _dict_edges(content: Mapping, keys: Keys) -> Iterator[tuple[str, str, float | None]]:
    for key, others in content.items():
        weighted = _mapping(others)
        names: Any = _plain(others) if weighted is None else weighted
        for other in [names] if isinstance(names, str) else names:
            pair = _name(key), _name(other)
            yield *(pair if keys == "tf" else pair[::-1]), None if weighted is None else _plain(weighted[other])


def _frame(frame: _Request) -> pd.DataFrame:
    import pandas as pd

    manager = frame.state["_mgr"]
    if len(manager.args) != 2:
        raise UserError(f"a frame of a pandas before 1.3; {_INSTEAD}")
    blocks, (columns, _) = manager.args
    names = [str(name) for name in _index(columns)]
    content: dict[str, Any] = {}
    for values, placement, *_ in (block.args for block in blocks):
        array = _plain(values)
        wanted = range(len(names))[slice(*placement.args)] if _kind(placement) else placement
        places = _plain(wanted) if isinstance(wanted, _Request) else wanted
        content |= {names[place]: row for place, row in zip(places, array, strict=True)}
    return pd.DataFrame({name: content[name] for name in names})


def _index(index: _Request) -> list:
    kind, values = index.args
    if kind.name == "pandas.core.indexes.range RangeIndex":
        raise UserError(f"a frame whose columns have no names; {_INSTEAD}")
    return list(_plain(values["data"]))


def _name(value: Any) -> str:
    name = _plain(value)
    if not isinstance(name, str):
        raise UserError(f"the node {name!r} is no gene name; {_INSTEAD}, with names for numbers")
    return name


def _mapping(value: Any) -> Mapping | None:
    """Return the content of a dict, defaultdict or OrderedDict; else None."""
    if isinstance(value, dict):
        return value
    return value.items if (_kind(value) or "").startswith("collections ") else None


def _plain(value: Any) -> Any:
    """Return text, numbers, lists and arrays, rebuilding those that the pickle would construct by a call."""
    kind = _kind(value)
    if kind is None:
        return value
    function = kind.split()[1]
    if function in ("set", "frozenset", "list") and len(value.args) == 1:
        return list(value.args[0])
    if function == "scalar":
        return _array(value.args[0], (), value.args[1]).item()
    if function == "_reconstruct":
        _, shape, dtype, is_fortran, data = value.state
        return _array(dtype, shape, data, "F" if is_fortran else "C")
    if function == "_frombuffer":
        data, dtype, shape, order = value.args
        return _array(dtype, shape, data, order)
    raise UserError(f"holds {kind.replace(' ', '.')} where text, numbers or arrays belong; {_INSTEAD}")


def _array(dtype: _Request, shape: tuple[int, ...], data: Any, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Rebuild an array of numbers or text from its bytes, or an array of text objects from their list."""
    import numpy as np

    code, byte_order = dtype.args[0], (dtype.state or (None, "|"))[1]
    if not re.fullmatch(r"[biufUO]\d+", code):
        raise UserError(f"holds an array of type {code!r}; {_INSTEAD}")
    if code.startswith("O"):
        array = np.empty(len(data), dtype=object)
        array[:] = [_plain(item) for item in data]
    else:
        raw = data.args[0].encode("latin-1") if _kind(data) == "_codecs encode" else data
        array = np.frombuffer(raw, dtype=np.dtype(code).newbyteorder(byte_order))
    return array.reshape(shape, order=order)


def _kind(value: Any) -> str | None:
    """Return the requested ``module name`` of a recorded call; None for plain data."""
    if not isinstance(value, _Request):
        return None
    if value.name.endswith(" _reconstructor"):  # protocols 0 and 1: the class is the first argument
        return value.args[0].name
    return value.name
