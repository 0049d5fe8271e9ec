import csv
import json
import random

import pytest
from results_by_hand import make_results, one_run

from llm4grn.errors import UserError
from llm4grn.results import COLUMNS, Result, read_results, read_run, to_dataframe, write_results

ONE_RUN = one_run()


def by_key(results):
    return sorted(results, key=str)


@pytest.mark.parametrize("name", ["results.csv", "results.json", ""])
def test_round_trip_to_the_last_bit(tmp_path, name):
    results = make_results(values=((0.1 + 0.2, 1e-300, 1 / 3, 0.5),), llm='a "quoted", name', dataset="blut·é")
    write_results(results, tmp_path, {"seed": 1000})
    assert by_key(read_results(tmp_path / name)) == by_key(results)


def test_same_results_same_bytes_whatever_their_order(tmp_path):
    shuffled = random.Random(0).sample(ONE_RUN, len(ONE_RUN))
    for folder, results in (("a", ONE_RUN), ("b", shuffled)):
        write_results(results, tmp_path / folder, {"command": "python train.py"})
    for name in ("results.csv", "results.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["results.csv", "results.json"]


def test_files_are_plain_csv_and_json(tmp_path):
    csv_path, json_path = write_results(ONE_RUN, tmp_path, {"seed": 1000})
    with csv_path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == COLUMNS
    assert [row["source"] for row in rows[::8]] == ["control", "stage1", "run"]
    document = json.loads(json_path.read_text())
    assert len(document["results"]) == len(rows) == 24
    assert document["run"]["seed"] == 1000
    assert document["run"]["metrics"]["rf_auroc"]["trees"] == 1000
    assert read_run(tmp_path) == document["run"]


def test_data_frame_has_the_columns_of_the_csv(tmp_path):
    import pandas as pd

    csv_path, _ = write_results(ONE_RUN, tmp_path, {})
    frame = pd.read_csv(csv_path, keep_default_na=False, float_precision="round_trip")
    pd.testing.assert_frame_equal(
        frame.sort_values(list(COLUMNS), ignore_index=True),
        to_dataframe(ONE_RUN).sort_values(list(COLUMNS), ignore_index=True),
    )


HEADER = ",".join(COLUMNS)
GOOD = "pbmc3k,human,grnboost2,,small,top10,1000,0,run,mmd,0.5"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("results.csv", "", "holds no results"),
        ("results.csv", HEADER + "\n", "holds no results"),
        ("results.csv", "a,b\n1,2\n", "record 1 lacks dataset, kb"),
        ("results.csv", f"{HEADER}\n{GOOD}\n{GOOD[:-4]}\n", "record 2 lacks value"),
        ("results.csv", f"{HEADER}\n{GOOD[:-3]}high\n", "must be numbers"),
        ("results.csv", f"{HEADER}\n{GOOD[:-3]}nan\n", "must be finite"),
        ("results.csv", f"{HEADER}\n{GOOD.replace('run', 'runs')}\n", "source: 'runs' unknown"),
        ("results.csv", f"{HEADER}\n{GOOD.replace('mmd', 'lisi')}\n", "metric: 'lisi' unknown"),
        ("results.csv", b"\x89PNG\xff\xfe", "not a text file"),
        ("results.json", "{", "not a JSON file"),
        ("results.json", "[1]", "no 'run' or 'results'"),
        ("results.json", '{"run": {}, "results": [3]}', "record 1 lacks all columns"),
    ],
)
def test_what_is_no_results_file_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(UserError, match="no such results file"):
            read_results(path)


def test_a_value_that_is_not_finite_is_never_written():
    with pytest.raises(UserError, match="finite"):
        Result("pbmc3k", "human", "random", "", "small", "top10", 1, 0, "run", "mmd", float("nan"))
