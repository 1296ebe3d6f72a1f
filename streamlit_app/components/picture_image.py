"""A model's picture, and what its pixels say, as images for a page; and the same in words for who cannot see them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.components.charts import AGAINST_COLOUR, PREDICTED_COLOUR
from streamlit_app.components.picture import Ink
from streamlit_app.components.text import plural

Colours = NDArray[np.uint8]

# Dots of the longer side, about; each pixel is a whole number of them.
SHOWN_SIDE = 240
PAPER = {"light": "#f1f5f9", "dark": "#1a2530"}
INK = {"light": "#1f2933", "dark": "#e6e9ef"}
# Behind the reasons the picture is but a shade.
SHADE = 0.3
MOST_WORDS = 3


def ink_image(ink: Ink, theme: str) -> Colours:
    """The picture, as the model gets it."""
    return _enlarge(_blend(_colour(PAPER[theme]), _colour(INK[theme]), ink))


def reason_image(ink: Ink, parts: NDArray[np.float64], theme: str) -> Colours:
    """The picture as a shade, and on it in blue what speaks for the class, in orange what speaks against it."""
    base = _blend(_colour(PAPER[theme]), _colour(INK[theme]), ink * SHADE)
    strength = np.abs(parts) / (np.abs(parts).max() or 1.0)
    hue = np.where(parts[..., None] >= 0, _colour(PREDICTED_COLOUR), _colour(AGAINST_COLOUR))
    return _enlarge(base + (hue - base) * strength[..., None])


def share_image(shares: NDArray[np.float64], theme: str) -> Colours:
    """The stronger a pixel's colour, the larger its share."""
    return _enlarge(_blend(_colour(PAPER[theme]), _colour(PREDICTED_COLOUR), shares / (shares.max() or 1.0)))


def pixels(card: CardView, picture: PictureView, told: Mapping[str, float]) -> NDArray[np.float64]:
    """Numbers by the features' names as a matrix; 0 where there is none."""
    values = [float(told.get(feature.name, 0.0)) for feature in card.features]
    return np.array(values).reshape(picture.height, picture.width)


def ink_in_words(ink: Ink) -> str:
    """ "Picture of 8 by 8 pixels, 23 of them with ink"."""
    height, width = ink.shape
    return f"Picture of {width} by {height} pixels, {int((ink > 0).sum())} of them with ink"


def reasons_in_words(parts: NDArray[np.float64], class_name: str) -> str:
    """The strongest pixels for and against the class."""
    told = []
    for way, sign in (("for", 1), ("against", -1)):
        ranked = np.argsort(-sign * parts, axis=None)[:MOST_WORDS]
        places = [np.unravel_index(place, parts.shape) for place in ranked if sign * parts.flat[place] > 0]
        if places:
            told.append(f"{way} it {', '.join(_place(int(row), int(column)) for row, column in places)}")
    return f"What speaks for {class_name} most and what against it: {'; '.join(told) or 'nothing'}."


def shares_in_words(shares: NDArray[np.float64]) -> str:
    """The pixels that count most."""
    ranked = [np.unravel_index(place, shares.shape) for place in np.argsort(-shares, axis=None)[:MOST_WORDS]]
    used = int((shares > 0).sum())
    places = ", ".join(_place(int(row), int(column)) for row, column in ranked)
    return f"Importance of the pixels: most of all {places}; {plural(used, 'pixel')} of {shares.size} in use."


def _place(row: int, column: int) -> str:
    return f"row {row + 1} column {column + 1}"


def _colour(text: str) -> NDArray[np.float64]:
    return np.array([int(text[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)


def _blend(empty: NDArray[np.float64], full: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return empty + (full - empty) * shares[..., None]


def _enlarge(colours: NDArray[np.float64]) -> Colours:
    grain = max(1, SHOWN_SIDE // max(colours.shape[:2]))
    return np.round(colours).astype(np.uint8).repeat(grain, axis=0).repeat(grain, axis=1)
