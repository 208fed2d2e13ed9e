"""What a classifier is worth, for a person to read: report.html and the model card."""

from __future__ import annotations

from topwork.report.card import model_card
from topwork.report.page import render

__all__ = ["model_card", "render"]
