"""The row of a model whose features are a picture: drawn, from an image, or as numbers."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.components import picture as pictures
from streamlit_app.components import service
from streamlit_app.components.drawing_pad import show_pad
from streamlit_app.components.picture import Ink, PictureError
from streamlit_app.components.text import escape
from streamlit_app.predict import inputs

DRAW, UPLOAD = "Draw", "Upload"
PARAMETER = "_picture"
# Some proxies reject a longer address.
MAX_LINKED_PIXELS = 4096
IMAGE_TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif"]
MAX_IMAGE_MB = 10
MAX_EXAMPLE_BUTTONS = 12


@dataclass
class Sheet:
    """The content of the drawing pad: the ink at its start, and `drawn` once the visitor has drawn."""

    number: int
    start: Ink
    drawn: Ink | None = None


def read_link(card: CardView, picture: PictureView) -> None:
    """Set the session's row from the address, or empty, unless the session has a row that fits the card."""
    names = [feature.name for feature in card.features]
    row = st.session_state.get("row")
    if isinstance(row, dict) and list(row) == names:
        return
    ink = pictures.unpack(st.query_params.get(PARAMETER), picture.height, picture.width)
    if ink is None and any(name in st.query_params for name in names):
        inputs.read_link(card)
        st.session_state["picture_kind"] = inputs.NUMBERS
        _new_sheet(picture)
        return
    _set_ink(np.zeros((picture.height, picture.width)) if ink is None else ink, card, picture)


def begin(picture: PictureView) -> None:
    """Restore the drawing when the visitor returns to the page, since the browser does not keep it."""
    sheet: Sheet | None = st.session_state.get("sheet")
    if sheet is None or sheet.drawn is None:
        return
    grain = pictures.fine(picture)
    if sheet.drawn.shape == (picture.height * grain, picture.width * grain):
        st.session_state["sheet"] = Sheet(sheet.number + 1, sheet.drawn)


def write_link(card: CardView, picture: PictureView, row: dict[str, float]) -> None:
    """Put the picture into the address; a row of numbers by the features' names."""
    if st.session_state.get("picture_kind") == inputs.NUMBERS:
        inputs.write_link(card, row)
        return
    small = picture.width * picture.height <= MAX_LINKED_PIXELS
    wanted = {PARAMETER: pictures.pack(ink_of(row, picture))} if small and not is_empty(row, picture) else {}
    present = {name: st.query_params.get(name) for name in st.query_params if name not in inputs.RESERVED_PARAMETERS}
    if present != wanted:
        st.query_params.from_dict(wanted)


def ink_of(row: dict[str, float], picture: PictureView) -> Ink:
    """Return the ink of a row."""
    return pictures.to_ink(list(row.values()), picture)


def is_empty(row: dict[str, float], picture: PictureView) -> bool:
    """Return whether no pixel has ink."""
    return all(value == picture.minimum for value in row.values())


def show_inputs(card: CardView, picture: PictureView) -> dict[str, float]:
    """Draw the examples and the chosen way to enter a picture; return the row."""
    _examples(card, picture)
    ways = [DRAW, UPLOAD, inputs.NUMBERS]
    chosen = st.segmented_control(
        "Picture",
        ways,
        key="way",
        default=st.session_state.get("picture_kind", DRAW),
        required=True,
        label_visibility="collapsed",
    )
    if chosen != st.session_state.get("picture_kind", DRAW):
        st.session_state["picture_kind"] = chosen
        inputs.set_row(dict(st.session_state["row"]))
        _new_sheet(picture)
    if chosen == inputs.NUMBERS:
        # Written to the address.
        st.session_state["kind"] = inputs.NUMBERS
        return inputs.show_inputs(card, inputs.NUMBERS)
    ink = _drawn(card, picture) if chosen == DRAW else _uploaded(card, picture)
    if ink is not None:
        names = [feature.name for feature in card.features]
        st.session_state["row"] = dict(zip(names, pictures.to_values(ink, card, picture), strict=True))
    return dict(st.session_state["row"])


def _set_ink(ink: Ink, card: CardView, picture: PictureView) -> None:
    names = [feature.name for feature in card.features]
    inputs.set_row(dict(zip(names, pictures.to_values(ink, card, picture), strict=True)))
    _new_sheet(picture)


def _new_sheet(picture: PictureView) -> None:
    """Replace the sheet by one with the session's row."""
    grain = pictures.fine(picture)
    start = ink_of(st.session_state["row"], picture).repeat(grain, axis=0).repeat(grain, axis=1)
    before: Sheet | None = st.session_state.get("sheet")
    st.session_state["sheet"] = Sheet(before.number + 1 if before else 1, start)


def _examples(card: CardView, picture: PictureView) -> None:
    def choose(values: tuple[float, ...]) -> None:
        # An uploaded image would replace the example at once.
        if st.session_state.get("picture_kind") == UPLOAD:
            st.session_state["picture_kind"] = DRAW
            st.session_state.pop("way", None)
        _set_ink(pictures.to_ink(list(values), picture), card, picture)

    inputs.show_examples(card.examples, choose, MAX_EXAMPLE_BUTTONS)


def _fitting() -> bool:
    return st.toggle(
        "Center and scale",
        value=True,
        key="fitting",
        help="Match position, size and stroke width of the training pictures.",
    )


def _drawn(card: CardView, picture: PictureView) -> Ink | None:
    """Return the drawing as a picture; None as long as the sheet is unchanged."""
    sheet: Sheet = st.session_state["sheet"]
    drawn = show_pad(picture, sheet.start, sheet.number, service.theme())
    fitting = _fitting()
    if drawn is not None:
        sheet.drawn = drawn
    if sheet.drawn is None:
        return None
    return pictures.fit(sheet.drawn, card, picture) if fitting else pictures.shrink(sheet.drawn, picture)


def _uploaded(card: CardView, picture: PictureView) -> Ink | None:
    """Return the uploaded image as a picture; None without a readable one."""
    limit = min(MAX_IMAGE_MB, int(st.get_option("server.maxUploadSize")) - 1)
    file = st.file_uploader("Image", type=IMAGE_TYPES, key="image", max_upload_size=limit)
    if file is None:
        st.caption(
            f"PNG, JPEG, WebP, BMP or GIF, up to {limit} MB. Scaled to {picture.width} by {picture.height} pixels."
        )
        return None
    if file.size > limit * 1024 * 1024:
        st.error(f"The image is larger than {limit} MB: reduce it and upload it again.", icon=":material/error:")
        return None
    fitting = _fitting()
    invert = st.toggle("Invert", key="invert", help="Use the edge of the image as ink instead of background.")
    try:
        ink = pictures.read_image(file.getvalue(), picture, invert=invert)
    except PictureError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None
    if ink.shape == (picture.height, picture.width):
        return ink
    return pictures.fit(ink, card, picture) if fitting else pictures.shrink(ink, picture)
