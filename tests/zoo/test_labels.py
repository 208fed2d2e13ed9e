"""The names of the classes that networks were trained on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from timm.data import ImageNetInfo

from topwork.zoo.labels import LABEL_SETS, class_names, find_labels, labels


@pytest.mark.parametrize("label_set", LABEL_SETS)
def test_names_are_those_of_timm_in_its_order(label_set: str) -> None:
    oracle = ImageNetInfo(label_set)
    found = labels(label_set)
    assert len(found) == oracle.num_classes()
    for place in {0, 1, 340, len(found) // 2, len(found) - 1} & set(range(len(found))):
        assert found[place].index == place
        assert found[place].synset == oracle.index_to_label_name(place)
        assert found[place].name == oracle.index_to_description(place)


def test_a_word_finds_its_classes_whole_words_first() -> None:
    assert [(label.index, label.name) for label in find_labels("zebra")] == [(340, "zebra")]
    assert find_labels("Zebra") == find_labels("n02391049") == find_labels("zebra")
    cats = [label.name for label in find_labels("cat")]
    assert len(cats) > 5 and cats.index("tabby, tabby cat") < cats.index("polecat, fitch, foulmart, foumart, Mustela putorius")
    assert find_labels("no such animal") == []


def test_classes_without_names_are_numbered() -> None:
    assert class_names("", 2) == ("class 0", "class 1")
    assert (
        class_names("imagenet-1k", 1001)[339:341] == ("sorrel", "zebra")
        and class_names("imagenet-1k", 1001)[1000] == "class 1000"
    )


def test_the_photos_folders_are_named_as_the_classes_are(photos: Path) -> None:
    known = labels("imagenet-1k")
    for folder in (photos / "imagenet-one-per-class").iterdir():
        index, _, name = folder.name.partition("-")
        assert name.replace("_", " ") in known[int(index)].name


def test_no_torch_is_imported_for_names_and_lists(tmp_path: Path) -> None:
    code = (
        "import sys; from topwork.commands.app import run; "
        "assert run(['zoo', 'classes', 'zebra']) == 0 and run(['zoo', 'list', '--family', 'vgg']) == 0; "
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules and 'keras' not in sys.modules, 'torch was imported'"
    )
    environment = {"TOPWORK_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    first = subprocess.run(
        [sys.executable, "-c", "from topwork.zoo.catalogue import every_network; every_network()"], env=environment, check=False
    )
    assert first.returncode == 0  # asks timm once
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "zebra" in done.stdout and "keras:VGG16" in done.stdout
