"""Pictures whose pixels are a model's features: from a drawing or an image to a row, and back.

Ink is a matrix of shares, height x width: 0 is empty paper, 1 is full ink.
"""

import base64
import binascii
import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from streamlit_app.clients.card import CardView, PictureView

Ink = NDArray[np.float64]

# A drawing has about this many dots a side, for smooth strokes; a large picture has one for each pixel.
FINE_DOTS = 64
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# A small file can decompress to gigabytes.
MAX_IMAGE_DOTS = 25_000_000
# Larger images are reduced first, since the result has only a few pixels.
WORKED_SIDE = 256
# Small, since the brightness of the paper changes slowly.
PAPER_SIDE = 48
# Less contrast is the grain of the paper.
MIN_CONTRAST = 0.1
# Ink below FAINT of the strongest is shade and grain, above FULL it is full.
FAINT = 0.3
FULL = 0.7
# A pixel belongs to the frame if a quarter of the training pictures has this much ink there.
FRAME_SHARE = 0.75
FRAME_INK = 0.25
DRAWN_INK = 0.2
# Dots that a stroke may gain or lose on each side.
MAX_STROKE_CHANGE = 3


class PictureError(ValueError):
    """The file is not a usable image; the text is a sentence with a next step."""


def fine(picture: PictureView) -> int:
    """Return the dots of a drawing for each side of a pixel."""
    return max(1, FINE_DOTS // max(picture.width, picture.height))


def to_values(ink: Ink, card: CardView, picture: PictureView) -> list[float]:
    """Return the row of the ink: one number a pixel, from the picture's minimum to its maximum."""
    # As coarse as a link, so that a link gives exactly the same row.
    shares = np.round(np.clip(ink, 0, 1).ravel() * 255) / 255
    values = picture.minimum + shares * (picture.maximum - picture.minimum)
    return [
        round(value) if feature.integer else value
        for feature, value in zip(card.features, values.tolist(), strict=True)
    ]


def to_ink(values: list[float], picture: PictureView) -> Ink:
    """Return the ink of a row; values beyond the picture's range are empty or full."""
    width = picture.maximum - picture.minimum
    shares = (np.asarray(values, dtype=np.float64) - picture.minimum) / width
    return np.clip(shares, 0, 1).reshape(picture.height, picture.width)


def pack(ink: Ink) -> str:
    """Encode ink as text for an address or a browser, one byte a dot."""
    return base64.urlsafe_b64encode(np.round(np.clip(ink, 0, 1) * 255).astype(np.uint8).tobytes()).decode().rstrip("=")


def unpack(text: object, height: int, width: int) -> Ink | None:
    """Decode the text of `pack`; return None for a text that is not ink of this size."""
    if not isinstance(text, str) or len(text) > 2 * height * width + 4:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != height * width:
        return None
    return np.frombuffer(raw, np.uint8).astype(np.float64).reshape(height, width) / 255


def read_image(data: bytes, picture: PictureView, *, invert: bool = False) -> Ink:
    """Return the ink of an image file; the colour of its edge is the paper, or the ink with `invert`.

    An image of exactly the picture's size is used as it is; from a larger one the paper's shade is removed.

    Raises:
        PictureError: it is not an image, too large, or all of one colour.
    """
    grey = _grey(data)
    exact = grey.size == (picture.width, picture.height)
    if not exact:
        grey.thumbnail((WORKED_SIDE, WORKED_SIDE), Image.Resampling.BOX)
    light = np.asarray(grey, dtype=np.float64) / 255
    low, high = (float(light.min()), float(light.max())) if exact else _ends(light)
    if high - low < MIN_CONTRAST:
        raise PictureError("The image has only one colour: upload one with ink on a background of another brightness.")
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    dark_paper = (float(np.median(border)) < (low + high) / 2) != invert
    if exact:
        return light if dark_paper else 1 - light
    return _clean(light if dark_paper else 1 - light)


def _grey(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns at half the size that it rejects; the limit here is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            # Pillow can decode a JPEG at a fraction of its size.
            image.draft("L", (WORKED_SIDE * 2, WORKED_SIDE * 2))
            if image.width * image.height > MAX_IMAGE_DOTS:
                raise PictureError("The image has more than 25 million pixels: reduce it and upload it again.")
            return _on_paper(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise PictureError("The file is not a readable image: upload a PNG, JPEG, WebP, BMP or GIF file.") from None


def _on_paper(image: Image.Image) -> Image.Image:
    """Return the image in greyscale; behind a transparent one the paper is white, or black for light ink."""
    if not image.has_transparency_data:
        return image.convert("L")
    image = image.convert("RGBA")
    # Limits the memory of the weighted mean below.
    image = image.reduce(max(1, max(image.size) // (2 * WORKED_SIDE)))
    grey, seen = image.convert("L"), image.getchannel("A")
    weight = np.asarray(seen, dtype=np.float64)
    ink = float((np.asarray(grey) * weight).sum() / weight.sum()) if weight.any() else 0.0
    paper = Image.new("L", image.size, 255 if ink < 128 else 0)
    paper.paste(grey, mask=seen)
    return paper


def _ends(light: Ink) -> tuple[float, float]:
    low, high = np.quantile(light, [0.005, 0.995])
    # A thin stroke covers less than 0.5% of a large sheet.
    return min(float(low), float(light.min()) + 0.05), max(float(high), float(light.max()) - 0.05)


def _clean(ink: Ink) -> Ink:
    """Remove the paper's shade from light ink on dark paper, and scale the strongest ink to 1."""
    image = Image.fromarray(np.round(ink * 255).astype(np.uint8))
    paper = image.copy()
    paper.thumbnail((PAPER_SIDE, PAPER_SIDE), Image.Resampling.BOX)
    # Anything narrower than the window is ink.
    window = PAPER_SIDE // 3 | 1
    paper = paper.filter(ImageFilter.MinFilter(window)).filter(ImageFilter.MaxFilter(window))
    paper = paper.filter(ImageFilter.BoxBlur(PAPER_SIDE // 6))
    shade = np.asarray(paper.resize(image.size, Image.Resampling.BILINEAR), dtype=np.float64) / 255
    above = np.clip(ink - shade, 0, 1)
    strongest = float(np.median(above[above >= above.max() / 2])) or 1.0
    return np.clip((above / strongest - FAINT) / (FULL - FAINT), 0, 1)


def shrink(ink: Ink, picture: PictureView) -> Ink:
    """Scale ink of any size to the picture, centred and in proportion."""
    height, width = ink.shape
    scale = min(picture.width / width, picture.height / height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (picture.width - columns) // 2, (picture.height - rows) // 2
    shrunk = np.zeros((picture.height, picture.width))
    shrunk[top : top + rows, left : left + columns] = _resize(ink, columns, rows)
    return shrunk


def fit(ink: Ink, card: CardView, picture: PictureView) -> Ink:
    """Give the ink the size, position and stroke width of the training pictures. Empty ink stays empty.

    People draw small and thin, or in a corner: of 600 drawn figures, models of the 8 x 8 digits recognise 30% as they
    are and 88% fitted.
    """
    box = _box(ink >= DRAWN_INK)
    if box is None:
        return np.zeros((picture.height, picture.width))
    grain = fine(picture)
    frame_top, frame_bottom, frame_left, frame_right = (edge * grain for edge in _frame(card, picture))
    top, bottom, left, right = box
    scale = min((frame_bottom - frame_top) / (bottom - top), (frame_right - frame_left) / (right - left))
    rows, columns = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    moved = np.clip(_resize(ink[top:bottom, left:right], columns, rows, Image.Resampling.BICUBIC), 0, 1)
    samples = np.array([to_ink(list(row), picture) for row in card.golden_rows])
    middle = (frame_left + frame_right) / 2, (frame_top + frame_bottom) / 2
    if samples.any():
        across, down = _centre(samples.mean(axis=0))
        middle = across * grain, down * grain
    across, down = _centre(moved)
    x = min(max(round(middle[0] - across), 0), picture.width * grain - columns)
    # A figure as high as the frame cannot move.
    y = min(max(round(middle[1] - down), frame_top), max(frame_top, frame_bottom - rows))
    large = np.zeros((picture.height * grain, picture.width * grain))
    large[y : y + rows, x : x + columns] = moved
    if samples.any():
        large = _adjust_strokes(large, float(np.median(samples.sum(axis=(1, 2)))) * grain**2)
    return _resize(large, picture.width, picture.height)


def _resize(ink: Ink, columns: int, rows: int, how: Image.Resampling = Image.Resampling.BOX) -> Ink:
    return np.asarray(Image.fromarray(ink.astype(np.float32)).resize((columns, rows), how), dtype=np.float64)


def _box(inked: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left and right of the true dots; None without one."""
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _frame(card: CardView, picture: PictureView) -> tuple[int, int, int, int]:
    """Return the frame of the training pictures' ink in pixels; the whole picture if the card has no quantiles."""
    often = [feature.quantiles.get(FRAME_SHARE, picture.minimum) for feature in card.features]
    return _box(to_ink(often, picture) >= FRAME_INK) or (0, picture.height, 0, picture.width)


def _centre(ink: Ink) -> tuple[float, float]:
    """Return the centre of the ink from the left and from the top."""
    total = ink.sum()
    across, down = np.arange(ink.shape[1]) + 0.5, np.arange(ink.shape[0]) + 0.5
    return float(ink.sum(axis=0) @ across / total), float(ink.sum(axis=1) @ down / total)


def _adjust_strokes(ink: Ink, total: float) -> Ink:
    """Make the strokes thicker or thinner, so that the sum of the ink comes closest to `total`."""
    image = Image.fromarray(np.round(ink * 255).astype(np.uint8))
    thicker = [image.filter(ImageFilter.MaxFilter(2 * dots + 1)) for dots in range(1, MAX_STROKE_CHANGE + 1)]
    thinner = [image.filter(ImageFilter.MinFilter(2 * dots + 1)) for dots in range(1, MAX_STROKE_CHANGE + 1)]
    variants = [np.asarray(one, dtype=np.float64) / 255 for one in (image, *thicker, *thinner)]
    return min(variants, key=lambda one: abs(float(one.sum()) - total))
