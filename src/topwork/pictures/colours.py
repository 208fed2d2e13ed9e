"""Any colour mode of Pillow as 8-bit RGB, by stated rules."""

from __future__ import annotations

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(image)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        white.alpha_composite(clear)
        return white.convert("RGB")
    return image.convert("RGB")


_BITS, _PHOTOMETRIC = 258, 262  # TIFF tags


def _grey_to_rgb(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits, scaled and not clipped."""
    stored = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    full = 1.0 if image.mode == "F" else 4095.0 if tags.get(_BITS) == (12,) else 65535.0
    values = np.nan_to_num(stored.astype(np.float32), copy=False, nan=0.0, posinf=full, neginf=0.0)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), full)
    scale = 255 / (high - low)
    values *= scale
    values -= low * scale
    grey = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[stored == clear] = 255
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8-bit greys itself
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")
