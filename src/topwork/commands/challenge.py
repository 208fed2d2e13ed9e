"""What distance, compare, curve and map share: their flags, and where they tell what they found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from topwork.commands.common import Device, Engine

if TYPE_CHECKING:
    from topwork.compare.reading import LookSettings

Figure = Annotated[Path | None, Parameter(name=["--out", "-o"], help="The figure: FILE.png or FILE.svg; or a page: FILE.html.")]
Bundle = Annotated[Path | None, Parameter(name="--report", help="A bundle whose report.html shall tell it too.")]
Most = Annotated[
    int,
    Parameter(
        name="--pictures",
        validator=validators.Number(gte=1),
        help="Of more pictures so many are drawn: a few of every class, for the rest each in its proportion.",
    ),
]


def look_settings(
    backbone: str, weights: str, engine: Engine, device: Device, most: int, seed: int, store: bool
) -> LookSettings:
    """The settings of a look at pictures, from its flags."""
    from topwork.compare.reading import LookSettings

    return LookSettings(backbone, weights, engine, device, most, seed, store)


def folder_name(pictures: str) -> str:
    """What the folder is called; of name/train the first."""
    path = Path(pictures).absolute()
    return path.parent.name if path.name in ("train", "training") else path.name


def check_out(out: Path | None, report: Path | None) -> None:
    """Refuse, before any work, what cannot be written."""
    from topwork.bundle import read_bundle
    from topwork.compare.figures import check_figure

    if out is not None:
        check_figure(out, (".png", ".svg", ".html"))
    if report is not None:
        read_bundle(report)


def tell(
    what: str, facts: dict[str, Any], pictures: str, out: Path | None, report: Path | None, figure: Callable[[], Any] | None
) -> None:
    """Write the figure or page, and the section of a bundle's report."""
    from topwork.compare.telling import tell_in_bundle, write_page

    if out is not None and out.suffix.lower() == ".html":
        write_page(out, folder_name(pictures), what, facts)
    elif out is not None and figure is not None:
        from topwork.compare.figures import draw

        draw(figure(), out)
    if report is not None:
        tell_in_bundle(report, what, facts)
