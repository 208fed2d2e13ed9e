"""Where results of the challenge are told: a page of their own, or a section of a bundle's report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from topwork import __version__
from topwork.bundle import read_bundle
from topwork.classifier import Classifier
from topwork.report.page import render_challenge
from topwork.runtime import publish_file


def write_page(path: Path, name: str, what: str, facts: dict[str, Any]) -> None:
    """Write one result (distance, compare, curve or map) as an HTML page that loads nothing. Raises StorageError."""
    page = render_challenge({"name": name, "topwork": __version__, what: facts})
    publish_file(path, page.encode("utf-8", "backslashreplace"))


def tell_in_bundle(bundle: Path, what: str, facts: dict[str, Any]) -> None:
    """Add one result to a bundle's metrics.json and report.html; its answers stay. Raises BundleError, StorageError."""
    slim = bool(read_bundle(bundle).config.get("slim"))
    classifier = Classifier.load(bundle)
    replace(classifier, facts={**classifier.facts, what: facts}).save(bundle, slim=slim)
