"""The row of a model whose features are a picture: drawn, out of an image, or as numbers; kept like any other row."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.components import picture as pictures
from streamlit_app.components import service
from streamlit_app.components.drawing_pad import show_pad
from streamlit_app.components.picture import Ink, PictureError
from streamlit_app.components.text import escape, humanise
from streamlit_app.predict import inputs

DRAW, UPLOAD = "Draw", "Upload"
PARAMETER = "_picture"
# An address of more does not pass every proxy.
MOST_LINKED_PIXELS = 4096
IMAGE_TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif"]
LARGEST_IMAGE_MB = 10
# Buttons beside each other; more become a list.
MOST_EXAMPLE_BUTTONS = 12


@dataclass
class Sheet:
    """What the pad shows: it began with `start`, and `drawn` is there once the visitor drew on it."""

    number: int
    start: Ink
    drawn: Ink | None = None


def read_link(card: CardView, picture: PictureView) -> None:
    """Set the session's row from the address where the session has none yet that fits the card; else it is empty."""
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
    """The browser has forgotten its sheet when the visitor comes back to the page: it gets what was drawn on it."""
    sheet: Sheet | None = st.session_state.get("sheet")
    if sheet is None or sheet.drawn is None:
        return
    grain = pictures.fine(picture)
    if sheet.drawn.shape == (picture.height * grain, picture.width * grain):
        st.session_state["sheet"] = Sheet(sheet.number + 1, sheet.drawn)


def write_link(card: CardView, picture: PictureView, row: dict[str, float]) -> None:
    """Put the picture into the address; numbers beyond those of a picture go there by their names."""
    if st.session_state.get("picture_kind") == inputs.NUMBERS:
        inputs.write_link(card, row)
        return
    small = picture.width * picture.height <= MOST_LINKED_PIXELS
    wanted = {PARAMETER: pictures.pack(ink_of(row, picture))} if small and not is_empty(row, picture) else {}
    present = {name: st.query_params.get(name) for name in st.query_params if name not in inputs.RESERVED_PARAMETERS}
    if present != wanted:
        st.query_params.from_dict(wanted)


def ink_of(row: dict[str, float], picture: PictureView) -> Ink:
    """The picture that a row is."""
    return pictures.to_ink(list(row.values()), picture)


def is_empty(row: dict[str, float], picture: PictureView) -> bool:
    """Nothing is drawn."""
    return all(value == picture.minimum for value in row.values())


def show_inputs(card: CardView, picture: PictureView) -> dict[str, float]:
    """Examples and the chosen way to give a picture; returns the row."""
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
        # What the address says of it.
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
    """A sheet with the session's row on it."""
    grain = pictures.fine(picture)
    start = ink_of(st.session_state["row"], picture).repeat(grain, axis=0).repeat(grain, axis=1)
    before: Sheet | None = st.session_state.get("sheet")
    st.session_state["sheet"] = Sheet(before.number + 1 if before else 1, start)


def _examples(card: CardView, picture: PictureView) -> None:
    if not card.examples:
        return

    def choose(values: tuple[float, ...]) -> None:
        # An uploaded image would take the example's place at once.
        if st.session_state.get("picture_kind") == UPLOAD:
            st.session_state["picture_kind"] = DRAW
            st.session_state.pop("way", None)
        _set_ink(pictures.to_ink(list(values), picture), card, picture)

    if len(card.examples) > MOST_EXAMPLE_BUTTONS:
        key = f"example:{st.session_state['row_number']}"
        st.selectbox(
            "Start from an example",
            list(card.examples),
            index=None,
            key=key,
            format_func=humanise,
            placeholder="Choose an example",
            on_change=lambda: choose(card.examples[st.session_state[key]]),
        )
        return
    st.caption("Start from an example")
    with st.container(horizontal=True, gap="xsmall"):
        for name, values in card.examples.items():
            st.button(escape(humanise(name)), key=f"example:{name}", on_click=choose, args=(values,))


def _fitting() -> bool:
    return st.toggle(
        "Fit to the frame",
        value=True,
        key="fitting",
        help="Move and stretch the ink to where the training pictures have theirs, and make it as heavy.",
    )


def _drawn(card: CardView, picture: PictureView) -> Ink | None:
    """What is drawn as a picture; None as long as the sheet is as it began."""
    sheet: Sheet = st.session_state["sheet"]
    drawn = show_pad(picture, sheet.start, sheet.number, service.theme())
    fitting = _fitting()
    if drawn is not None:
        sheet.drawn = drawn
    if sheet.drawn is None:
        return None
    return pictures.fit(sheet.drawn, card, picture) if fitting else pictures.shrink(sheet.drawn, picture)


def _uploaded(card: CardView, picture: PictureView) -> Ink | None:
    """The image as a picture; None where there is none that can be read."""
    limit = min(LARGEST_IMAGE_MB, int(st.get_option("server.maxUploadSize")) - 1)
    file = st.file_uploader("Image", type=IMAGE_TYPES, key="image", max_upload_size=limit)
    if file is None:
        st.caption(
            f"PNG, JPEG, WebP, BMP or GIF, up to {limit} MB; it becomes {picture.width} by {picture.height} pixels."
        )
        return None
    if file.size > limit * 1024 * 1024:
        st.error(f"The image is larger than {limit} MB: make it smaller and send it again.", icon=":material/error:")
        return None
    fitting = _fitting()
    swap = st.toggle("Swap ink and paper", key="swap", help="The rim of the image counts as paper, unless this is set.")
    try:
        ink = pictures.read_image(file.getvalue(), picture, swap=swap)
    except PictureError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None
    if ink.shape == (picture.height, picture.width):
        return ink
    return pictures.fit(ink, card, picture) if fitting else pictures.shrink(ink, picture)
