"""The data sets that `topwork data` knows: where they are published, their bytes, their licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from topwork.errors import UnknownName

MIRROR = "TOPWORK_DATA_MIRROR"
"""In the environment: an address below which the archives lie under their names; asked in the place of the official ones."""


@dataclass(frozen=True)
class Published:
    """One version of an archive."""

    file: str
    """Its name."""
    addresses: tuple[str, ...]
    size: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True)
class Archive:
    """An archive that a data set needs: any one of its versions."""

    key: str
    """What it holds: pictures or annotations."""
    holds: str
    """Regular expression: a path that tells this archive from another one."""
    example: str
    """Such a path, for messages."""
    versions: tuple[Published, ...]
    """The first is tried first."""


@dataclass(frozen=True)
class DataSet:
    """A data set as it is published."""

    name: str
    title: str
    about: str
    classes: int
    pictures: int
    licence: str
    citation: str
    homepage: str
    archives: tuple[Archive, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(archive.versions[0].size for archive in self.archives)


_MICROSOFT = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F"
_THOR, _OXFORD = "https://thor.robots.ox.ac.uk/~vgg/data/pets", "https://www.robots.ox.ac.uk/~vgg/data/pets/data"

CATS_VS_DOGS = DataSet(
    name="cats-vs-dogs",
    title="Cats vs. Dogs (Asirra)",
    about="photos of cats and dogs as people took them, some files broken as published",
    classes=2,
    pictures=25_000,
    licence="Microsoft Research License Agreement (in the archive): for research, not for commerce",
    citation="Elson, Douceur, Howell, Saul: Asirra. A CAPTCHA that exploits interest-aligned manual image categorization. "
    "CCS 2007",
    homepage="https://www.microsoft.com/en-us/download/details.aspx?id=54765",
    archives=(
        Archive(
            key="pictures",
            holds=r"(.*/)?PetImages/(Cat|Dog)/.+",
            example="PetImages/Cat/0.jpg",
            versions=(
                Published(
                    "kagglecatsanddogs_5340.zip",
                    (f"{_MICROSOFT}/kagglecatsanddogs_5340.zip",),
                    824_887_076,
                    "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
                ),
                Published(
                    "kagglecatsanddogs_3367a.zip",
                    (f"{_MICROSOFT}/kagglecatsanddogs_3367a.zip",),
                    824_894_548,
                    "f9553e426bd725354ed3a27e3c6920caadb55c835d1ebd880d2e56d3f1fbb22b",
                ),
            ),
        ),
    ),
)

PETS = DataSet(
    name="pets",
    title="Oxford-IIIT Pet",
    about="37 breeds of cats and dogs, about 100 photos each for training and for the test",
    classes=37,
    pictures=7_349,
    licence="CC BY-SA 4.0",
    citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs. CVPR 2012",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    archives=(
        Archive(
            key="pictures",
            holds=r"(.*/)?images/[^/]+_\d+\.jpg",
            example="images/Abyssinian_1.jpg",
            versions=(
                Published(
                    "images.tar.gz",
                    (f"{_THOR}/images.tar.gz", f"{_OXFORD}/images.tar.gz"),
                    791_918_971,
                    "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                ),
            ),
        ),
        Archive(
            key="annotations",
            holds=r"(.*/)?annotations/(list|test|trainval)\.txt",
            example="annotations/test.txt",
            versions=(
                Published(
                    "annotations.tar.gz",
                    (f"{_THOR}/annotations.tar.gz", f"{_OXFORD}/annotations.tar.gz"),
                    19_173_078,
                    "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                ),
            ),
        ),
    ),
)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType({one.name: one for one in (CATS_VS_DOGS, PETS)})


def find(name: str, catalogue: Mapping[str, DataSet] | None = None) -> DataSet:
    """The data set of this name, in another catalogue where one is given. Raises UnknownName with the nearest ones."""
    catalogue = CATALOGUE if catalogue is None else catalogue
    if name not in catalogue:
        raise UnknownName("data set, see topwork data list", name, catalogue)
    return catalogue[name]
