"""topwork data get, from the command line to class folders that fit takes, through a server that goes wrong."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from datasets.published import (
    BREEDS,
    CATS,
    CATS_BROKEN,
    PETS_BROKEN,
    cache,
    cats_entries,
    pets_annotations,
    pets_images,
    pictures_of,
    tarred,
    tree,
    zipped,
)
from reliability.faulty_server import Reply, Site
from reliability.hostile_archives import LINK, Z, a_zip
from running import Cli
from topwork.datasets.catalogue import CATALOGUE, DataSet, Published


def test_list(cli: Cli) -> None:
    done = cli("data", "list")
    assert done.code == 0 and "cats-vs-dogs: " in done.out and "CC BY-SA 4.0" in done.out and "811.1 MB" in done.out
    sets = {one["name"]: one for one in json.loads(cli("data", "list", "--json").out)["data_sets"]}
    assert sets["cats-vs-dogs"]["archives"][0]["versions"][1]["size"] == 824_894_548
    for one in sets.values():
        for archive in one["archives"]:
            for version in archive["versions"]:
                assert len(bytes.fromhex(version["sha256"])) == 32
                assert all(a.startswith("https://") and a.endswith(version["file"]) for a in version["addresses"])


def test_cats_through_a_server_that_cuts(site: Site, tmp_path: Path, cli: Cli) -> None:
    size = len(site.files[CATS])
    site.script[:] = [Reply(cut=size // 3), Reply(mute=True), Reply(cut=size // 2), Reply(status=503)]
    out = tmp_path / "cats"
    done = cli("data", "get", "cats-vs-dogs", "-o", out, "--from", site.url(CATS))
    assert done.code == 0, done.err
    assert f"{out}: cats-vs-dogs, 20 pictures" in done.out and f"topwork fit {out}" in done.out
    assert "none of the published ones; it was taken because its layout is right" in done.err
    assert len(site.asked) == 5 and site.ranges()[-1]
    assert pictures_of(out) == {"cat": 10, "dog": 10}
    with (out / "broken.csv").open() as file:
        rows = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert rows == {f".topwork-broken/{path}": reason for path, reason in CATS_BROKEN.items()}
    assert all((out / path).exists() for path in rows) and (out / ".topwork-broken/dog/3.jpg").stat().st_size == 800
    assert "Thumbs.db" not in str(tree(out)) and len(tree(out)) == 20 + 4 + 3
    assert "Elson" in (out / "README.md").read_text() and not cache().joinpath("cats-vs-dogs").exists()
    # Again: told, and nothing is done.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = cli("data", "get", "cats-vs-dogs", "-o", out, "--json")
    assert again.code == 0 and len(site.asked) == 5 and json.loads(again.out)["fresh"] is False
    assert "is there already, 20 pictures" in cli("data", "get", "cats-vs-dogs", "-o", out).out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    (out / "cat" / "10.jpg").unlink()
    assert "19 of its 20 pictures are there" in cli("data", "get", "cats-vs-dogs", "-o", out).err


def test_pets_from_files(mine: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "pets"
    done = cli("data", "get", "pets", "-o", out, "--from", mine / "a.tgz", "--from", mine / "i.tgz", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["splits"] == {"train": 15, "test": 7} and facts["pictures"] == 22 and facts["fresh"] is True
    assert {one["path"]: one["reason"] for one in facts["broken"]} == PETS_BROKEN
    assert {one["name"]: one["species"] for one in facts["classes"]} == {
        name: "cat" if species == 1 else "dog" for name, species in BREEDS.items()
    }
    assert facts["left_out"] == [
        "pictures that are in no official list and were left out: 1",
        "pictures that the official lists name and the archive lacks: 1",
    ]
    assert all(not one["published"] for one in facts["archives"]) and len(facts["warnings"]) == 4
    counts = pictures_of(out)
    assert counts.pop("train/pug") == 3 and counts.pop("test/Maine_Coon") == 1
    assert set(counts) == {f"{split}/{breed}" for split in ("train", "test") for breed in BREEDS} - {
        "train/pug",
        "test/Maine_Coon",
    }
    assert all(count == (4 if place.startswith("train") else 2) for place, count in counts.items())
    assert (mine / "a.tgz").exists() and (mine / "i.tgz").exists()
    assert json.loads((out / "dataset.json").read_text())["citation"].startswith("Parkhi")


def test_pets_as_cats_and_dogs(site: Site, mine: Path, tmp_path: Path, cli: Cli) -> None:
    """One archive from a file, the other from an address; then fit, with no option."""
    out = tmp_path / "pets"
    words = ["data", "get", "pets", "-o", out, "--from", mine / "i.tgz", "--from", site.url("annotations.tar.gz"), "--binary"]
    done = cli(*words)
    assert done.code == 0, done.err
    assert pictures_of(out) == {"train/cat": 8, "train/dog": 7, "test/cat": 3, "test/dog": 4}
    assert "22 pictures (15 in train/, 7 in test/)" in done.out and "2: cat, dog" in done.out
    assert cli(*words).code == 0
    other = cli(*words[:-1])
    assert other.code == 1 and "holds pets as cats and dogs. It is left as it is" in other.err


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", ["cats-vs-dogs", "pets"])
def test_fit_takes_the_result_as_it_is(name: str, mine: Path, tmp_path: Path, cli: Cli) -> None:
    given = {"cats-vs-dogs": ["cats"], "pets": ["i.tgz", "a.tgz"]}[name]
    out = tmp_path / "data"
    words = [word for file in given for word in ("--from", mine / file)]
    assert cli("data", "get", name, "-o", out, *words).code == 0
    done = cli("fit", out, "-o", tmp_path / "b.topwork", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["broken"] == [] and facts["accuracy"] > 0.7
    assert facts["n"] == {"cats-vs-dogs": 4, "pets": 7}[name]
    assert (
        cli("predict", tmp_path / "b.topwork", out, "--json").out.count('"error": null')
        == {"cats-vs-dogs": 20, "pets": 22}[name]
    )


@pytest.fixture
def mirrored(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The catalogue says what the server has, and the server stands in the place of the official ones."""

    def told(version: Published) -> Published:
        data = site.files.get(version.file, b"")
        return dataclasses.replace(version, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def as_served(one: DataSet) -> DataSet:
        archives = (dataclasses.replace(a, versions=tuple(told(version) for version in a.versions)) for a in one.archives)
        return dataclasses.replace(one, archives=tuple(archives))

    catalogue = {name: as_served(one) for name, one in CATALOGUE.items()}
    monkeypatch.setattr("topwork.datasets.catalogue.CATALOGUE", catalogue)
    monkeypatch.setenv("TOPWORK_DATA_MIRROR", site.address + "/")
    return site


def test_published_bytes(mirrored: Site, tmp_path: Path, cli: Cli) -> None:
    right = mirrored.files["images.tar.gz"]
    mirrored.files["images.tar.gz"] = right[:-1] + b"x"
    out = tmp_path / "pets"
    done = cli("data", "get", "pets", "-o", out)
    assert done.code == 1 and done.err.count("\n") == 1 and done.out == "" and not out.exists()
    for words in ("sends other bytes than expected", "annotations.tar.gz", f"topwork data get pets -o {out}", "--from FILE"):
        assert words in done.err
    mirrored.files["images.tar.gz"] = right
    done = cli("data", "get", "pets", "-o", out, "--keep", "--json")
    assert done.code == 0 and "SHA-256" not in done.err
    facts = json.loads(done.out)
    assert all(one["published"] and one["address"].startswith(mirrored.address) for one in facts["archives"])
    # What was kept is used without a network, and is told from other files by its bytes.
    kept = sorted(path for path in cache().rglob("*") if path.is_file())
    assert [path.name for path in kept] == ["annotations.tar.gz", "images.tar.gz"]
    asked = len(mirrored.asked)
    assert cli("data", "get", "pets", "-o", tmp_path / "b", "--binary", "--offline", "--keep").code == 0
    done = cli("data", "get", "pets", "-o", tmp_path / "c", "--from", kept[1], "--from", kept[0], "--offline")
    assert done.code == 0 and "SHA-256" not in done.err and len(mirrored.asked) == asked
    assert tree(tmp_path / "c") == tree(out)
    assert cli("data", "get", "pets", "-o", tmp_path / "d", "--offline").code == 0  # uses them up
    done = cli("data", "get", "pets", "-o", tmp_path / "e", "--offline")
    assert done.code == 1 and "--from FILE --from FILE" in done.err and not (tmp_path / "e").exists()


def test_the_second_version_is_tried(mirrored: Site, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    data = mirrored.files.pop(CATS)
    assert cli("data", "get", "cats-vs-dogs", "-o", tmp_path / "x").code == 1
    mirrored.files["kagglecatsanddogs_3367a.zip"] = data
    import topwork.datasets.catalogue as module

    one = module.CATALOGUE["cats-vs-dogs"]
    first, second = one.archives[0].versions
    second = dataclasses.replace(second, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    archive = dataclasses.replace(one.archives[0], versions=(first, second))
    monkeypatch.setattr(module, "CATALOGUE", {"cats-vs-dogs": dataclasses.replace(one, archives=(archive,))})
    done = cli("data", "get", "cats-vs-dogs", "-o", tmp_path / "x", "--json")
    assert done.code == 0 and json.loads(done.out)["archives"][0]["file"] == "kagglecatsanddogs_3367a.zip"


MISTAKES = [
    # words, what the message says
    ("cats-vs-dogs -o full", ["full: expected a new or an empty folder, found notes.txt", "It is left as it is"]),
    ("cats-vs-dogs -o notes.txt", ["notes.txt: expected a folder to put cats-vs-dogs into, found a file"]),
    ("cat-vs-dogs -o x", ["cat-vs-dogs: no such data set", "Did you mean cats-vs-dogs?"]),
    ("pets -o x --from none.zip", ["none.zip: no such file. Expected images.tar.gz or annotations.tar.gz"]),
    ("pets -o x --from full", ["full: expected an archive, found a folder", "topwork fit full"]),
    ("pets -o x --from mine/cats", ["mine/cats: is no archive of pets", "images/Abyssinian_1.jpg", "PetImages/Cat/"]),
    ("cats-vs-dogs -o x --from mine/a.tgz", ["is no archive of cats-vs-dogs", "PetImages/Cat/0.jpg", "annotations/README"]),
    (
        "pets -o x --from mine/a.tgz --from mine/a.tgz",
        ["a.tgz: holds the annotations, as mine/a.tgz does", "Give each archive once"],
    ),
    ("pets -o x --from notes.txt", ["notes.txt: cannot be trusted", "expected zip, tar or tar.gz"]),
    (
        "pets -o x --from mine/a.tgz --offline",
        ["images.tar.gz: is not there", "bring images.tar.gz (", "--from FILE\n"],
    ),
    ("pets -o x --from nowhere://x", ["nowhere://x: no such file"]),
    ("pets -o x --from hostile.zip", ["hostile.zip: is no archive of pets"]),
    ("cats-vs-dogs -o x --from hostile.zip", ["hostile.zip: cannot be trusted", "'PetImages/Cat/2.jpg'", "it is a link"]),
    ("cats-vs-dogs -o x --from half.zip", ["half.zip: expected pictures in PetImages/Cat and PetImages/Dog", "none of dogs"]),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_mistakes(words: str, said: list[str], mine: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    place = mine.parent
    monkeypatch.chdir(place)
    (place / "full").mkdir()
    (place / "full" / "notes.txt").write_text("mine")
    (place / "notes.txt").write_text("mine")
    link = Z("PetImages/Cat/2.jpg", b"/etc/passwd", LINK)
    (place / "hostile.zip").write_bytes(a_zip([Z("PetImages/Cat/1.jpg"), link, Z("PetImages/Dog/1.jpg")]))
    (place / "half.zip").write_bytes(zipped({name: data for name, data in cats_entries().items() if "Dog" not in name}))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = cli("data", "get", *words.split(), "--json")
    assert done.code == 1 and done.out == "" and done.err.startswith("topwork: ") and done.err.count("\n") == 1
    for part in said:
        assert part in done.err, done.err
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and "cache" not in path.parts}
    assert after == before and not (place / "x").exists()


LISTS = {
    # changes of annotations.tar.gz, what the message says
    "no test list": ({"annotations/test.txt": None}, "found no test.txt"),
    "a row of words": ({"annotations/test.txt": b"Abyssinian_6 one 1 1\n"}, "test.txt, line 1: expected NAME_NUMBER CLASS"),
    "a path": ({"annotations/test.txt": b"\n# x\n../../evil_1 1 1 1\n"}, "test.txt, line 3: expected NAME_NUMBER"),
    "a third species": ({"annotations/test.txt": b"Abyssinian_6 1 3 1\n"}, "test.txt, line 1: expected"),
    "listed twice": ({"annotations/test.txt": b"Abyssinian_1 1 1 1\n"}, "test.txt, line 1: a picture that was listed before"),
    "cat and dog": ({"annotations/test.txt": b"Abyssinian_6 1 2 1\n"}, "call Abyssinian a cat and a dog"),
    "other names": (
        {"annotations/test.txt": b"x_1 1 1 1", "annotations/trainval.txt": b"y_1 1 1 1"},
        "holds none of the 2 pictures",
    ),
    "empty": ({"annotations/test.txt": b"", "annotations/trainval.txt": b"# nothing\n"}, "its lists are empty"),
    "endless": ({"annotations/test.txt": b" " * (5 << 20)}, "more than 4194304 bytes"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_are_wrong(name: str, mine: Path, tmp_path: Path, cli: Cli) -> None:
    changes, said = LISTS[name]
    entries = {name: data for name, data in (pets_annotations() | changes).items() if data is not None}
    (mine / "a.tgz").write_bytes(tarred(entries))
    done = cli("data", "get", "pets", "-o", tmp_path / "x", "--from", mine / "a.tgz", "--from", mine / "i.tgz")
    assert done.code == 1 and said in done.err and not (tmp_path / "x").exists(), done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_place_that_cannot_be_written(site: Site, mine: Path, tmp_path: Path, cli: Cli) -> None:
    """Told before anything is fetched; folders above are made."""
    done = cli("data", "get", "cats-vs-dogs", "-o", mine / "cats" / "x", "--from", site.url(CATS))
    assert done.code == 1 and done.err.count("\n") == 1 and "cats" in done.err and not site.asked
    assert cli("data", "get", "cats-vs-dogs", "-o", tmp_path / "a" / "b" / "c", "--from", mine / "cats").code == 0
    assert sum(pictures_of(tmp_path / "a" / "b" / "c").values()) == 20


def test_too_little_room(site: Site, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.datasets.getting.free_bytes", lambda path: 10**9)
    done = cli("data", "get", "cats-vs-dogs", "-o", tmp_path / "x")
    assert done.code == 1 and "cats-vs-dogs needs 1732.3 MB on this disk" in done.err and "1000.0 MB are free" in done.err
    assert not site.asked and not (tmp_path / "x").exists()


def test_pictures_that_are_published_twice(mine: Path, tmp_path: Path, cli: Cli) -> None:
    """An archive with folders above, as some tools make it, and with the litter of others."""
    entries = {f"download/{name}": data for name, data in pets_images().items()}
    entries["__MACOSX/images/._pug_1.jpg"] = b"\0\5\x16\7"
    (mine / "i.tgz").write_bytes(zipped(entries))  # a zip of it will do, too
    done = cli("data", "get", "pets", "-o", tmp_path / "x", "--from", mine / "i.tgz", "--from", mine / "a.tgz")
    assert done.code == 0 and sum(pictures_of(tmp_path / "x").values()) == 22
    entries["other/images/pug_1.jpg"] = b""
    (mine / "i.tgz").write_bytes(zipped(entries))
    done = cli("data", "get", "pets", "-o", tmp_path / "y", "--from", mine / "i.tgz", "--from", mine / "a.tgz")
    assert done.code == 1 and "'other/images/pug_1.jpg': it comes twice" in done.err


def test_what_was_kept_is_shown_and_cleared(mirrored: Site, tmp_path: Path, cli: Cli) -> None:
    assert cli("data", "get", "cats-vs-dogs", "-o", tmp_path / "x", "--keep").code == 0
    size = len(mirrored.files[CATS])
    assert json.loads(cli("cache", "show", "--json").out)["download_bytes"] == size
    assert "archives of data sets: 0.1 MB" in cli("cache", "show").out
    assert json.loads(cli("cache", "clear", "--json").out)["freed_bytes"] == size
    assert not cache().exists() and sum(pictures_of(tmp_path / "x").values()) == 20
