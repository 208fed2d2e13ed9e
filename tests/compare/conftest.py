"""What the tests of the challenge share."""

from __future__ import annotations

import pytest
from clouds import Made, made


@pytest.fixture
def clouds() -> Made:
    """Five classes of 40, about two thirds of which can be told."""
    return made(40, 5, 0.55)
