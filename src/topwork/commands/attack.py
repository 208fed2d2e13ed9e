"""attack: one photo, or a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from topwork.commands.common import (
    EXIT_INTERRUPTED,
    EXIT_PARTIAL,
    Json,
    Offline,
    Quiet,
    Seed,
    Switch,
    Weights,
    check_figure,
    number,
    percent,
    progress_bar,
    say,
    stay_offline,
    told_broken,
    warn,
)
from topwork.errors import InputError

if TYPE_CHECKING:
    from topwork.attack.bench import BenchSettings
    from topwork.attack.single import PhotoAttack
    from topwork.attack.subject import Subject

WholeNumber = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]


def attack(
    words: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    backbone: Annotated[str | None, Parameter(name=["--backbone", "-b"])] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    weights: Weights = "pretrained",
    target: str | None = None,
    label: str | None = None,
    epsilon: str | None = None,
    kind: Annotated[
        Literal[
            "pgd", "fgsm", "iterative", "momentum", "apgd", "apgd-targeted", "square", "deepfool", "ddn", "fmn", "ensemble"
        ],
        Parameter(name="--attack"),
    ] = "pgd",
    norm: Literal["linf", "l2"] = "linf",
    steps: WholeNumber = None,
    restarts: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    through: Literal["file", "input"] | None = None,
    smallest: Switch = False,
    most: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 200,
    report: Switch = False,
    seed: Seed = 0,
    offline: Offline = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Change a photo a little, until the classifier sees something else; or measure how little a folder of photos takes.

    Parameters
    ----------
    words
        A bundle and a photo or folder; with --backbone only the photo or folder. Of train/ and test/ only test/ counts.
    backbone
        Attack a network with the classes it was trained on: lite0, vgg16, timm:NAME or keras:NAME.
    out
        The figure to write, .png, .svg or .pdf. Without it, PHOTO-attack.png in the current folder; for a folder none. A photo
        attacked through the file is written beside the figure, as NAME-attacked.png.
    target
        The class that shall be seen; without it any other than the right one will do. For a folder also: random.
    label
        What the photo shows. Without it, the name of its folder where that is a class, else what the classifier says.
    epsilon
        The largest change, as a share of full brightness: 8/255, or 0.03; with --norm l2 a length. For a folder several, with
        commas between: 1/255,2/255,4/255. Without it: 8/255 (l2: 2) for a photo, six from 0.25/255 to 8/255 (l2: 0.1 to 4)
        for a folder.
    kind
        How the change is sought.
    norm
        What epsilon limits: linf each value's change, l2 the root of the sum of squares.
    steps
        Steps of the search; each kind has its own number.
    restarts
        Random starts.
    through
        file changes the photo at its own size, so that the saved PNG is misread; input changes what the network sees, as papers
        do. Without it a photo is attacked through the file, and a folder through the input.
    smallest
        Find the smallest change that fools.
    most
        Of a folder with more pictures, so many are drawn.
    report
        Write what a folder gave into the bundle's report.html.
    seed
        Draws the random starts.
    """
    from topwork.attack.bench import BenchSettings
    from topwork.attack.epsilon import USUAL, read_epsilons
    from topwork.attack.figures import photo_figure
    from topwork.attack.single import attack_photo
    from topwork.attack.subject import open_subject
    from topwork.attack.which import attack_of

    stay_offline(offline)
    bundle, pictures = _named(words, backbone)
    folder = pictures.is_dir() or pictures.suffix.lower() in (".csv", ".tsv")
    if out is not None:
        check_figure(out, pictures)
    if report and (bundle is None or not folder):
        raise InputError("--report: writes into a bundle's report what a folder gave. Give a bundle and a folder.")
    sizes = read_epsilons(epsilon, norm) if epsilon is not None else ()
    if len(sizes) > 1 and not folder:
        raise InputError(f"--epsilon {epsilon}: a photo is attacked with one strength. Give one, or --smallest.")
    searching = attack_of(kind, norm, steps, restarts, seed, stop=False, random_start=False)
    subject = open_subject(bundle, backbone or "lite0", weights)
    if folder:
        settings = BenchSettings(kind, norm, sizes, steps, restarts, through or "input", target, smallest, most, seed=seed)
        return _folder(subject, pictures, settings, out, report, json_, quiet)
    out = out or Path(f"{pictures.stem}-attack.png")
    with progress_bar("gradients", quiet) as progress:
        found = attack_photo(
            subject,
            pictures,
            out.with_name(f"{out.stem}-attacked.png"),
            target=target,
            label=label,
            epsilon=sizes[0] if sizes else USUAL[norm],
            through=through or "file",
            attack=searching,
            smallest=smallest,
            progress=progress,
        )
    photo_figure(found, out)
    say({**found.to_config(), "figure": str(out)}, _photo_text(found, out), json_)
    return 0 if found.fooled else EXIT_PARTIAL


def _folder(
    subject: Subject, pictures: Path, settings: BenchSettings, out: Path | None, report: bool, as_json: bool, quiet: bool
) -> int:
    """The bench of a folder, its figure, its part of the report."""
    from topwork.attack.figures import curve_figure
    from topwork.attack.folder import attack_folder

    with progress_bar("pictures", quiet) as progress:
        bench = attack_folder(subject, pictures, settings, progress)
    document = bench.to_config()
    if not bench.rows:
        warn("topwork: interrupted before the first pictures were finished")
        return EXIT_INTERRUPTED
    if out is not None:
        curve_figure(document, out)
    if report and subject.classifier is not None and not bench.interrupted:
        subject.report({key: value for key, value in document.items() if key != "pictures"})
    say({**document, "figure": None if out is None else str(out)}, _folder_text(document, out), as_json)
    warn(*document["notes"], *told_broken(document["broken"]))
    warn(
        *[
            f"warning: {one['name']}: NOT so: {one['measured']}: {one['meaning']}"
            for one in document["controls"]
            if not one["passed"]
        ]
    )
    if bench.interrupted:
        warn(f"topwork: interrupted; the {number(len(bench.rows), 'picture')} that were finished are told")
        return EXIT_INTERRUPTED
    return EXIT_PARTIAL if document["broken"] else 0


def _folder_text(document: dict[str, Any], out: Path | None) -> list[str]:
    from topwork.attack.epsilon import told_distance

    norm, there = document["norm"], document["showing_target"]
    there = f", nor {there} that show the target already" if there else ""
    lines = [
        f"{document['subject']}: {number(document['n'], 'picture')} right to begin with ({document['misread']} misread do not "
        f"count{there}), {document['gradient_calls']:,} gradients, {document['seconds']:.1f} s"
    ]
    if failed := sum(not one["passed"] for one in document["controls"]):
        lines.append(
            f"  CAREFUL         {number(failed, 'control')} failed: what is left may be the attack's weakness, see below"
        )
    for point in document["curve"][1:]:
        lines.append(
            f"  {told_distance(point['epsilon'], norm):<15} {percent(point['share'])} left "
            f"({percent(point['low'])} to {percent(point['high'])})"
        )
    if document["smallest_median"] is not None:
        lines.append(f"  smallest        {told_distance(document['smallest_median'], norm)} for half of those that were fooled")
    fragile = document["most_fragile"][:3]
    lines += [f"  fragile         {one['path']}: {one['becomes']} at {told_distance(one['smallest'], norm)}" for one in fragile]
    turned = ", ".join(f"{one['label']} -> {one['becomes']} ({one['count']})" for one in document["turned_into"][:4])
    lines.append(f"  turned into     {turned or 'nothing'}")
    lines += [
        f"  {'passed' if one['passed'] else 'WARNING'}         {one['name']}: {one['measured']}" for one in document["controls"]
    ]
    if out is not None:
        lines.append(f"  figure          {out}")
    return lines


def _named(words: list[str], backbone: str | None) -> tuple[Path | None, Path]:
    """(bundle or None, photo or folder). Raises InputError."""
    wanted = 1 if backbone is not None else 2
    if len(words) != wanted:
        expected = "one photo or folder after --backbone" if wanted == 1 else "a bundle and then one photo or folder"
        raise InputError(f"attack: expected {expected}, found {number(len(words), 'name')}: {', '.join(words)}.")
    path = Path(words[-1]).expanduser()
    if not path.exists():
        raise InputError(f"{words[-1]}: no such file or folder. Expected a photo, or a folder with one folder per class.")
    return (None if backbone is not None else Path(words[0])), path


def _photo_text(found: PhotoAttack, out: Path) -> list[str]:
    from topwork.attack.epsilon import told, told_distance
    from topwork.attack.figures import engines_told, jpeg_told
    from topwork.attack.single import said

    aim = f"wanted {found.target}" if found.target else "wanted anything else"
    if found.fooled and found.target and found.after.none_of_these:
        aim += ", and it leads; but no class is answered"
    lines = [
        f"{found.photo}: {said(found.before)} -> {said(found.after)}; {'fooled' if found.fooled else 'not fooled'} ({aim})",
        f"  change          at most {told(found.distance)} a value, length {found.distance_l2:.2f}; "
        f"allowed {told_distance(found.epsilon, found.norm)}",
    ]
    if not found.distance:
        lines.append(
            "  WARNING         nothing was changed: the attack found no gradient, so this says nothing of how robust it is"
        )
    if found.checked is not None:
        lines.append(f"  asked again     from the file: {engines_told(found.checked.engines)}")
        lines += [f"  saved as JPEG   {jpeg_told(found.checked.jpeg)}"] if found.fooled else []
        lines.append(f"  attacked file   {found.attacked_path}")
    else:
        lines.append("  asked again     by torch in float32, at the network's input; no file was made")
    if found.tried:
        tried = ", ".join(told_distance(one, found.norm) for one in found.tried)
        least = told_distance(found.epsilon, found.norm) if found.fooled else "none"
        lines.append(f"  smallest        {least}, of {tried} tried")
    lines.append(f"  figure          {out}")
    lines.append(f"  work            {found.gradients} gradients, {found.seconds:.1f} s")
    return lines
