"""One photo: what is claimed is true of the file on disk."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from running import Cli, cache_in
from topwork import Classifier
from topwork.attack.epsilon import USUAL, read_epsilon, read_epsilons, told, whole_levels
from topwork.attack.gradient import PGD
from topwork.attack.norms import Norm
from topwork.attack.recheck import Wanted, check_file, likeliest_class
from topwork.attack.single import Through, attack_photo
from topwork.attack.subject import open_subject
from topwork.attack.which import AttackName, attack_of
from topwork.errors import InputError, UnknownName
from topwork.pictures.decode import decode, read_bytes

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def red(painted: Path) -> Path:
    return painted / "red bars" / "03.png"


def levels(one: Path, other: Path) -> int:
    """The largest difference of two files, in levels of 8 bits."""
    first, second = (np.array(decode(read_bytes(file)).image).astype(int) for file in (one, other))
    return int(np.abs(first - second).max())


def test_the_file_on_disk_fools_the_ordinary_way(bundle: Path, red: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out.png"
    done = cli("attack", bundle, red, "--target", "blue checks", "--epsilon", "16/255", "-o", out, "--json", "--quiet")
    found = json.loads(done.out)
    assert done.code == 0, done.err
    attacked = Path(found["attacked_path"])
    assert attacked == tmp_path / "out-attacked.png"
    with Image.open(attacked) as saved:
        assert saved.format == "PNG"
    assert found["fooled"] and found["fooled_torch_f32"] and found["label_before"] == "red bars"
    assert found["label_after"] == "blue checks" == Classifier.load(bundle).predict(attacked, always_answer=True).labels[0]
    assert found["probability_after"] == pytest.approx(Classifier.load(bundle).predict(attacked)[0].probability, abs=1e-6)
    assert 0 < levels(red, attacked) <= 16 and found["distance"] == pytest.approx(levels(red, attacked) / 255)
    assert found["epsilon"] == pytest.approx(16 / 255) and found["epsilon_255"] == 16
    assert len(found["engines"]) >= 2 and all(isinstance(one, bool) for one in found["engines"].values())
    assert set(found["survives_jpeg"]) == {"95", "90", "75", "50"}
    with Image.open(found["figure"]) as drawn:
        assert drawn.size[0] > 1000
    assert not [file for file in tmp_path.iterdir() if file.name not in ("out.png", "out-attacked.png", "cache")]
    again = cli("attack", bundle, red, "--target", "blue checks", "--epsilon", "16/255", "-o", tmp_path / "b.png", "--quiet")
    assert "fooled (wanted blue checks" in again.out
    assert attacked.read_bytes() == (tmp_path / "b-attacked.png").read_bytes()  # same seed, same pixels


def test_the_smallest_is_enough_and_one_less_is_not(bundle: Path, red: Path, tmp_path: Path) -> None:
    subject = open_subject(bundle)
    shown: list[tuple[int, int]] = []
    out = tmp_path / "a.png"
    told = lambda *count: shown.append(count)  # noqa: E731
    found = attack_photo(subject, red, out, smallest=True, every_engine=False, progress=told)
    size = round(found.epsilon * 255)
    assert [done for done, _ in shown] == list(range(1, len(shown) + 1)) and not any(whole for _, whole in shown)
    assert len(shown) >= found.gradients > 0
    assert found.fooled and levels(red, tmp_path / "a.png") <= size
    assert found.tried[0] == pytest.approx(1 / 255)
    if size > 1:
        weaker = attack_photo(subject, red, tmp_path / "b.png", epsilon=(size - 1) / 255, every_engine=False)
        assert not weaker.fooled


@pytest.mark.parametrize("through", ["file", "input"])
def test_the_smallest_length_is_found_by_halving(bundle: Path, red: Path, tmp_path: Path, through: Through) -> None:
    longest = 64 / 255 * math.sqrt(3 * 160 * 160)
    found = attack_photo(
        open_subject(bundle), red, tmp_path / "a.png", through=through, attack=PGD(norm="l2"), smallest=True, every_engine=False
    )
    assert found.fooled and 0 < found.epsilon <= longest
    assert found.distance_l2 <= found.epsilon + 1e-3
    assert any(found.epsilon / 2 - 1e-9 <= one < found.epsilon for one in found.tried)
    assert found.change.shape == found.pixels[0].shape and np.linalg.norm(found.change) == pytest.approx(found.distance_l2)


def test_through_the_input_no_file_is_claimed(bundle: Path, red: Path, tmp_path: Path) -> None:
    found = attack_photo(open_subject(bundle), red, tmp_path / "a.png", through="input", epsilon=16 / 255)
    assert found.attacked_path is None and found.checked is None and not (tmp_path / "a.png").exists()
    assert found.pixels[0].shape == (160, 160, 3)
    assert found.fooled == (found.after.label != "red bars")
    assert found.to_config()["engines"] == {}


def test_an_untouched_file_fools_nobody(bundle: Path, red: Path) -> None:
    checked = check_file(open_subject(bundle), red, Wanted("red bars"))
    assert not any(checked.engines.values()) and not any(checked.jpeg.values())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "red bars"], "shows red bars already"),
        (["--target", "red barz"], "Did you mean red bars"),
        (["--label", "blue bars"], "is misread already: --label says blue bars"),
        (["--epsilon", "8"], "Did you mean 8/255?"),
        (["--epsilon", "0"], "expected a strength above 0"),
        (["--epsilon", "ten"], "expected a strength above 0"),
        (["--epsilon", "0.5/255"], "holds steps of 1/255"),
        (["--epsilon", "1/255,2/255"], "attacked with one strength"),
        (["--attack", "ddn"], "measures changes in l2"),
        (["--report"], "Give a bundle and a folder"),
    ],
)
def test_a_mistake_is_one_message(words: list[str], says: str, bundle: Path, red: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("attack", bundle, red, "-o", tmp_path / "out.png", *words)
    assert done.code == 1 and done.out == ""
    assert says in done.err and "Traceback" not in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_a_photo_that_is_misread_already_does_not_count(bundle: Path, red: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "blue bars" / "1.png"
    wrong.parent.mkdir()
    wrong.write_bytes(red.read_bytes())
    with pytest.raises(InputError, match="is misread already: its folder's name says blue bars"):
        attack_photo(open_subject(bundle), wrong)


def test_what_is_missing_or_broken_is_told(bundle: Path, painted: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"")
    assert "EMPTY" in cli("attack", bundle, tmp_path / "no.png").err
    assert "no such file or folder" in cli("attack", bundle, tmp_path / "gone.png").err
    assert "expected a bundle and then one photo" in cli("attack", painted / "red bars" / "03.png").err
    assert "no such bundle" in cli("attack", tmp_path / "x.topwork", painted / "red bars" / "03.png").err


def test_epsilons_are_read_and_told() -> None:
    assert read_epsilon("8/255") == pytest.approx(8 / 255) and read_epsilon(" 0.03 ") == 0.03 and read_epsilon("3", "l2") == 3
    assert read_epsilons("4/255, 1/255,4/255") == pytest.approx((1 / 255, 4 / 255))
    assert [told(one) for one in (8 / 255, 0.5 / 255, 0.25 / 255, 0.5)] == ["8/255", "0.5/255", "0.25/255", "128/255"]
    assert whole_levels(0.5 / 255) == 0 and whole_levels(7.9 / 255) == 7 / 255 and whole_levels(8 / 255) == 8 / 255


def test_classes_of_a_backbone_have_many_names() -> None:
    subject = open_subject(None)
    assert {subject.known(name) for name in ("zebra", "Zebra", "340-zebra", "n02391049")} == {"zebra"}
    assert subject.known("tiger_cat") == "tiger cat" and subject.known("no such thing") is None
    with pytest.raises(UnknownName, match="zebra"):
        subject.class_of("zebras")


@pytest.fixture(scope="module")
def few(photos: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 40 cats and 40 dogs."""
    pictures = {name: sorted((photos / "cats-vs-dogs" / "train" / name).iterdir())[:40] for name in ("cat", "dog")}
    bundle = tmp_path_factory.mktemp("few") / "few.topwork"
    with cache_in(shared_cache):
        Classifier.fit([(file, name) for name, files in pictures.items() for file in files]).save(bundle)
    return bundle


@pytest.mark.photos
def test_a_real_dog_becomes_a_cat(photos: Path, few: Path, tmp_path: Path) -> None:
    dog = sorted((photos / "cats-vs-dogs" / "test" / "dog").iterdir())[0]
    found = attack_photo(open_subject(few), dog, tmp_path / "cat.png", target="cat", epsilon=8 / 255)
    assert found.fooled and found.checked is not None and all(found.checked.engines.values())
    assert levels(dog, tmp_path / "cat.png") <= 8
    with Image.open(tmp_path / "cat.png") as attacked:
        attacked.save(tmp_path / "cat.jpg", quality=95)
    said = Classifier.load(few).predict([tmp_path / "cat.jpg"])[0]
    assert found.checked.jpeg[95] == (likeliest_class(said) == "cat")


@pytest.mark.photos
@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        ("deepfool", "l2"),
        ("deepfool", "linf"),
        ("ddn", "l2"),
        ("fmn", "l2"),
        ("fmn", "linf"),
        ("iterative", "linf"),
        ("apgd", "l2"),
    ],
)
def test_a_real_dog_is_misread_from_its_file_by_each_kind(
    kind: AttackName, norm: Norm, photos: Path, few: Path, tmp_path: Path
) -> None:
    """An attack for the smallest change ends where the file may say either: it is taken on until the file is misread."""
    dog = photos / "cats-vs-dogs" / "test" / "dog" / "dog.4009.jpg"
    attack = attack_of(kind, norm, stop=False, random_start=False)
    allowed = USUAL[norm]
    out = tmp_path / "cat.png"
    found = attack_photo(open_subject(few), dog, out, attack=attack, epsilon=allowed, every_engine=False)
    assert found.fooled and likeliest_class(Classifier.load(few).predict([out])[0]) == "cat"
    change = (np.array(decode(read_bytes(out)).image).astype(float) - np.array(decode(read_bytes(dog)).image)) / 255
    size = float(np.abs(change).max() if norm == "linf" else np.linalg.norm(change))
    assert 0 < size <= allowed * (1 + 1e-6)
    if kind in ("deepfool", "ddn", "fmn"):
        assert size < 0.9 * allowed  # no longer than it takes
