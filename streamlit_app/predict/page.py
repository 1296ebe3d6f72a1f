"""The page that predicts one row while the visitor sets it, and explains the prediction."""

import json
import shlex
from collections import deque
from statistics import median

import streamlit as st

from streamlit_app.clients.api_client import PredictedRow
from streamlit_app.clients.card import CardView, PictureView
from streamlit_app.clients.errors import ApiError, InputRejected
from streamlit_app.components import picture_image, service
from streamlit_app.components.charts import probability_chart, probability_words
from streamlit_app.components.figures import class_shares
from streamlit_app.components.text import escape, humanise, label, percent, plural
from streamlit_app.predict import inputs, picture_inputs
from streamlit_app.predict.places import outside, place_chart, place_in_words, places_in_words, places_of
from streamlit_app.predict.reasons import reason_chart, reasons_for, reasons_in_words, sentences
from streamlit_app.predict.sliders import make_slider

TITLE = "Predict"
# Above this, a prediction for every move of a slider would lag behind the hand.
SLOW_SECONDS = 0.5
# The median of these calls decides, so that one slow call does not.
MAX_REMEMBERED_CALLS = 5
MAX_EXAMPLE_BUTTONS = 7
MAX_WARNINGS = 5


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    name = humanise(card.model_name)
    st.set_page_config(page_title=f"{name}: predict")
    st.title(escape(name), anchor=False)
    many = plural(len(card.classes), "class", "classes")
    if card.picture:
        task = f"Draw a picture of {card.picture.width} by {card.picture.height} pixels"
        picture_inputs.begin(card.picture)
    else:
        task = f"Set {plural(len(card.features), 'value')}"
    st.caption(f"{task}: the model predicts one of {many}, and the page shows what led to the prediction.")
    service.announce_new_model(card.model_version)
    _work(card)


@st.fragment
def _work(card: CardView) -> None:
    """Draw inputs and result; a move of a slider runs only this part of the page."""
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
    names = [feature.name for feature in card.features]
    rows = {"Typical": tuple(make_slider(feature).start for feature in card.features), **card.examples}
    inputs.show_examples(rows, lambda row: inputs.set_row(dict(zip(names, row, strict=True))), MAX_EXAMPLE_BUTTONS)
    kind = inputs.show_kind()
    if not _is_slow():
        return inputs.show_inputs(card, kind)
    with st.form("form", border=False):
        row = inputs.show_inputs(card, kind)
        st.form_submit_button("Predict", type="primary", width="stretch", key="predict")
        st.caption("The service is slow at the moment: press Predict to get a prediction.")
    return row


def _is_slow() -> bool:
    seconds = _seconds()
    return bool(seconds) and median(seconds) > SLOW_SECONDS


def _seconds() -> deque[float]:
    """Return the duration of the last calls."""
    seconds: deque[float] = st.session_state.setdefault("seconds", deque(maxlen=MAX_REMEMBERED_CALLS))
    return seconds


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
        service.announce_new_model(prediction.model_version)
    st.session_state.pop("reloaded", None)
    _show(card, row, prediction)


def _reload_if_changed(card: CardView) -> None:
    """Start the page afresh if a model with other features has replaced the one of `card`."""
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
                share = class_shares(card.raw).get(name)
                baseline = "" if share is None else f" (baseline: {percent(share)} of the test rows are {name})"
                st.markdown(f"Probability **{escape(percent(probabilities[name]))}**{escape(baseline)}")
        st.altair_chart(
            probability_chart(probabilities, name, theme), alt=probability_words(probabilities, name), key="chances"
        )
    if card.picture:
        _show_picture(card, card.picture, row, prediction, theme)
    else:
        strongest = _show_reasons(card, row, prediction, theme)
        _show_places(card, row, prediction, strongest, theme)
    _show_request(row, prediction)


def _show_reasons(card: CardView, row: dict[str, float], prediction: PredictedRow, theme: str) -> list[str]:
    """Draw the contributions; return the features' names, the strongest first."""
    name = prediction.class_name
    parts = (prediction.contributions or {}).get(name)
    if parts is None:
        return []
    reasons = reasons_for(card, row, parts)
    with st.container(border=True):
        st.subheader("Feature contributions", anchor=False)
        st.markdown("\n".join(f"- {line}" for line in sentences(reasons, name)) or "No feature stands out.")
        st.altair_chart(reason_chart(reasons, theme), alt=reasons_in_words(reasons, name), key="why")
        st.caption(
            f"Each bar is a value's change in the log-odds of {escape(name)}: "
            "blue pushes the prediction towards it, orange away from it."
        )
    return [reason.name for reason in reasons if reason.name]


def _show_picture(
    card: CardView, picture: PictureView, row: dict[str, float], prediction: PredictedRow, theme: str
) -> None:
    """Draw the picture and the contributions of its pixels."""
    ink, name = picture_inputs.ink_of(row, picture), prediction.class_name
    strange = len({item.field for item in prediction.warnings} | {feature.name for feature in outside(card, row)})
    with st.container(border=True):
        left, right = st.columns(2)
        with left:
            st.subheader("Model input", anchor=False)
            words = picture_image.ink_in_words(ink)
            st.image(picture_image.ink_image(ink, theme), alt=words, output_format="PNG")
        if parts := (prediction.contributions or {}).get(name):
            matrix = picture_image.pixels(card, picture, parts)
            with right:
                st.subheader("Pixel contributions", anchor=False)
                words = picture_image.reasons_in_words(matrix, name)
                st.image(picture_image.reason_image(ink, matrix, theme), alt=words, output_format="PNG")
                st.caption(
                    f"Blue pixels push the prediction towards {escape(name)}, whether they have ink or not; "
                    "orange pixels away from it."
                )
        if strange:
            st.warning(
                f"{plural(strange, 'pixel is', 'pixels are')} outside the training range: "
                "the prediction is less reliable.",
                icon=":material/warning:",
            )


def _show_places(
    card: CardView, row: dict[str, float], prediction: PredictedRow, strongest: list[str], theme: str
) -> None:
    places = places_of(card, row, strongest)
    features = {feature.name: feature for feature in card.features}
    with st.container(border=True):
        st.subheader("Compared with the training data", anchor=False)
        strange = {feature.name: place_in_words(feature, row[feature.name]) for feature in outside(card, row)}
        warnings = {item.field: item.message for item in prediction.warnings} | strange
        if warnings:
            names = {name: label(features[name]) if name in features else escape(name) for name in warnings}
            lines = [f"{names[name]}: {escape(text)}" for name, text in warnings.items()]
            more = [f"- and {len(lines) - MAX_WARNINGS} more"] if len(lines) > MAX_WARNINGS else []
            listed = [*(f"- {line}" for line in lines[:MAX_WARNINGS]), *more] if len(lines) > 1 else lines
            advice = "The model was not trained on such values: the prediction is less reliable."
            st.warning("\n".join([*listed, "", advice]), icon=":material/warning:")
        st.altair_chart(place_chart(places, theme), alt=places_in_words(places), key="where")
        hidden = len(card.features) - len(places)
        more_features = f" {plural(hidden, 'more feature is', 'more features are')} not shown." if hidden else ""
        st.caption(
            "Line: range of the training rows. Boxes: their middle 90% and 50%. Tick: their median. "
            f"Dot: this value.{more_features}"
        )


def _show_request(row: dict[str, float], prediction: PredictedRow) -> None:
    milliseconds = max(1, round(prediction.seconds * 1000))
    st.caption(f"Model version {escape(prediction.model_version)} · response time {milliseconds} ms")
    with st.expander("Copy as curl", icon=":material/terminal:"):
        url = shlex.quote(service.visitors_url() + prediction.path)
        body = shlex.quote(json.dumps(row))
        st.code(
            f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}", language="bash", wrap_lines=True
        )
        st.caption(
            "Add `--cacert ca.crt` if the certificate is signed by your own authority, and "
            "`-H 'Authorization: Bearer KEY'` if the API requires a key."
        )


if __name__ == "__main__":
    show()
