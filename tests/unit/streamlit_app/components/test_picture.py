"""From drawings and images to a model's pixels and back."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from streamlit_app.clients.card import CardView, FeatureView, PictureView
from streamlit_app.components import picture as pictures

SIZE = PictureView(8, 8, 0.0, 16.0)


def card_with(golden: np.ndarray | None = None, integer: bool = True) -> CardView:
    """Return a card whose training pictures have ink in the middle six columns, from top to bottom."""
    often = np.zeros((8, 8))
    often[:, 1:7] = 8.0
    features = tuple(
        FeatureView(f"p{index}", "", integer, 0.0, 16.0, 0.0, {0.75: value})
        for index, value in enumerate(often.ravel())
    )
    rows = () if golden is None else (tuple(golden.ravel().tolist()),)
    return CardView("pictures", "1", features, ("a", "b"), golden_rows=rows, picture=SIZE)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def figure(paper: object, ink: object, mode: str = "L", size: int = 300) -> Image.Image:
    """Return a small seven in a corner of a sheet."""
    image = Image.new(mode, (size, size), paper)
    ImageDraw.Draw(image).text((20, 10), "7", font=ImageFont.load_default(120), fill=ink)
    return image


def test_a_row_is_unchanged_by_picture_and_link():
    card = card_with()
    values = [float(index % 17) for index in range(64)]
    ink = pictures.unpack(pictures.pack(pictures.to_ink(values, SIZE)), 8, 8)
    assert ink is not None
    assert pictures.to_values(ink, card, SIZE) == values
    fractions = card_with(integer=False)
    once = pictures.to_values(np.random.default_rng(0).random((8, 8)), fractions, SIZE)
    again = pictures.unpack(pictures.pack(pictures.to_ink(once, SIZE)), 8, 8)
    assert again is not None and pictures.to_values(again, fractions, SIZE) == once


@pytest.mark.parametrize("text", [None, 3, "", "A", "?" * 86, "A" * 85, "A" * 4000, "é" * 86])
def test_a_broken_link_has_no_picture(text):
    assert pictures.unpack(text, 8, 8) is None


def test_an_image_of_the_exact_size_is_unchanged():
    ink = np.zeros((8, 8), np.uint8)
    ink[2:6, 3:5] = [[255, 128]] * 4
    light = pictures.read_image(encoded(Image.fromarray(ink)), SIZE)
    dark = pictures.read_image(encoded(Image.fromarray(255 - ink)), SIZE)
    assert light == pytest.approx(ink / 255)
    assert dark == pytest.approx(ink / 255)


@pytest.mark.parametrize(
    "data",
    [
        encoded(figure(255, 0)),
        encoded(figure(0, 255)),
        encoded(figure((250, 240, 200), (30, 30, 120), "RGB"), "JPEG", quality=60),
        encoded(figure((0, 0, 0, 0), (0, 0, 0, 255), "RGBA")),
        encoded(figure((0, 0, 0, 0), (255, 255, 255, 255), "RGBA")),
        encoded(figure((90, 90, 90), (0, 0, 0), "RGB"), "WEBP", lossless=True),
        encoded(figure(255, 0).quantize(8), "GIF"),
    ],
    ids=["dark on light", "light on dark", "jpeg", "transparent", "transparent and light", "dim webp", "palette"],
)
def test_ink_is_found_whatever_its_colour_and_paper(data):
    card, reference = card_with(), pictures.read_image(encoded(figure(255, 0)), SIZE)
    fitted = pictures.fit(pictures.read_image(data, SIZE), card, SIZE)
    assert fitted == pytest.approx(pictures.fit(reference, card, SIZE), abs=0.2)
    assert fitted[0].max() > 0.5 and fitted[7].max() > 0.3


def test_inverted_ink_is_the_paper():
    data = encoded(figure(255, 0))
    ink, swapped = pictures.read_image(data, SIZE), pictures.read_image(data, SIZE, invert=True)
    assert ink[ink > 0.5].size and swapped[ink > 0.9].max() < 0.1


def test_the_shade_of_a_photographed_sheet_is_removed():
    slope = np.linspace(0.95, 0.5, 300)[None, :] * np.ones((300, 1))
    written = np.asarray(figure(255, 0), dtype=float) / 255
    photo = Image.fromarray((slope * (0.25 + 0.75 * written) * 255).astype(np.uint8))
    ink = pictures.read_image(encoded(photo, "JPEG", quality=90), SIZE)
    assert ink[:, 150:].max() < 0.2 and (ink > 0.8).sum() > 100


def test_a_rotated_photo_is_rotated_back():
    upright, exif = figure(255, 0), Image.Exif()
    exif[0x0112] = 6
    data = encoded(upright.rotate(90, expand=True), "JPEG", exif=exif.tobytes(), quality=95)
    card = card_with()
    expected = pictures.fit(pictures.read_image(encoded(upright), SIZE), card, SIZE)
    assert pictures.fit(pictures.read_image(data, SIZE), card, SIZE) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a readable image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable image"),
        (encoded(figure(255, 0))[:200], "not a readable image"),
        (encoded(Image.new("L", (50, 50), 200)), "only one colour"),
        (encoded(Image.new("1", (8000, 8000))), "more than 25 million pixels"),
        (encoded(Image.new("L", (5, 5), 9), "TIFF"), "not a readable image"),
    ],
    ids=["empty", "svg", "cut off", "one colour", "bomb", "another format"],
)
def test_an_unusable_picture_is_a_sentence(data, sentence):
    with pytest.raises(pictures.PictureError, match=sentence):
        pictures.read_image(data, SIZE)


def test_a_small_figure_in_a_corner_fills_the_frame_of_the_training_pictures():
    drawn = np.zeros((64, 64))
    drawn[2:26, 2:14] = 1.0
    fitted = pictures.fit(drawn, card_with(), SIZE)
    rows, columns = np.flatnonzero(fitted.max(axis=1) > 0.5), np.flatnonzero(fitted.max(axis=0) > 0.5)
    assert (rows[0], rows[-1]) == (0, 7)
    assert (columns[0], columns[-1]) == (2, 5)


def test_a_fine_stroke_becomes_as_heavy_as_the_training_pictures():
    drawn = np.zeros((64, 64))
    drawn[4:60, 31:33] = 1.0
    golden = np.zeros((8, 8))
    golden[:, 3:5] = 16.0
    card = card_with(golden)
    assert pictures.fit(drawn, card_with(), SIZE).sum() < 3
    assert pictures.fit(drawn, card, SIZE).sum() == pytest.approx(7.0, abs=1.5)


def test_an_empty_drawing_stays_empty():
    assert not pictures.fit(np.zeros((64, 64)), card_with(), SIZE).any()
    assert not pictures.shrink(np.zeros((64, 64)), SIZE).any()


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 200), (200, 3)])
def test_ink_of_any_shape_becomes_a_picture(shape):
    for ink in (pictures.fit(np.ones(shape), card_with(), SIZE), pictures.shrink(np.ones(shape), SIZE)):
        assert ink.shape == (8, 8) and 0 < ink.max() <= 1.0
