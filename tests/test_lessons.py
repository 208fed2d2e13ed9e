"""The lessons: sources and notebooks are the same, short, captioned, hold what the quizzes name; and their short forms run."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image, ImageChops, ImageDraw

import notebooks
import photos as lesson_photos
from topwork.notebook import COLOURS, NOTICED, WIDEST, farthest, figures, load_ipython_extension, small
from topwork.quiz.questions import load

SOURCES = notebooks.sources()


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.stem)
def test_a_notebook_is_its_source_run(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert cells(notebook) == cells(notebooks.blank(source))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 4 <= len(code) <= 15
    assert not any(re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE) for cell in code), (
        "a helper belongs in the library"
    )
    assert "?" in notebook.cells[0].source and "## What was measured" in notebook.cells[-1].source
    outputs = [one for cell in code for one in cell.outputs]
    assert outputs and not any(one.output_type == "error" for one in outputs)
    for one, after in zip(outputs, [*outputs[1:], None], strict=True):
        if {"image/png", "image/jpeg"} & set(one.get("data", {})):
            assert after is not None and "<em>topwork " in after["data"]["text/html"]
    assert source.with_suffix(".ipynb").stat().st_size < 700_000


def test_the_notebooks_show_both_quizzes() -> None:
    assert "# %topwork quiz before\n" in SOURCES[0].read_text() and "# %topwork quiz after\n" in SOURCES[-1].read_text()


def test_the_quizzes_name_lessons_and_cells_that_exist() -> None:
    assert len(SOURCES) == 7
    assert sum(file.with_suffix(".ipynb").stat().st_size for file in SOURCES) < 3_000_000
    for name in ("before", "after"):
        quiz = load(name)
        for question in quiz.questions:
            source = next(file for file in SOURCES if file.name.startswith(f"{question.lesson}-"))
            assert f"# ### {question.cell}\n" in source.read_text(), (question.lesson, question.cell)


@pytest.mark.parametrize("number", [file.name[0] for file in SOURCES])
def test_the_short_form_runs(number: str, warm: Path, tmp_path: Path) -> None:
    words = [sys.executable, notebooks.__file__, "--only", number, "--short", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "TOPWORK_CACHE": str(warm)})
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "out").glob("*.ipynb"))) == 1


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_a_command_in_a_notebook_shows_what_it_drew(shell: InteractiveShell, painted: Path, tmp_path: Path, warm: Path) -> None:
    load_ipython_extension(shell)
    picture = tmp_path / "given.png"
    shutil.copy(next(painted.glob("*/*.png")), picture)
    with capture_output() as said:
        shell.run_line_magic("topwork", f"look -b lite0 {picture} -o {tmp_path / 'maps.png'}")
    assert "blocks.0" in said.stdout
    images = [one for one in said.outputs if {"image/png", "image/jpeg"} & set(one.data)]
    assert len(images) == 1, "the picture that was given is not shown"
    assert f"topwork look -b lite0 {picture} -o" in said.outputs[-1].data["text/html"]
    shown = images[0].data.get("image/png") or images[0].data["image/jpeg"]
    data = base64.b64decode(shown) if isinstance(shown, str) else shown
    with Image.open(io.BytesIO(data)) as drawn:
        assert drawn.width <= WIDEST
    assert len(data) <= (tmp_path / "maps.png").stat().st_size
    with pytest.raises(RuntimeError, match="ended with exit code 1"), capture_output():
        shell.run_line_magic("topwork", "look -b lite0 no.png")


def test_a_quiz_in_a_notebook_is_shown_folded_and_marked(shell: InteractiveShell) -> None:
    load_ipython_extension(shell)
    with capture_output() as said:
        shell.run_line_magic("topwork", "quiz before")
    assert said.outputs[0].data["text/html"].count("<details>") == 10
    with capture_output() as said:
        shell.run_line_magic("topwork", f"quiz before {' '.join(question.right for question in load('before').questions)}")
    assert "10 of 10 right" in said.stdout


def test_threads_in_a_notebook_spin_briefly(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    load_ipython_extension(shell)
    assert os.environ["GOMP_SPINCOUNT"] == "20000"


def test_a_small_figure_keeps_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (120, 80), "red").save(tmp_path / "red.png")
    with Image.open(io.BytesIO(small(tmp_path / "red.png"))) as shown:
        assert shown.format == "PNG"
        assert shown.size == (120, 80) and shown.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_a_shown_photo_keeps_its_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_photos, "WORK", tmp_path)
    page = Image.new("RGB", (800, 600), "white")  # as in a figure, most of it paper
    with Image.open(lesson_photos.cat()) as cat:
        page.paste(cat, (20, 20))
    page.save(tmp_path / "page.png")
    shown = small(tmp_path / "page.png")
    assert len(shown) < (tmp_path / "page.png").stat().st_size / 3
    with Image.open(io.BytesIO(shown)) as saved:
        assert saved.format == "JPEG" and saved.size == page.size
        assert farthest(page, saved.convert("RGB")) <= 5 < NOTICED < farthest(page, page.quantize(COLOURS).convert("RGB"))


def test_a_drawn_figure_keeps_its_lines(tmp_path: Path) -> None:
    drawn = Image.new("RGB", (600, 400), "white")
    for place in range(20):
        ImageDraw.Draw(drawn).line((30 * place, 0, 600 - 30 * place, 400), (12 * place, 80, 255 - 12 * place), 2)
    drawn.save(tmp_path / "drawn.png")
    with Image.open(io.BytesIO(small(tmp_path / "drawn.png"))) as shown:
        assert shown.format == "PNG"
        assert ImageChops.difference(drawn, shown.convert("RGB")).getbbox() is None, (
            "no colour is lost where a palette has them all"
        )


def test_what_a_command_writes_beside_its_picture_is_shown_too(tmp_path: Path) -> None:
    for name in ("waves.png", "waves-loop.png", "waves2.png", "waves-loop.webp", "a [b].png", "a [b]-loss.png"):
        (tmp_path / name).write_bytes(b"")
    assert figures(["-o", str(tmp_path / "waves.png")]) == [tmp_path / "waves.png", tmp_path / "waves-loop.png"]
    assert figures([str(tmp_path / "a [b].png")]) == [tmp_path / "a [b].png", tmp_path / "a [b]-loss.png"]
    assert figures([str(tmp_path / "no.png"), "lite0"]) == []


def test_pictures_that_everybody_has_take_the_place_of_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_photos, "REAL", None)
    monkeypatch.setattr(lesson_photos, "WORK", tmp_path / "work")
    monkeypatch.setattr(lesson_photos, "SHORT", True)
    folder = lesson_photos.photos("eurosat")
    assert len(list(folder.glob("train/*/*"))) == lesson_photos.CLASSES * lesson_photos.EACH["train"]
    digits = lesson_photos.few_digits(3, train=5, test=2)
    assert sorted(one.name for one in digits.glob("train/*")) == ["0", "1", "2"]
    assert len(list(digits.glob("train/*/*"))) == 15 and len(list(digits.glob("test/*/*"))) == 6
    assert lesson_photos.first(folder).parent == folder / "test" / "0" and lesson_photos.few(9, 2) == 2
    for file in (lesson_photos.cat(), lesson_photos.flower()):
        with Image.open(file) as shown:
            assert min(shown.size) >= 300
    real = tmp_path / "real"
    (real / "eurosat").mkdir(parents=True)
    monkeypatch.setattr(lesson_photos, "REAL", real)
    monkeypatch.setattr(lesson_photos, "SHORT", False)
    assert lesson_photos.photos("eurosat") == real / "eurosat"
