"""What `import topwork` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import topwork


def test_all_is_what_can_be_imported() -> None:
    namespace: dict[str, object] = {}
    exec("from topwork import *", namespace)  # noqa: S102 - the statement under test
    assert set(topwork.__all__) == namespace.keys() - {"__builtins__"}
    assert all(namespace[name] is getattr(topwork, name) for name in topwork.__all__)
    assert len(set(topwork.__all__)) == len(topwork.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        topwork.fitt  # noqa: B018


def loaded(code: str, *forbidden: str, cache: Path | None = None) -> list[str]:
    """Which of the forbidden modules a fresh Python has loaded after running `code`."""
    program = f"import sys\n{code}\nprint('\\n' + ' '.join(m for m in {forbidden!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_importing_costs_nothing() -> None:
    assert loaded("import topwork", "numpy", "PIL", "torch", "sklearn", "cyclopts", "rich") == []


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["predict", "--help"], ["--version"], ["fit"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = f"from topwork.commands.app import run\nrun({words!r})"
    assert loaded(code, "numpy", "PIL", "torch", "sklearn", "timm", "openvino", "markdown_it") == []


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("command", ["predict", "score"])
def test_a_bundle_answers_without_torch(command: str, bundle: Path, painted: Path) -> None:
    code = f"from topwork.commands.app import run\nassert run([{command!r}, {str(bundle)!r}, {str(painted)!r}]) == 0"
    assert loaded(code, "torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "pyarrow", "pandas") == []


@pytest.mark.usefixtures("warm")
def test_a_fit_with_a_known_engine_needs_no_torch(bundle: Path, painted: Path, tmp_path: Path) -> None:
    words = ["fit", str(painted), "-o", str(tmp_path / "x.topwork"), "--quiet"]
    code = f"from topwork.commands.app import run\nassert run({words!r}) == 0"
    assert loaded(code, "torch", "torchvision", "timm", "sklearn") == []


def test_no_public_name_is_also_a_module() -> None:
    """A module of the same name would take the name's place as soon as it is imported."""
    folder = Path(topwork.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not modules & set(topwork.__all__)
