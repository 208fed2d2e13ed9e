from __future__ import annotations

from pathlib import Path

import pytest

from topwork.errors import InputError
from topwork.pictures.records import list_pictures, need_classes, read_records


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_class_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "p", "cat/a.jpg", "cat/.hidden.jpg", "dog/deep/b.png", "__MACOSX/cat/c.jpg", "notes.txt")
    records = read_records(root)
    assert records.classes == ("cat", "dog")
    assert [path.name for path in records.paths] == ["a.jpg", "b.png"]
    assert records.labels.tolist() == [0, 1]


def test_train_and_test_folders(tmp_path: Path) -> None:
    root = touch(tmp_path / "p", "train/cat/a.jpg", "train/dog/b.jpg", "validation/cat/c.jpg")
    records = read_records(root)
    assert [row.split for row in records] == ["train", "train", "test"]
    assert len(records.of_split("test")) == 1


def test_csv(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("\ufeffPath,Label,split\na.jpg,cat,train\nb.jpg,dog,test\n", encoding="utf-8")
    records = read_records(tmp_path / "t.csv")
    assert records.paths == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert [row.split for row in records] == ["train", "test"]
    (tmp_path / "bad.csv").write_text("path,label\n,cat\nx,\n")
    with pytest.raises(InputError, match=r"line 2.*line 3"):
        read_records(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "found no pictures"), (("a.jpg",), "no class folders")],
)
def test_a_folder_without_classes(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(InputError, match=message):
        read_records(touch(tmp_path / "p", *names))


def test_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found 1 class \(cat\)"):
        need_classes(read_records(touch(tmp_path / "p", "cat/a.jpg", "cat/b.jpg")))
    with pytest.raises(InputError, match=r"dog \(1\)"):
        need_classes(read_records(touch(tmp_path / "p", "dog/a.jpg")))
    with pytest.raises(InputError, match="no such file or folder"):
        read_records(tmp_path / "missing")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = touch(tmp_path / "p", "a.jpg")
    (root / "loop").symlink_to(root)
    assert len(list_pictures([root])) == 1
