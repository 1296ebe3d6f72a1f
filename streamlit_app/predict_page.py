"""The page on which a person sets one row with sliders and sees its class."""

import streamlit as st

import service
from api_client import ApiError, InputRejected, Prediction
from card import Feature, ModelCard
from charts import probability_chart, probability_words
from sliders import Slider, make_slider
from text import escape, humanise, label, percent, training_range

# Side by side on a wide screen; Streamlit stacks them on a narrow one.
COLUMNS = 2
# Forms with more sliders are set closer and scroll in a box, so that the button and the result stay in reach.
MOST_SLIDERS = 12
CLOSE_COLUMNS = 4
BOX_HEIGHT_PIXELS = 400
# Query parameters that belong to Streamlit; writing them raises.
RESERVED_PARAMETERS = {"embed", "embed_options"}


def show() -> None:
    """Draw the page."""
    try:
        card = service.fetch_card()
    except ApiError as error:
        st.title("Predict")
        service.offer_retry(error)
    name = humanise(card.model_name)
    st.set_page_config(page_title=f"{name}: predict")
    st.title(escape(name))
    st.caption(f"From {len(card.features)} values to one of {len(card.classes)} classes")
    _tell_of_new_model(card.model_version)
    row = _form(card)
    if row is not None:
        _result(card, row)


def _tell_of_new_model(version: str) -> None:
    seen = st.session_state.get("model_version")
    st.session_state["model_version"] = version
    if seen and seen != version:
        st.info(
            f"The model has changed since your last look: it is now version {escape(version)}.",
            icon=":material/update:",
        )


def _form(card: ModelCard) -> dict[str, float] | None:
    """The sliders; returns the row once there is something to predict: a press of the button, or a link's values."""
    row: dict[str, float] = {}
    linked = False
    with st.form("row", border=False):
        tall = len(card.features) > MOST_SLIDERS
        columns = CLOSE_COLUMNS if tall else COLUMNS
        box = st.container(height=BOX_HEIGHT_PIXELS if tall else "content", border=tall)
        # One row of columns after the other keeps the card's order when a phone stacks them.
        for first in range(0, len(card.features), columns):
            for column, feature in zip(box.columns(columns), card.features[first : first + columns], strict=False):
                slider = make_slider(feature)
                given = _linked_value(feature, slider)
                linked = linked or given is not None
                with column:
                    row[feature.name] = _slider(feature, slider, given)
        pressed = st.form_submit_button("Predict", type="primary", width="stretch", key="predict")
    if pressed:
        _write_link(row)
    return row if pressed or linked else None


def _slider(feature: Feature, slider: Slider, given: float | None) -> float:
    key = f"input:{feature.name}"
    value = st.session_state.get(key, slider.start if given is None else given)
    # Out of bounds only after the model was replaced by one with another range.
    if key not in st.session_state or slider.clamp(value) != value:
        st.session_state[key] = slider.clamp(value)
    picked = st.slider(
        label(feature),
        min_value=slider.minimum,
        max_value=slider.maximum,
        step=slider.step,
        format=slider.format,
        key=key,
        help=escape(training_range(feature)),
    )
    return slider.clamp(picked)


def _linked_value(feature: Feature, slider: Slider) -> float | None:
    if feature.name.lower() in RESERVED_PARAMETERS:
        return None
    return slider.parse(st.query_params.get(feature.name, ""))


def _write_link(row: dict[str, float]) -> None:
    """Put the row into the address, so that it survives a lost session and can be passed on."""
    st.query_params.update(
        {name: repr(value) for name, value in row.items() if name.lower() not in RESERVED_PARAMETERS}
    )


def _result(card: ModelCard, row: dict[str, float]) -> None:
    try:
        prediction = service.client().predict(row)
    except InputRejected as error:
        _reload_if_changed(card)
        service.show_error(error, card)
        return
    except ApiError as error:
        service.offer_retry(error, card)
    if prediction.model_version != card.model_version:
        _reload_if_changed(card)
        _tell_of_new_model(prediction.model_version)
    st.session_state.pop("reloaded", None)
    _show(card, prediction)


def _reload_if_changed(card: ModelCard) -> None:
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


def _show(card: ModelCard, prediction: Prediction) -> None:
    features = {feature.name: feature for feature in card.features}
    for warning in prediction.warnings:
        name = label(features[warning.field]) if warning.field in features else escape(warning.field)
        st.warning(f"{name}: {escape(warning.message)}", icon=":material/warning:")
    probabilities = prediction.probabilities
    with st.container(border=True):
        words, picture = st.columns([2, 3])
        with words.container(gap=None):
            st.caption("Predicted class")
            # A heading wraps; st.metric would cut a long name.
            st.header(escape(prediction.class_name), anchor=False)
            if prediction.class_name in probabilities:
                st.markdown(f"**{escape(percent(probabilities[prediction.class_name]))}** probable")
        with picture:
            st.altair_chart(
                probability_chart(probabilities, prediction.class_name),
                alt=probability_words(probabilities, prediction.class_name),
            )
        milliseconds = max(1, round(prediction.seconds * 1000))
        st.caption(f"Model {escape(prediction.model_version)} · answered in {milliseconds} ms")
