"""Pictures whose pixels are a model's features: from a drawing or an image to a row, and back to something to look at.

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

# A drawing has about as many dots a side, so that strokes are smooth; of large pictures as many as pixels.
FINE_DOTS = 64
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# A small file can unpack to gigabytes.
MOST_IMAGE_DOTS = 25_000_000
# Larger ones are made smaller first; what is to become a few pixels needs no more.
WORKED_SIDE = 256
# The paper's shade changes slowly.
PAPER_SIDE = 48
# Contrast below this is the grain of the paper.
LEAST_CONTRAST = 0.1
# What is fainter than this share of the darkest ink is shade and grain.
FAINT = 0.3
FULL = 0.7
# A pixel is where training pictures have ink if a quarter of them has this much there.
FRAME_SHARE = 0.75
FRAME_INK = 0.25
DRAWN_INK = 0.2
# Dots that a stroke may gain or lose on each side.
MOST_WEIGHING = 3


class PictureError(ValueError):
    """The file is no image that can be used; the text is a sentence with a next step."""


def fine(picture: PictureView) -> int:
    """Dots of a drawing for each side of a pixel."""
    return max(1, FINE_DOTS // max(picture.width, picture.height))


def to_values(ink: Ink, card: CardView, picture: PictureView) -> list[float]:
    """The row that the ink is: one number a pixel from the picture's minimum to its maximum, whole where they are."""
    # The grain of a link, so that a link gives the very same row.
    shares = np.round(np.clip(ink, 0, 1).ravel() * 255) / 255
    values = picture.minimum + shares * (picture.maximum - picture.minimum)
    return [
        round(value) if feature.integer else value
        for feature, value in zip(card.features, values.tolist(), strict=True)
    ]


def to_ink(values: list[float], picture: PictureView) -> Ink:
    """The ink of a row; values beyond the picture's are empty or full."""
    width = picture.maximum - picture.minimum
    shares = (np.asarray(values, dtype=np.float64) - picture.minimum) / width
    return np.clip(shares, 0, 1).reshape(picture.height, picture.width)


def pack(ink: Ink) -> str:
    """Ink as text for an address or a browser, one byte a dot."""
    return base64.urlsafe_b64encode(np.round(np.clip(ink, 0, 1) * 255).astype(np.uint8).tobytes()).decode().rstrip("=")


def unpack(text: object, height: int, width: int) -> Ink | None:
    """The ink that `pack` made text of; None when it is of another size or none at all."""
    if not isinstance(text, str) or len(text) > 2 * height * width + 4:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != height * width:
        return None
    return np.frombuffer(raw, np.uint8).astype(np.float64).reshape(height, width) / 255


def read_image(data: bytes, picture: PictureView, *, swap: bool = False) -> Ink:
    """The ink of an image file, dark on light or light on dark, whichever it is; `swap`: the other way round.

    An image of the picture's very size is taken as it is, a larger one is cleaned of the paper's shade.

    Raises:
        PictureError: it is no image, too large, or all of one colour.
    """
    grey = _grey(data)
    exact = grey.size == (picture.width, picture.height)
    if not exact:
        grey.thumbnail((WORKED_SIDE, WORKED_SIDE), Image.Resampling.BOX)
    light = np.asarray(grey, dtype=np.float64) / 255
    low, high = (float(light.min()), float(light.max())) if exact else _ends(light)
    if high - low < LEAST_CONTRAST:
        raise PictureError("The image is all of one colour: send one with ink on paper of another brightness.")
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    dark_paper = (float(np.median(border)) < (low + high) / 2) != swap
    if exact:
        return light if dark_paper else 1 - light
    return _clean(light if dark_paper else 1 - light)


def _grey(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns of images that are half as large as it refuses; the limit here is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            # A JPEG can be unpacked at a part of its size, however large it is.
            image.draft("L", (WORKED_SIDE * 2, WORKED_SIDE * 2))
            if image.width * image.height > MOST_IMAGE_DOTS:
                raise PictureError("The image has more than 25 million dots: make it smaller and send it again.")
            return _on_paper(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise PictureError("This is no image that can be read: send a PNG, JPEG, WebP, BMP or GIF file.") from None


def _on_paper(image: Image.Image) -> Image.Image:
    """Greyscale; what shows through a transparent image is white paper, or black for light ink."""
    if not image.has_transparency_data:
        return image.convert("L")
    image = image.convert("RGBA")
    # Its weighted mean below takes memory.
    image = image.reduce(max(1, max(image.size) // (2 * WORKED_SIDE)))
    grey, seen = image.convert("L"), image.getchannel("A")
    weight = np.asarray(seen, dtype=np.float64)
    ink = float((np.asarray(grey) * weight).sum() / weight.sum()) if weight.any() else 0.0
    paper = Image.new("L", image.size, 255 if ink < 128 else 0)
    paper.paste(grey, mask=seen)
    return paper


def _ends(light: Ink) -> tuple[float, float]:
    low, high = np.quantile(light, [0.005, 0.995])
    # A thin stroke is less than that share of a large sheet.
    return min(float(low), float(light.min()) + 0.05), max(float(high), float(light.max()) - 0.05)


def _clean(ink: Ink) -> Ink:
    """Light ink on dark paper without the paper's own shades, its strongest ink full."""
    image = Image.fromarray(np.round(ink * 255).astype(np.uint8))
    paper = image.copy()
    paper.thumbnail((PAPER_SIDE, PAPER_SIDE), Image.Resampling.BOX)
    # What is narrower than the window is no paper.
    window = PAPER_SIDE // 3 | 1
    paper = paper.filter(ImageFilter.MinFilter(window)).filter(ImageFilter.MaxFilter(window))
    paper = paper.filter(ImageFilter.BoxBlur(PAPER_SIDE // 6))
    shade = np.asarray(paper.resize(image.size, Image.Resampling.BILINEAR), dtype=np.float64) / 255
    above = np.clip(ink - shade, 0, 1)
    strongest = float(np.median(above[above >= above.max() / 2])) or 1.0
    return np.clip((above / strongest - FAINT) / (FULL - FAINT), 0, 1)


def shrink(ink: Ink, picture: PictureView) -> Ink:
    """Ink of any size as a picture, in the middle and in proportion."""
    height, width = ink.shape
    scale = min(picture.width / width, picture.height / height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (picture.width - columns) // 2, (picture.height - rows) // 2
    shrunk = np.zeros((picture.height, picture.width))
    shrunk[top : top + rows, left : left + columns] = _resize(ink, columns, rows)
    return shrunk


def fit(ink: Ink, card: CardView, picture: PictureView) -> Ink:
    """The ink as training pictures have theirs: as large, at the same place, and as heavy. Empty ink stays empty.

    People draw small and thin, or in a corner: of 600 drawn figures, models of the 8 x 8 digits tell 30% as they are
    and 88% fitted.
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
    # A figure that fills the frame has no room to move.
    y = min(max(round(middle[1] - down), frame_top), max(frame_top, frame_bottom - rows))
    large = np.zeros((picture.height * grain, picture.width * grain))
    large[y : y + rows, x : x + columns] = moved
    if samples.any():
        large = _weigh(large, float(np.median(samples.sum(axis=(1, 2)))) * grain**2)
    return _resize(large, picture.width, picture.height)


def _resize(ink: Ink, columns: int, rows: int, how: Image.Resampling = Image.Resampling.BOX) -> Ink:
    return np.asarray(Image.fromarray(ink.astype(np.float32)).resize((columns, rows), how), dtype=np.float64)


def _box(inked: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of what is true; None when nothing is."""
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _frame(card: CardView, picture: PictureView) -> tuple[int, int, int, int]:
    """Where training pictures have their ink, in pixels; all of the picture where the card does not tell."""
    often = [feature.quantiles.get(FRAME_SHARE, picture.minimum) for feature in card.features]
    return _box(to_ink(often, picture) >= FRAME_INK) or (0, picture.height, 0, picture.width)


def _centre(ink: Ink) -> tuple[float, float]:
    """The centre of the ink from the left and from the top."""
    total = ink.sum()
    across, down = np.arange(ink.shape[1]) + 0.5, np.arange(ink.shape[0]) + 0.5
    return float(ink.sum(axis=0) @ across / total), float(ink.sum(axis=1) @ down / total)


def _weigh(ink: Ink, total: float) -> Ink:
    """The ink with its strokes as much thicker or thinner as comes closest to the total."""
    image = Image.fromarray(np.round(ink * 255).astype(np.uint8))
    thicker = [image.filter(ImageFilter.MaxFilter(2 * dots + 1)) for dots in range(1, MOST_WEIGHING + 1)]
    thinner = [image.filter(ImageFilter.MinFilter(2 * dots + 1)) for dots in range(1, MOST_WEIGHING + 1)]
    tried = [np.asarray(one, dtype=np.float64) / 255 for one in (image, *thicker, *thinner)]
    return min(tried, key=lambda one: abs(float(one.sum()) - total))
