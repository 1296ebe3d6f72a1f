"""A drawing pad in the browser."""

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from streamlit_app.clients.card import PictureView
from streamlit_app.components import picture as pictures
from streamlit_app.components.picture import Ink

HERE = Path(__file__).parent


@cache
def _component() -> ComponentRenderer:
    html, css, js = ((HERE / f"drawing_pad.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("drawing_pad", html=html, css=css, js=js)


def show_pad(picture: PictureView, start: Ink, number: int, theme: str) -> Ink | None:
    """Draw the pad; return the visitor's drawing, None as long as the sheet is unchanged.

    A new `number` starts a new sheet with the ink `start`. Start and drawing have `fine` dots for each side of a pixel.
    """
    grain = pictures.fine(picture)
    data = {
        "width": picture.width,
        "height": picture.height,
        "fine": grain,
        "number": number,
        "start": pictures.pack(start),
        "theme": theme,
        "label": f"Drawing pad of {picture.width} by {picture.height} pixels",
    }
    drawn = _component()(key="pad", data=data, on_drawing_change=lambda: None).drawing
    if not isinstance(drawn, dict) or drawn.get("number") != number:
        return None
    return pictures.unpack(drawn.get("ink"), picture.height * grain, picture.width * grain)
