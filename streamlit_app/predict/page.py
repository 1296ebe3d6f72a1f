"""The page on which a person sets one row and sees its class at once, why, and where the row lies."""

import json
import shlex
from collections import deque
from statistics import median

import streamlit as st

from streamlit_app.clients.api_client import PredictedRow
from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.clients.errors import ApiError, InputRejected
from streamlit_app.components import service
from streamlit_app.components.charts import place_chart, probability_chart, probability_words, reason_chart
from streamlit_app.components.picture_image import ink_image, ink_in_words, pixels, reason_image
from streamlit_app.components.picture_image import reasons_in_words as pixel_reasons_in_words
from streamlit_app.components.text import escape, humanise, label, percent, plural
from streamlit_app.predict import inputs, picture_inputs
from streamlit_app.predict.reasons import (
    outside,
    place_in_words,
    places_in_words,
    places_of,
    reasons_for,
    reasons_in_words,
    sentences,
)
from streamlit_app.predict.sliders import make_slider

TITLE = "Predict"
# Above this a prediction for every move of a slider would lag behind the hand.
SLOW_SECONDS = 0.5
# The median of so many calls decides; one slow call is none.
REMEMBERED_CALLS = 5
# Buttons beside each other; more become a list.
MOST_EXAMPLE_BUTTONS = 6
MOST_WARNINGS = 5


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    name = humanise(card.model_name)
    st.set_page_config(page_title=f"{name}: predict")
    st.title(escape(name), anchor=False)
    many = plural(len(card.classes), "class", "classes")
    if card.picture:
        size = f"{card.picture.width} by {card.picture.height} pixels"
        st.caption(f"From a picture of {size} to one of {many}: draw one and see what the model says, and why.")
        picture_inputs.begin(card.picture)
    else:
        values = plural(len(card.features), "value")
        st.caption(f"From {values} to one of {many}: set the values and see what the model says, and why.")
    service.tell_of_new_model(card.model_version)
    _work(card)


@st.fragment
def _work(card: CardView) -> None:
    """Inputs and result; a move of a slider runs this part of the page only."""
    if card.picture:
        _work_on_picture(card, card.picture)
        return
    inputs.read_link(card)
    left, right = st.columns([2, 3], gap="large")
    with left:
        row = _inputs(card)
    inputs.write_link(card, row)
    with right:
        _result(card, row)


def _work_on_picture(card: CardView, picture: PictureView) -> None:
    picture_inputs.read_link(card, picture)
    left, right = st.columns([2, 3], gap="large")
    with left:
        row = picture_inputs.show_inputs(card, picture)
    picture_inputs.write_link(card, picture, row)
    with right:
        if picture_inputs.is_empty(row, picture):
            st.info("Draw a picture, upload an image or start from an example.", icon=":material/draw:")
        else:
            _result(card, row)


def _inputs(card: CardView) -> dict[str, float]:
    _examples(card)
    kind = inputs.show_kind()
    if not _is_slow():
        return inputs.show_inputs(card, kind)
    with st.form("form", border=False):
        row = inputs.show_inputs(card, kind)
        st.form_submit_button("Predict", type="primary", width="stretch", key="predict")
        st.caption("The service answers slowly now, so it predicts when you press Predict.")
    return row


def _is_slow() -> bool:
    seconds = _seconds()
    return bool(seconds) and median(seconds) > SLOW_SECONDS


def _seconds() -> deque[float]:
    """The time that each of the last calls took."""
    seconds: deque[float] = st.session_state.setdefault("seconds", deque(maxlen=REMEMBERED_CALLS))
    return seconds


def _examples(card: CardView) -> None:
    names = [feature.name for feature in card.features]
    rows = {"Typical": tuple(make_slider(feature).start for feature in card.features), **card.examples}
    if len(rows) > MOST_EXAMPLE_BUTTONS + 1:
        # Another key for each row that is set: the same example can be chosen again.
        key = f"example:{st.session_state['row_number']}"
        st.selectbox(
            "Start from an example",
            list(rows),
            index=None,
            key=key,
            format_func=humanise,
            placeholder="Choose an example",
            on_change=lambda: inputs.set_row(dict(zip(names, rows[st.session_state[key]], strict=True))),
        )
        return
    st.caption("Start from an example")
    with st.container(horizontal=True, gap="small"):
        for label_, values in rows.items():
            row = dict(zip(names, values, strict=True))
            st.button(escape(humanise(label_)), key=f"example:{label_}", on_click=inputs.set_row, args=(row,))


def _result(card: CardView, row: dict[str, float]) -> None:
    try:
        prediction = service.client().explain(row)
    except InputRejected as error:
        _reload_if_changed(card)
        service.show_error(error, card)
        return
    except ApiError as error:
        service.offer_retry(error, card)
    _seconds().append(prediction.seconds)
    if prediction.model_version != card.model_version:
        _reload_if_changed(card)
        service.tell_of_new_model(prediction.model_version)
    st.session_state.pop("reloaded", None)
    _show(card, row, prediction)


def _reload_if_changed(card: CardView) -> None:
    """Start the page afresh when the model was replaced by one with other features after `card` was fetched."""
    service.forget_card()
    try:
        newest = service.fetch_card()
    except ApiError:
        return
    # Only once: during a rolling update two servers may disagree for a while.
    if newest.features != card.features and not st.session_state.get("reloaded"):
        st.session_state["reloaded"] = True
        st.rerun()


def _show(card: CardView, row: dict[str, float], prediction: PredictedRow) -> None:
    theme = service.theme()
    probabilities, name = prediction.probabilities, prediction.class_name
    with st.container(border=True):
        with st.container(gap=None):
            st.caption("Predicted class")
            # A heading wraps; st.metric would cut a long name.
            st.header(escape(name), anchor=False)
            if name in probabilities:
                st.markdown(f"**{escape(percent(probabilities[name]))}** probable")
        st.altair_chart(
            probability_chart(probabilities, name, theme), alt=probability_words(probabilities, name), key="chances"
        )
    ranked = []
    if card.picture:
        _show_picture(card, card.picture, row, prediction, theme)
    elif prediction.contributions and name in prediction.contributions:
        reasons = reasons_for(card, row, prediction.contributions[name])
        ranked = [reason.name for reason in reasons]
        with st.container(border=True):
            st.subheader("Why", anchor=False)
            st.markdown("\n".join(f"- {line}" for line in sentences(reasons, name)) or "No feature speaks louder.")
            st.altair_chart(reason_chart(reasons, theme), alt=reasons_in_words(reasons, name), key="why")
            st.caption(f"What each value adds to the margin of {escape(name)}: blue speaks for it, orange against it.")
    if not card.picture:
        _where(card, row, prediction, ranked, theme)
    _request(row, prediction)


def _show_picture(
    card: CardView, picture: PictureView, row: dict[str, float], prediction: PredictedRow, theme: str
) -> None:
    """The picture itself, and which of its pixels speak for the class."""
    ink, name = picture_inputs.ink_of(row, picture), prediction.class_name
    strange = len({item.field for item in prediction.warnings} | {feature.name for feature in outside(card, row)})
    with st.container(border=True):
        seen, why = st.columns(2)
        with seen:
            st.subheader("What it sees", anchor=False)
            st.image(ink_image(ink, theme), alt=ink_in_words(ink), output_format="PNG")
        parts = (prediction.contributions or {}).get(name)
        if parts:
            matrix = pixels(card, picture, parts)
            with why:
                st.subheader("Why", anchor=False)
                words = pixel_reasons_in_words(matrix, name)
                st.image(reason_image(ink, matrix, theme), alt=words, output_format="PNG")
                st.caption(f"Blue pixels speak for {escape(name)}, with or without ink; orange ones against it.")
        if strange:
            st.warning(
                f"{plural(strange, 'pixel is', 'pixels are')} as in no training picture, so take the answer with care.",
                icon=":material/warning:",
            )


def _where(card: CardView, row: dict[str, float], prediction: PredictedRow, ranked: list[str], theme: str) -> None:
    places = places_of(card, row, ranked)
    features = {feature.name: feature for feature in card.features}
    with st.container(border=True):
        st.subheader("Where it lies", anchor=False)
        strange = {feature.name: place_in_words(feature, row[feature.name]) for feature in outside(card, row)}
        told = {item.field: item.message for item in prediction.warnings} | strange
        if told:
            names = {name: label(features[name]) if name in features else escape(name) for name in told}
            lines = [f"{names[name]}: {escape(text)}" for name, text in told.items()]
            rest = [f"- and {len(lines) - MOST_WARNINGS} more"] if len(lines) > MOST_WARNINGS else []
            listed = [*(f"- {line}" for line in lines[:MOST_WARNINGS]), *rest] if len(lines) > 1 else lines
            advice = "The model has seen no such value, so take its answer with care."
            st.warning("\n".join([*listed, "", advice]), icon=":material/warning:")
        st.altair_chart(place_chart(places, theme), alt=places_in_words(places), key="where")
        hidden = len(card.features) - len(places)
        more = f" {plural(hidden, 'more feature is', 'more features are')} not shown." if hidden else ""
        st.caption(
            "Each line is the range of the training rows, the boxes hold 90% and half of them, the tick is their "
            f"median, and the dot is this value.{more}"
        )


def _request(row: dict[str, float], prediction: PredictedRow) -> None:
    milliseconds = max(1, round(prediction.seconds * 1000))
    st.caption(f"Model {escape(prediction.model_version)} · answered in {milliseconds} ms")
    with st.expander("Copy as curl", icon=":material/terminal:"):
        url = shlex.quote(service.visitors_url() + prediction.path)
        body = shlex.quote(json.dumps(row))
        st.code(
            f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}", language="bash", wrap_lines=True
        )
        st.caption(
            "With a certificate of your own authority add `--cacert` and its `ca.crt`; where the API wants a key, "
            "add `-H 'Authorization: Bearer KEY'`."
        )


if __name__ == "__main__":
    show()
