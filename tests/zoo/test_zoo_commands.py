"""zoo list, show, get, classes, bench: what they print, and the keys that other programs read."""

from __future__ import annotations

import json

import pytest

from running import Cli
from topwork.zoo.names import SHORT

pytestmark = pytest.mark.usefixtures("warm")

SMALL = "timm:test_resnet.r160_in1k"


def test_list(cli: Cli) -> None:
    done = cli("zoo", "list")
    assert done.code == 0 and done.err == ""
    assert all(f"{name} " in done.out for name in SHORT) and "vgg 8" in done.out and "keras: 40 networks" in done.out
    document = json.loads(cli("zoo", "list", "--json").out)
    assert [one["name"] for one in document["short"]] == list(SHORT)
    assert len(document["networks"]) > 1500
    assert all(one.keys() == {"id", "family", "size", "licence", "classes"} for one in document["networks"])
    family = json.loads(cli("zoo", "list", "--family", "VGG", "--json").out)
    assert [one["name"] for one in family["short"]] == ["vgg16", "vgg19"]
    assert {"timm:vgg16.tv_in1k", "keras:VGG19"} <= {one["id"] for one in family["networks"]}
    assert all("vgg" in one["id"].lower() for one in family["networks"])
    assert cli("zoo", "list", "--family", "xyz").code == 1


def test_short_names_are_told_as_they_are(cli: Cli) -> None:
    """What `zoo list` says without loading a network is what the network has."""
    for name, short in SHORT.items():
        if short.parameters > 30e6:
            continue
        facts = json.loads(cli("zoo", "show", name, "--json").out)
        for key in ("parameters", "multiply_adds", "licence"):
            assert facts[key] == getattr(short, key), (name, key)
        assert facts["features"]["last"] == short.dim and facts["input_size_pixels"] == short.size
        assert facts["label_set"] == short.label_set


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name, short in SHORT.items() if short.parameters > 30e6])
def test_large_ones_are_told_as_they_are(name: str, cli: Cli) -> None:
    facts = json.loads(cli("zoo", "show", name, "--json").out)
    assert (facts["parameters"], facts["multiply_adds"]) == (SHORT[name].parameters, SHORT[name].multiply_adds)


def test_show(cli: Cli) -> None:
    text = cli("zoo", "show", "lite0").out
    assert "apache-2.0" in text and "4.7 M parameters" in text and "-1 to 1" in text and "imagenet-1k" in text
    assert "efficientnet-lite0-57934424.pth" in text and "579344248a93e230" in text
    keras = cli("zoo", "show", "keras:MobileNetV3Small")
    assert "the network scales itself" in keras.out and "topwork zoo get keras:MobileNetV3Small" in keras.out
    layers = cli("zoo", "show", SMALL, "-v").out
    assert "conv1" in layers and "fc" in layers
    again = cli("zoo", "show", SMALL, "--json")
    assert json.loads(again.out)["layers"][0] == "conv1"


@pytest.mark.parametrize(
    "words", [("show", "resnt50"), ("get", "resnt50"), ("bench", "resnt50"), ("classes", "cat", "-b", "resnt50")]
)
def test_a_mistyped_name_is_one_message(words: tuple[str, ...], cli: Cli) -> None:
    done = cli("zoo", *words)
    assert done.code == 1 and done.out == "" and done.err.count("\n") == 1
    assert "Did you mean resnet50 or " in done.err


def test_classes(cli: Cli) -> None:
    assert cli("zoo", "classes", "zebra").out == "  340  zebra\n"
    document = json.loads(cli("zoo", "classes", "retriever", "-b", "keras:MobileNetV3Small", "--json").out)
    assert [one["index"] for one in document["classes"]] == [205, 206, 207, 208, 209]
    assert document["label_set"] == "imagenet-1k"
    assert cli("zoo", "classes", "no such animal").code == 1
    none = cli("zoo", "classes", "cat", "-b", "dinov2_small")
    assert none.code == 1 and "without classes" in none.err


def test_get_of_what_comes_with_the_install(cli: Cli) -> None:
    found = json.loads(cli("zoo", "get", "lite0", "--json").out)
    package = SHORT["lite0"].package
    assert package is not None and found["sha256"] == package.sha256 and not found["fetched"]


def test_bench_is_remembered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.features.bench.SECONDS", 0.05)
    assert f"topwork zoo bench {SMALL}" in cli("zoo", "show", SMALL).out
    done = cli("zoo", "bench", SMALL, "--json")
    assert done.code == 0
    (measured,) = json.loads(done.out)["backbones"]
    rates = {(one["engine"], one["precision"]): one["images_per_second"] for one in measured["speed"]}
    assert {("torch", "f32"), ("openvino", "f32")} <= rates.keys() and all(rate > 0 for rate in rates.values())
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    shown = cli("zoo", "show", SMALL).out
    assert f"{rates['openvino', 'f32']:.1f} pictures a second" in shown
    assert json.loads(cli("zoo", "show", SMALL, "--json").out)["speed"] == measured["speed"]
