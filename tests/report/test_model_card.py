from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from topwork.report import model_card

Facts = dict[str, Any]


def front(card: str) -> list[str]:
    lines = card.split("\n")
    assert lines[0] == "---"
    return lines[1 : lines.index("---", 1)]


def test_front_matter_parses_line_by_line(facts: Facts) -> None:
    facts["name"] = 'odd: "name" # with\ttab\nand line é 漢\u2028x'
    for line in front(model_card(facts)):
        match = re.fullmatch(r" *(?:- )?(?:([\w-]+):(?: (.+))?|([\w-]+))", line)
        assert match, line
        if match[2] and match[2].startswith('"'):
            json.loads(match[2])
    assert "license: apache-2.0" in front(model_card(facts))


@pytest.mark.parametrize("licence", ["Apache-2.0", "CC-BY-NC-4.0", 'odd: "licence"', None])
def test_yaml_and_the_hub_read_it(facts: Facts, licence: str | None) -> None:
    yaml, hub = pytest.importorskip("yaml"), pytest.importorskip("huggingface_hub")
    facts["backbone"]["licence"] = licence
    facts["name"] = "odd: 'name' #\n😀"
    card = model_card(facts)
    read = yaml.safe_load("\n".join(front(card)))
    assert read["pipeline_tag"] == "image-classification"
    assert read["model-index"][0]["name"] == facts["name"]
    metrics = {entry["type"]: entry["value"] for entry in read["model-index"][0]["results"][0]["metrics"]}
    assert metrics["accuracy"] == pytest.approx(facts["score"]["accuracy"], rel=1e-5)
    assert read.get("license") == {"Apache-2.0": "apache-2.0", "CC-BY-NC-4.0": "cc-by-nc-4.0", None: None}.get(licence, "other")
    assert {result.metric_type for result in hub.ModelCard(card).data.eval_results} == {
        "accuracy",
        "expected_calibration_error",
    }


def test_it_says_the_answer_the_interval_and_the_limits(facts: Facts) -> None:
    facts["score"].update(accuracy=0.992, accuracy_low=0.981, accuracy_high=0.997, n=600)
    card = model_card(facts).replace("\xa0", " ")
    assert "About 8 of 1,000 such pictures come out wrong, at least 3 and at most 19." in card
    assert "| accuracy on the test pictures | 99.2 % | 98.1 to 99.7 % | 600 |" in card
    for heading in (
        "Use it",
        "How well",
        "Class by class",
        "Warnings",
        "Limits",
        "How it was made",
        "Why each choice was taken",
        "Licence",
    ):
        assert f"\n## {heading}\n" in card
    assert "topwork fit photos/ -o pets.topwork -b lite0 --seed 0" in card


def test_names_cannot_break_out_of_a_table_or_a_fence(make_facts: Callable[..., Facts]) -> None:
    facts = make_facts(["a|b", "<script>x</script>", "``` [x](y)\n# z"])
    facts["name"] = "x\n```\n<script>"
    card = model_card(facts)
    body = card[card.index("\n---\n") + 5 :]
    assert "a\\|b" in body
    outside = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "<script>" not in outside and "```" not in outside.replace("\\`", "")
    rows = [line for line in body.splitlines() if line.startswith("|") and "2 " not in line]
    assert rows and all(line.endswith("|") for line in rows)


def test_every_part_may_be_missing_and_the_bytes_repeat(facts: Facts) -> None:
    bare = model_card({"name": "bare"})
    assert "No accuracy was measured." in bare and "None" not in bare
    for key in [key for key in facts if key != "name"]:
        for rest in ({k: v for k, v in facts.items() if k != key}, {**facts, key: None}):
            assert "None" not in model_card(rest)
    assert model_card(facts) == model_card(json.loads(json.dumps(facts)))
    assert model_card({**facts, "score": None}).count("Measured by cross-validation") == 1
