"""A picture, and the contributions or the importance of its pixels, as images and in words for screen readers."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.components.charts import BLUE, ORANGE
from streamlit_app.components.picture import Ink
from streamlit_app.components.text import plural

Colours = NDArray[np.uint8]

# Approximate dots of the longer side; a pixel is a whole number of dots.
SHOWN_SIDE = 240
PAPER = {"light": "#f1f5f9", "dark": "#1a2530"}
INK = {"light": "#1f2933", "dark": "#e6e9ef"}
# Behind the contributions the picture is only a shade.
SHADE = 0.3
MAX_PLACES = 3


def ink_image(ink: Ink, theme: str) -> Colours:
    """Return the picture as the model gets it."""
    return _enlarge(_blend(_colour(PAPER[theme]), _colour(INK[theme]), ink))


def reason_image(ink: Ink, parts: NDArray[np.float64], theme: str) -> Colours:
    """Return the picture as a shade, with the contributions towards the class in blue and away from it in orange."""
    base = _blend(_colour(PAPER[theme]), _colour(INK[theme]), ink * SHADE)
    strength = np.abs(parts) / (np.abs(parts).max() or 1.0)
    hue = np.where(parts[..., None] >= 0, _colour(BLUE), _colour(ORANGE))
    return _enlarge(base + (hue - base) * strength[..., None])


def share_image(shares: NDArray[np.float64], theme: str) -> Colours:
    """Return the shares as strength of colour."""
    return _enlarge(_blend(_colour(PAPER[theme]), _colour(BLUE), shares / (shares.max() or 1.0)))


def pixels(card: CardView, picture: PictureView, numbers: Mapping[str, float]) -> NDArray[np.float64]:
    """Return numbers by the features' names as a matrix, with 0 for a missing one."""
    values = [float(numbers.get(feature.name, 0.0)) for feature in card.features]
    return np.array(values).reshape(picture.height, picture.width)


def ink_in_words(ink: Ink) -> str:
    """Return "Picture of 8 by 8 pixels, 23 of them with ink"."""
    height, width = ink.shape
    return f"Picture of {width} by {height} pixels, {int((ink > 0).sum())} of them with ink"


def reasons_in_words(parts: NDArray[np.float64], class_name: str) -> str:
    """Return the pixels that contribute most towards the class and away from it."""
    found = []
    for way, sign in (("towards", 1), ("away from", -1)):
        ranked = np.argsort(-sign * parts, axis=None)[:MAX_PLACES]
        places = [np.unravel_index(place, parts.shape) for place in ranked if sign * parts.flat[place] > 0]
        if places:
            found.append(f"{way} it {', '.join(_place(int(row), int(column)) for row, column in places)}")
    return f"Strongest pixel contributions to {class_name}: {'; '.join(found) or 'none'}."


def shares_in_words(shares: NDArray[np.float64]) -> str:
    """Return the most important pixels."""
    ranked = [np.unravel_index(place, shares.shape) for place in np.argsort(-shares, axis=None)[:MAX_PLACES]]
    used = int((shares > 0).sum())
    places = ", ".join(_place(int(row), int(column)) for row, column in ranked)
    return f"Feature importance: highest at {places}; {plural(used, 'pixel')} of {shares.size} used."


def _place(row: int, column: int) -> str:
    return f"row {row + 1} column {column + 1}"


def _colour(text: str) -> NDArray[np.float64]:
    return np.array([int(text[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)


def _blend(empty: NDArray[np.float64], full: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return empty + (full - empty) * shares[..., None]


def _enlarge(colours: NDArray[np.float64]) -> Colours:
    grain = max(1, SHOWN_SIDE // max(colours.shape[:2]))
    return np.round(colours).astype(np.uint8).repeat(grain, axis=0).repeat(grain, axis=1)
