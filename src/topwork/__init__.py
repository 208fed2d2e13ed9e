"""Turn a folder of photos into an image classifier you can trust, in seconds, on a laptop, offline."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
