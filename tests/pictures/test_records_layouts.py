"""Every way in which people lay out their pictures, and every mistake they make."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.errors import InputError
from topwork.pictures import records as module
from topwork.pictures.records import Records, from_pairs, list_pictures, need_classes, read_records


def lay(root: Path, *names: str) -> Path:
    """Files with those names below `root`; a name that ends in / is an empty folder."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
    return root


def seen(records: Records, root: Path) -> list[tuple[str, str | None, str | None]]:
    return [(row.path.relative_to(root).as_posix(), row.label, row.split) for row in records]


def snapshot(root: Path) -> str:
    """Of names, contents, modes and times of a whole tree."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        digest.update(f"{path} {status.st_mode} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_size}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def refused(source: Path | str) -> str:
    with pytest.raises(InputError) as bad:
        read_records(source)
    text = str(bad.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


# class folders


def test_class_folders_with_all_that_lies_about(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "p",
        "cat/b.jpg",
        "cat/a.PNG",
        "cat/deep/er/c.webp",
        "cat/.hidden.jpg",
        "cat/._a.PNG",
        "cat/Thumbs.db",
        "cat/labels.txt",
        "cat/@eaDir/thumb.jpg",
        "dog/nameless",
        ".git/x.jpg",
        "__MACOSX/cat/a.jpg",
        "empty/",
        "only-notes/readme.md",
        "readme.md",
        "beside.jpg",
    )
    records = read_records(root)
    assert seen(records, root) == [
        ("cat/a.PNG", "cat", None),
        ("cat/b.jpg", "cat", None),
        ("cat/deep/er/c.webp", "cat", None),
        ("dog/nameless", "dog", None),
    ]
    assert records.classes == ("cat", "dog")
    assert records.labels.tolist() == [0, 0, 0, 1]
    assert len(records) == 4
    told = "; ".join(records.notes)
    assert "1 pictures beside the class folders" in told
    assert "empty/ holds no pictures" in told
    assert "only-notes/ holds no pictures" in told


def test_a_text_or_a_home_folder_names_the_source_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay(tmp_path / "p", "cat/a.jpg", "dog/b.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert seen(read_records(str(root)), root) == seen(read_records("~/p"), root)
    assert list_pictures(["~/p/cat"]).paths == [root / "cat/a.jpg"]
    assert "no such file" in refused("~nobody-of-this-name/p")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_are_followed_once(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "cat/a.jpg", "dog/b.jpg", "dog/in/c.jpg")
    (root / "cat/up").symlink_to(root)
    (root / "cat/self").symlink_to(root / "cat/self")
    (root / "cat/nowhere.jpg").symlink_to(root / "nowhere")
    (root / "dog/again").symlink_to(root / "dog/in")
    lay(tmp_path / "elsewhere", "d.jpg")
    (root / "bird").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / "dog/pipe.jpg")
    records = read_records(root)
    assert [name for name, label, _ in seen(records, root) if label == "dog"] == [
        "dog/b.jpg",
        "dog/pipe.jpg",
        "dog/again/c.jpg",
    ]
    assert [name for name, label, _ in seen(records, root) if label == "bird"] == ["bird/d.jpg"]
    assert "cat/nowhere.jpg" in [name for name, _, _ in seen(records, root)]  # named later, as a picture that cannot be read


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_folders_linked_all_to_all_end(tmp_path: Path) -> None:
    root = tmp_path / "p"
    names = [f"f{number}" for number in range(12)]
    for name in names:
        lay(root / name, "a.jpg")
    for name in names:
        for other in names:
            (root / name / f"to-{other}").symlink_to(root / other)
    assert len(read_records(root)) == 12 * 12  # every class reaches every folder, once


@pytest.mark.skipif(os.name != "posix", reason="paths this long")
def test_folders_nested_a_thousand_deep(tmp_path: Path) -> None:
    top = str(lay(tmp_path / "p" / "cat"))
    depth = 1100  # Python gives up recursing at 1000
    for level in range(1, depth + 1):
        os.mkdir(top + "/d" * level)
    Path(top + "/d" * depth + "/a.jpg").write_bytes(b"x")
    assert len(list_pictures([tmp_path / "p"])) == 1
    os.unlink(top + "/d" * depth + "/a.jpg")
    for level in range(depth, 0, -1):  # pytest's own cleaning recurses
        os.rmdir(top + "/d" * level)


def test_an_unreadable_folder_is_told_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay(tmp_path / "p", "cat/a.jpg", "dog/b.jpg", "dog/locked/c.jpg")
    scandir = os.scandir

    def denied(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", denied)
    records = read_records(root)
    assert [row.path.name for row in records] == ["a.jpg", "b.jpg"]
    assert any("locked" in note and "Permission denied" in note for note in records.notes)
    assert any("locked" in note for note in list_pictures([root]).notes)
    monkeypatch.setattr(module.os, "scandir", lambda path: denied(Path("locked")))
    assert "cannot be read: Permission denied" in refused(root)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "cat/a.jpg", "dog/b.jpg", "dog/locked/c.jpg")
    (root / "dog/locked").chmod(0)
    assert len(read_records(root)) == 2
    root.chmod(0)
    try:
        assert "cannot be read" in refused(root)
    finally:
        root.chmod(0o700)
        (root / "dog/locked").chmod(0o700)


def test_accents_in_both_writings_are_one_class(tmp_path: Path) -> None:
    apart, composed = unicodedata.normalize("NFD", "café"), unicodedata.normalize("NFC", "café")
    root = lay(tmp_path / "p", f"train/{apart}/a.jpg", "train/犬/ö 1.jpg", f"test/{composed}/b.jpg", "test/犬/c.jpg")
    records = read_records(root)
    assert records.classes == (composed, "犬")
    assert [row.split for row in records] == ["test", "test", "train", "train"]
    assert all(path.exists() for path in records.paths)


@pytest.mark.skipif(os.name != "posix", reason="names of raw bytes")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    try:
        os.makedirs(os.fsencode(tmp_path) + b"/p/caf\xe9")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    (tmp_path / "p" / os.fsdecode(b"caf\xe9") / "a.jpg").write_bytes(b"x")
    records = read_records(lay(tmp_path / "p", "dog/b.jpg"))
    assert records.classes[0].encode() == "caf\ufffd".encode()
    assert records.paths[0].exists()


# splits


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Training", "TESTING"), ("train", "val"), ("train", "valid"), ("train", "validation")],
)
def test_train_and_test(tmp_path: Path, train: str, test: str) -> None:
    root = lay(
        tmp_path / "p", f"{train}/cat/a.jpg", f"{train}/dog/b.jpg", f"{test}/cat/c.jpg", f"{test}/dog/d.jpg", "notes/x.txt"
    )
    records = read_records(root)
    assert {name: (label, split) for name, label, split in seen(records, root)} == {
        f"{train}/cat/a.jpg": ("cat", "train"),
        f"{train}/dog/b.jpg": ("dog", "train"),
        f"{test}/cat/c.jpg": ("cat", "test"),
        f"{test}/dog/d.jpg": ("dog", "test"),
    }
    assert records.notes == ()
    assert len(records.of_split("test")) == 2
    assert records.of_split("test").classes == ("cat", "dog")


def test_validation_beside_a_test_joins_the_training(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "train/cat/a.jpg", "val/cat/b.jpg", "test/cat/c.jpg")
    records = read_records(root)
    assert {name: split for name, _, split in seen(records, root)} == {
        "train/cat/a.jpg": "train",
        "val/cat/b.jpg": "train",
        "test/cat/c.jpg": "test",
    }
    assert any("validation" in note and "training" in note for note in records.notes)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "train/a.jpg", "bus/b.jpg", "test/c.jpg")
    records = read_records(root)
    assert records.classes == ("bus", "test", "train")
    assert {row.split for row in records} == {None}
    assert records.notes == ()


def test_split_folders_beside_others_are_told(tmp_path: Path) -> None:
    records = read_records(lay(tmp_path / "p", "train/cat/a.jpg", "test/cat/b.jpg", "extra/c.jpg"))
    assert records.classes == ("extra", "test", "train")
    assert any("taken as a class" in note for note in records.notes)


def test_test_pictures_without_labels_are_left_out(tmp_path: Path) -> None:
    records = read_records(lay(tmp_path / "p", "train/cat/a.jpg", "train/dog/b.jpg", "test/1.jpg", "test/2.jpg"))
    assert records.classes == ("cat", "dog")
    assert {row.split for row in records} == {"train"}
    assert any("test/" in note and "left out" in note for note in records.notes)


def test_split_folders_without_class_folders(tmp_path: Path) -> None:
    text = refused(lay(tmp_path / "p", "train/a.jpg", "test/b.jpg"))
    assert "found test/, train/ but no class folders in them" in text
    assert "test/cats" in text


# mistakes


def test_mistakes_are_told_with_what_to_do(tmp_path: Path) -> None:
    assert "no such file or folder. Expected a folder" in refused(tmp_path / "missing")
    assert "no such file or folder" in refused("x" * 5000)
    assert "no such file or folder" in refused("a\0b")
    assert "found no pictures. Expected one folder per class" in refused(lay(tmp_path / "void"))
    assert "found no pictures (a/ holds no pictures" in refused(lay(tmp_path / "void2", "a/"))
    assert "found 2 pictures but no class folders" in refused(lay(tmp_path / "flat", "a.jpg", "b.jpg", "c.txt"))
    assert "found a .zip file" in refused(lay(tmp_path, "p.zip") / "p.zip")
    assert "found a plain file" in refused(lay(tmp_path, "plain") / "plain")


def test_too_few_classes_and_pictures(tmp_path: Path) -> None:
    one = read_records(lay(tmp_path / "one", "cat/a.jpg", "cat/b.jpg"))
    with pytest.raises(InputError, match=r"found 1 class \(cat\), need at least 2\. Put each class .* one/cats, one/dogs"):
        need_classes(one)
    with pytest.raises(InputError, match=r"found no class"):
        need_classes(Records((), "nothing"))
    few = read_records(lay(tmp_path / "few", "cat/a.jpg", "cat/b.jpg", "dog/c.jpg", "emu/d.jpg"))
    with pytest.raises(InputError, match=r"too few usable pictures in dog \(1\), emu \(1\); need at least 2 a class"):
        need_classes(few)
    need_classes(few, pictures_each=1)
    with pytest.raises(InputError, match="Add pictures with another label"):
        need_classes(from_pairs([("a.jpg", "cat"), ("b.jpg", "cat")]))


# tables


def table(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_a_table_of_paths(tmp_path: Path) -> None:
    away = tmp_path / "away" / "x.jpg"
    text = f'path,label\nsub/a.jpg,cat\n"with, comma.jpg",dog\n{away},"the ""odd"" one"\n\n ./b.jpg , dog \n'
    records = read_records(table(tmp_path / "t", text))
    assert records.paths == [tmp_path / "t/sub/a.jpg", tmp_path / "t/with, comma.jpg", away, tmp_path / "t/b.jpg"]
    assert [row.label for row in records] == ["cat", "dog", 'the "odd" one', "dog"]
    assert {row.split for row in records} == {None}


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n", "t.csv", "utf-8-sig"),
        ("Path,LABEL,Split\r\na.jpg,cat,Train\r\nb.jpg,dog,val\r\n", "t.CSV", "utf-8"),
        ("label;split;path;more\ncat;train;a.jpg;1\ndog;test;b.jpg;2\n", "t.csv", "utf-8"),
        ("path\tlabel\tsplit\na.jpg\tcat\ttrain\nb.jpg\tdog\ttest\n", "t.tsv", "utf-8"),
        ("path\tlabel\tsplit\na.jpg\tcat\t\nb.jpg\tdog\ttest\n", "t.csv", "utf-8"),
        ('"path","label","split"\n"a.jpg","cat",""\n"b.jpg","dog","test"', "t.csv", "utf-8"),
    ],
)
def test_a_table_in_many_dialects(tmp_path: Path, text: str, name: str, encoding: str) -> None:
    records = read_records(table(tmp_path / "t", text, name, encoding))
    assert [(row.path.name, row.label, row.split) for row in records] == [("a.jpg", "cat", "train"), ("b.jpg", "dog", "test")]


def test_a_table_with_validation_and_test(tmp_path: Path) -> None:
    records = read_records(table(tmp_path / "t", "path,label,split\na,x,train\nb,x,val\nc,x,test\nd,x,\n"))
    assert [row.split for row in records] == ["train", "train", "test", "train"]
    assert any("validation" in note for note in records.notes)


def test_names_written_on_another_system_are_found(tmp_path: Path) -> None:
    apart, composed = (unicodedata.normalize(form, "é.jpg") for form in ("NFD", "NFC"))
    lay(tmp_path / "t", f"cats/{apart}", "cats/b.jpg")
    records = read_records(table(tmp_path / "t", f"path,label\ncats/{composed},cat\ncats\\b.jpg,cat\n~x.jpg,dog\n"))
    assert all(path.exists() for path in records.paths[:2])
    assert records.paths[2].name == "~x.jpg"


def test_all_bad_rows_are_told_together(tmp_path: Path) -> None:
    text = 'path,label,split\na.jpg,cat,\n,dog,\nb.jpg,,\n"c\nd.jpg",cat,sometimes\na.jpg,dog,\ne.jpg,cat,train,more\n'
    told = refused(table(tmp_path / "t", text))
    assert "line 3: path or label is empty" in told
    assert "line 4: path or label is empty" in told
    assert "line 6: split 'sometimes'; expected train or test" in told
    assert "line 7: a.jpg is dog, but cat in line 2" in told
    assert "line 8: 4 values for 3 columns" in told
    many = "path,label\n" + "a.jpg,\n" * 300
    assert "line 6: path or label is empty; and 295 more. Mend these lines." in refused(table(tmp_path / "u", many))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header with path,label"),
        ("file,class\na.jpg,cat\n", "found file,class"),
        ("path,label\n", "has a header but no rows"),
        ('path,label\n"a.jpg,cat\n', "line 2"),
        ("path,label\na.jpg,\udcff\n", "UTF-8"),
        ("path,label\n" + "a" * 200_000 + ",cat\n", "line 2"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert message in refused(tmp_path / "t.csv")


def test_a_table_in_utf_16_is_told(tmp_path: Path) -> None:
    assert "Save it again as UTF-8" in refused(table(tmp_path / "t", "path,label\na,b\n", encoding="utf-16"))


@settings(max_examples=120, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: f"path,label,split\n{text}".encode())))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    try:
        records = read_records(path)
    except InputError as bad:
        assert str(bad).startswith(str(path))
    else:
        assert len(records) >= 1
        assert (records.labels >= 0).all()


# lists


def test_files_and_folders_to_answer_for(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "b/2.jpg", "b/1.jpg", "b/notes.txt", "b/.x.jpg", "a.strange")
    records = list_pictures([root / "a.strange", str(root / "b"), root / "a.strange"])
    assert [path.name for path in records.paths] == ["a.strange", "1.jpg", "2.jpg", "a.strange"]
    assert records.classes == ()
    assert records.labels.tolist() == [-1] * 4
    if os.name == "posix":
        (root / "dangling.jpg").symlink_to(root / "nowhere")
        assert len(list_pictures([root / "dangling.jpg"])) == 1


def test_missing_files_are_told_together(tmp_path: Path) -> None:
    lay(tmp_path, "here.jpg")
    with pytest.raises(InputError, match=r"one\.jpg, .*two\.jpg: no such file or folder\. Expected"):
        list_pictures([tmp_path / "one.jpg", tmp_path / "here.jpg", tmp_path / "two.jpg"])
    with pytest.raises(InputError, match="nothing given: found no pictures"):
        list_pictures([])
    with pytest.raises(InputError, match="found no pictures"):
        list_pictures([lay(tmp_path / "void")])


def test_select_and_pairs(tmp_path: Path) -> None:
    records = from_pairs([(tmp_path / "a", "x"), (tmp_path / "b", "y"), (tmp_path / "c", "x")])
    assert records.select([True, False, True]).labels.tolist() == [0, 0]
    assert records.select([False, True, False]).classes == ("x", "y")
    with pytest.raises(ValueError, match="zip"):
        records.select([True])


def test_nothing_is_changed_in_the_users_folders(tmp_path: Path) -> None:
    root = lay(tmp_path / "p", "train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg", "test/dog/d.jpg", "x/empty/", "e.jpg")
    (root / "t.csv").write_text("path,label\ntrain/cat/a.jpg,cat\nmissing.jpg,dog\n")
    before = snapshot(root)
    read_records(root)
    read_records(root / "t.csv")
    list_pictures([root])
    for bad in (root / "x", root / "missing", root / "e.jpg"):
        refused(bad)
    assert snapshot(root) == before


def test_no_picture_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay(tmp_path / "p", "cat/a.jpg", "dog/b.jpg")
    opened: list[object] = []
    monkeypatch.setattr("builtins.open", lambda *args, **options: opened.append(args))
    read_records(root)
    assert opened == []
