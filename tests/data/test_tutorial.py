"""The paper's archive, in small: fetched, unpacked, verified, read; and all the ways in which it can be wrong."""

import functools
import socket

import numpy as np
import pytest

from llm4grn.data.sources import TutorialArchive
from llm4grn.data.tutorial import MEMBERS
from llm4grn.errors import UserError

Small = functools.partial(TutorialArchive, pbmc_shape=(12, 7), bone_marrow_shape=(9, 5))
NOBODY = "http://127.0.0.1:9/download"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("top", "mode"), [("demo", "w"), ("demo", "w:gz"), ("./demo", "w"), ("", "w"), (".", "w:xz"), ("demo", "w:bz2")]
)
@pytest.mark.parametrize("member", MEMBERS)
def test_fetch_unpack_read(server, make_tar, data, counts, top, mode, member):
    server.content = make_tar(top, mode)
    source = Small(str(data), member, server.url)
    source.prepare()
    adata = source.load()
    expected = {"pbmc": counts, "pbmc_ctl": counts[::3], "bone_marrow": counts[:9, :5]}[member]
    assert (adata.X.toarray() == expected).all()
    assert np.issubdtype(adata.X.dtype, np.integer)
    if member != "bone_marrow":
        assert adata.obs["cell_type"].iloc[0] == "CD8+ Cytotoxic T"
        assert adata.obs["cell_type"].nunique() == (3 if member == "pbmc" else 1)
    assert {path.name for path in data.iterdir() if not path.name.endswith(".lock")} == {"demo"}
    source.prepare()
    assert len(server.requests) == 1


def test_dropped_midway_once(server, make_tar, data):
    server.content, server.drops = make_tar(), 1
    Small(str(data), "pbmc", server.url).prepare()
    assert (data / "demo" / "Homo_sapiens_TF.csv").is_file()
    assert len(server.requests) == 2


def test_one_download_serves_all_members(server, make_tar, data):
    server.content = make_tar()
    prints = []
    for member in MEMBERS:
        source = Small(str(data), member, server.url)
        source.prepare()
        prints.append(source.fingerprint())
    assert len(server.requests) == 1
    assert len({str(p) for p in prints}) == 3


@pytest.mark.parametrize("below", [".", "demo"])
@pytest.mark.parametrize("bone_marrow", ["BoneMarrow.h5ad", "BoneMarrow/BoneMarrow.h5ad"])
def test_files_put_there_by_hand_are_used(tutorial_folder, data, below, bone_marrow):
    data.mkdir()
    tutorial_folder.rename(data / "demo")
    (data / "demo" / "BoneMarrow.h5ad").rename(data / "demo" / "moved")
    (data / "demo" / bone_marrow).parent.mkdir(exist_ok=True)
    (data / "demo" / "moved").rename(data / "demo" / bone_marrow)
    folder = data if below == "demo" else data / "demo"
    for member in MEMBERS:
        source = Small(str(folder), member, NOBODY)
        source.prepare()
        assert source.load().n_obs > 0


def test_archive_put_there_by_hand_is_used(make_tar, data):
    data.mkdir()
    (data / "demo_data.tar").write_bytes(make_tar())
    Small(str(data), "pbmc", NOBODY).prepare()
    assert (data / "demo" / "PBMC" / "matrix.mtx").is_file()


def test_files_that_are_there_are_not_overwritten(server, make_tar, data):
    server.content = make_tar()
    (data / "demo").mkdir(parents=True)
    (data / "demo" / "Homo_sapiens_TF.csv").write_text("mine")
    Small(str(data), "pbmc", server.url).prepare()
    assert (data / "demo" / "Homo_sapiens_TF.csv").read_text() == "mine"


def test_without_network_the_error_names_url_folder_and_files(data):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/download"
        with pytest.raises(UserError) as caught:
            Small(str(data), "pbmc", url).prepare()
    message = str(caught.value)
    for part in (url, str(data), "matrix.mtx", "genes.tsv", "barcodes.tsv", "barcodes_annotations.tsv"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Sorry</html>", b"", b"\x1f\x8b" + bytes(3000)])
def test_garbage_is_refused_and_removed(server, make_tar, data, content):
    server.content = content
    source = Small(str(data), "pbmc", server.url)
    with pytest.raises(UserError, match="sent something else") as caught:
        source.prepare()
    assert "\n" not in str(caught.value)
    assert not (data / "demo_data.tar").exists()
    server.content = make_tar()
    source.prepare()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_truncated_archive_leaves_nothing_behind(server, make_tar, data, mode):
    whole = make_tar(mode=mode)
    server.content = whole[: int(len(whole) * 0.6)]
    with pytest.raises(UserError, match="sent something else"):
        Small(str(data), "pbmc", server.url).prepare()
    assert not [path for path in data.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


def test_archive_without_the_members(server, make_tar, data):
    server.content = make_tar(leave_out=["PBMC/barcodes_annotations.tsv"])
    with pytest.raises(UserError, match=r"lacks PBMC/matrix\.mtx.*barcodes_annotations"):
        Small(str(data), "pbmc", server.url).prepare()


def test_members_that_point_elsewhere_are_left_alone(server, make_tar, data, tmp_path):
    outside = tmp_path / "evil.txt"
    server.content = make_tar(extra=[("../evil.txt", b"x"), (str(outside), b"x"), ("demo/../../evil.txt", b"x")])
    Small(str(data), "pbmc", server.url).prepare()
    assert not outside.exists()
    assert not list(tmp_path.rglob("evil.txt"))


def test_broken_archive_of_the_user_is_kept_and_named(data):
    data.mkdir()
    (data / "demo_data.tar").write_bytes(b"not a tar")
    with pytest.raises(UserError, match=r"delete .*demo_data\.tar"):
        Small(str(data), "pbmc", NOBODY).prepare()
    assert (data / "demo_data.tar").exists()


@pytest.mark.parametrize("member", ["pbmc", "bone_marrow"])
def test_wrong_shape_is_refused(server, make_tar, data, member):
    server.content = make_tar()
    with pytest.raises(UserError, match=r"not 32738|not 2730 x 3451"):
        TutorialArchive(str(data), member, server.url).prepare()


@pytest.mark.parametrize("name", ["genes.tsv", "barcodes.tsv", "barcodes_annotations.tsv"])
def test_shortened_list_is_refused(tutorial_folder, name):
    path = tutorial_folder / "PBMC" / name
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=f"{name} has .* lines and not"):
        Small(str(tutorial_folder), "pbmc", NOBODY).prepare()


def test_no_cytotoxic_cells(tutorial_folder):
    path = tutorial_folder / "PBMC" / "barcodes_annotations.tsv"
    path.write_text(path.read_text().replace("Cytotoxic", "Other"))
    with pytest.raises(UserError, match="calls no cell"):
        Small(str(tutorial_folder), "pbmc_ctl", NOBODY).load()


def test_unknown_member_and_reading_too_early(data):
    with pytest.raises(UserError, match=r"dataset\.source\.member"):
        TutorialArchive(str(data), "liver")
    with pytest.raises(UserError, match="lacks BoneMarrow"):
        Small(str(data), "bone_marrow").fingerprint()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"paths\.data"):
        Small(str(tmp_path / "file" / "data"), "pbmc", NOBODY).prepare()
