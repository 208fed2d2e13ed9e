"""The documentation: made from the code, complete, and without a link that leads nowhere."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import topwork
from handbook import examples, house, links, pages, promises
from handbook.commands import Command, commands
from handbook.words import PLACE, filled, written
from running import Cli
from topwork.quiz.questions import load

ROOT = Path(__file__).resolve().parents[1]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, with no example run."""
    folder = tmp_path_factory.mktemp("docs") / "pages"
    pages.write_all(ROOT, folder, [])
    return folder


def flat(text: str) -> str:
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text.replace("\\", "")).split())


def test_every_command_has_an_example_that_runs_without_photos() -> None:
    known, shown = {one.name for one in commands()}, examples.read()
    assert known == {one.command for one in shown if not one.photos}, "docs/examples.toml"
    for one in shown:
        assert one.says and f"topwork {one.command}" in " ".join(one.run), one
        assert one.first >= 1 and all(one.run)


@pytest.mark.parametrize("command", list(commands()), ids=lambda one: one.name)
def test_a_page_says_what_the_help_says(command: Command, site: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    told, page = flat(cli(*command.words, "--help").out), flat((site / "commands" / command.page).read_text())
    assert command.title in told and command.title in page
    assert command.arguments
    for one in command.arguments:
        assert one.parameter.help, f"{command.name}: {one.name} has no words in the docstring"
        assert flat(one.parameter.help) in told and flat(one.parameter.help) in page, one.name
        assert all(f"`{name}`" in page for name in one.names)
    overview = (site / "commands" / "index.md").read_text()
    assert f"[`{command.name}`]({command.page})" in overview and command.title in flat(overview)


def test_all_promises_have_tests_that_exist() -> None:
    every = promises.read()
    assert len({one.id for one in every.every}) == len(every.every)
    for promise in every.every:
        assert promise.id[0] in every.kinds and promise.tests and promise.text.strip() and promise.proof.strip()
        missing = [test for test in promise.tests if promises.test_words(ROOT, test) is None]
        assert not missing, f"docs/promises.toml, {promise.id}: no such test: {missing}"


def named_in_tests() -> Iterator[tuple[str, str]]:
    """(promise, test file) for each promise that a docstring of a test names: "C1, C2: ..." or "(promise X)"."""
    for file in TESTS:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.FunctionDef))]
        for node in nodes:
            words = ast.get_docstring(node) or ""
            first = re.match(r"[A-Z]\d(?:, [A-Z]\d)*(?=[:.])", words)
            for name in [*(first[0].split(", ") if first else []), *re.findall(r"\(promise ([A-Z]\d)\)", words)]:
                yield name, str(file.relative_to(ROOT).as_posix())


def test_every_promise_a_test_names_has_its_page_and_names_the_test(site: Path) -> None:
    named = set(named_in_tests())
    assert {"C1", "I1", "N5", "A2"} <= {name for name, _ in named}
    for name, file in named:
        page = site / "promises" / f"{name}.md"
        assert page.is_file(), f"docs/promises.toml: {file} names {name}, which is not there"
        assert file in page.read_text(), f"docs/promises.toml, {name}: {file} is not among its tests"


def test_every_automatic_choice_is_explained(site: Path, bundle: Path) -> None:
    reasons = json.loads((bundle / "metrics.json").read_text())["reasons"]
    text = (site / "decides.md").read_text()
    assert len(reasons) >= 8
    for choice in reasons:
        assert re.search(rf"^## .* {{ #{choice} }}$\n\n\*In the report: `{choice}`", text, re.MULTILINE), choice


def test_figures_come_from_the_code(site: Path) -> None:
    assert filled("{{ topwork.heads.search:HeadSettings.folds }} and {{topwork.copies:COMMON_SHARE%}}") == "5 and 0.5 %"
    assert [written(one) for one in (4000, 0.75, (1, 5, 15), 1e-6)] == ["4,000", "0.75", "1, 5 and 15", "1e-06"]
    with pytest.raises(AttributeError):
        filled("{{ topwork.copies:NOTHING }}")
    assert len(PLACE.findall((ROOT / "docs" / "pages" / "decides.md").read_text())) > 20
    assert not [file for file in site.rglob("*.md") if "{{" in file.read_text()]


def test_no_link_in_a_page_or_a_text_leads_nowhere(site: Path) -> None:
    texts = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *site.rglob("*.md")]
    assert len(texts) > 30
    assert [problem for file in texts for problem in links.markdown_problems(file)] == []


def test_every_page_is_in_the_list_of_pages(site: Path, tmp_path: Path) -> None:
    pages.write_config(ROOT / "docs" / "mkdocs.yml", tmp_path)
    _, _, nav = (tmp_path / "mkdocs.yml").read_text().partition("\nnav: ")
    listed = re.findall(r'"([^"]+\.md)"', json.dumps(json.loads(nav)))
    assert sorted(listed) == sorted(file.relative_to(site).as_posix() for file in site.rglob("*.md"))


def test_the_house_shows_every_module_with_its_words(site: Path) -> None:
    floors = house.layers(ROOT)
    modules = {(room.name, name): told for rooms in floors for room in rooms for name, told, _ in room.modules}
    files = [file for file in (ROOT / "src" / "topwork").rglob("*.py") if not file.name.startswith("__")]
    missing = {file.relative_to(ROOT / "src" / "topwork").parts[0] for file in files} - {
        name for room, _ in modules for name in (room, f"{room}.py")
    }
    assert not missing and len(modules) == len(files), f"in no layer of the import contract, pyproject.toml: {missing}"
    assert [name for name, told in modules.items() if not told] == []
    page, drawn = flat((site / "house.md").read_text()), ElementTree.parse(site / "house.svg")  # noqa: S314 - our own
    words = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    for rooms in floors:
        for room in rooms:
            assert room.name in words and f"### {room.name}" in page
            assert all(flat(told) in page for _, told, _ in room.modules), room.name


def test_every_public_name_and_every_question_is_on_a_page(site: Path) -> None:
    library = (site / "library.md").read_text()
    assert all(f"\n## {name}\n" in library for name in topwork.__all__ if not name.startswith("__"))
    for name in ("before", "after"):
        text = (site / "quizzes" / f"{name}.md").read_text()
        for question in load(name).questions:
            parts = [question.text, *question.answers.values(), *question.reasons.values()]
            assert all(part in text for part in parts)


def test_examples_are_run_and_their_output_is_shown(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "pets").mkdir(parents=True)
    rows = [
        examples.Example("x", "Says.", ("mkdir made && echo $PWD/made", "seq 9; cat made/no 2> /dev/null"), 1, first=4, last=2),
        examples.Example("y", "Photos.", ("ls -d pets",), photos=True),
        examples.Example("z", "A picture.", ("echo '<svg/>' > z.svg; echo $TOPWORK_CACHE",), files=("z.svg",)),
    ]
    ran = examples.run_all(tmp_path / "work", photos, rows)
    lines = ["$ mkdir made && echo $PWD/made", "made", "$ seq 9; cat made/no 2> /dev/null", "1", "... (6 more lines)", "8", "9"]
    assert ran[0].as_markdown() == "\n".join(["Says.", "", "```console", *lines, "```"])
    assert ran[1].said == ("pets\n",) and ran[2].said == ("~/.cache/topwork\n",)
    examples.keep_files(ran, tmp_path / "pages")
    assert (tmp_path / "pages" / "files" / "z-z.svg").is_file() and "](../files/z-z.svg)" in ran[2].as_markdown()
    assert [one.example.command for one in examples.run_all(tmp_path / "bare", None, rows)] == ["x", "z"]
    with pytest.raises(SystemExit, match="expected exit code 0, found 3"):
        examples.run_all(tmp_path / "fails", None, [examples.Example("x", "Says.", ("exit 3",))])


def test_broken_links_and_outside_resources_are_found(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    good = '<h1 id="top">A</h1><a href="folder/b.html#there">b</a><a href="#top">up</a><a href="https://example.org">out</a>'
    (tmp_path / "a.html").write_text(f'{good}<img src="data:image/gif;base64,R0">')
    (tmp_path / "folder" / "b.html").write_text('<p id="there"><a href="../a.html">a</a><a href="..">no index</a></p>')
    assert links.problems(tmp_path) == ["folder/b.html: ..: no such page"]
    (tmp_path / "index.html").write_text(
        '<a href="folder/b.html#gone">b</a><a href="c.html">c</a><img src="d.png"><a href="../../etc/passwd">up</a>'
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//fonts.example/f.css">'
    )
    (tmp_path / "s.css").write_text("@font-face { src: url('https://fonts.example/f.woff') } a { background: url(x.png) }")
    assert links.problems(tmp_path) == [
        "index.html: loads https://cdn.example/x.js, which is not in the site",
        "index.html: loads //fonts.example/f.css, which is not in the site",
        "index.html: folder/b.html#gone: no such place in b.html",
        "index.html: c.html: no such page",
        "index.html: ../../etc/passwd: no such page",
        "index.html: d.png: no such page",
        "s.css: loads https://fonts.example/f.woff",
    ]
    (tmp_path / "text.md").write_text(
        "[a](a.html) [n](none.md#x) [w](https://example.org) `[c](code.md)`\n```\n[d](no.md)\n```\n"
    )
    assert links.markdown_problems(tmp_path / "text.md") == ["text.md: none.md#x: no such file"]
