"""The page that shows the model card."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.json_values import mapping, number_or_none
from streamlit_app.components import service
from streamlit_app.components.charts import share_chart, share_words
from streamlit_app.components.figures import figures_of, matrix_of, show_confusion, show_figures
from streamlit_app.components.picture_image import pixels, share_image, shares_in_words
from streamlit_app.components.promotion import show_promotion
from streamlit_app.components.text import (
    escape,
    estimator_name,
    humanise,
    label,
    number,
    plural,
    shorten,
    signature_text,
)

TITLE = "Model"
UNKNOWN = "not recorded"
MAX_EXPLAINED_ROWS = 10
# Enough to compare by eye; the downloaded card has all of it.
MAX_DIGEST = 16
PREDICTORS = {
    "decision table": "Decision table: precomputed, verified to equal the model",
    "xgboost": "XGBoost",
    "linear": "Linear formula: the model's coefficients",
}


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    name = humanise(card.model_name)
    st.set_page_config(page_title=f"{name}: model")
    st.title(f"{escape(name)} model", anchor=False)
    service.announce_new_model(card.model_version)
    _facts(card)
    _metrics(card)
    if gate := mapping(card.raw.get("gate")):
        st.subheader("Promotion decision", anchor=False)
        st.caption("The gate decides whether a new model may replace the one that is serving.")
        show_promotion(gate)
    left, right = st.columns(2, gap="large")
    with left:
        _confusion(card)
    with right:
        _importance(card)
    _warnings(card)
    _features(card)
    _details(card)
    st.download_button(
        "Download model card",
        json.dumps(card.raw, indent=2),
        file_name=f"{card.model_name}-card.json",
        mime="application/json",
        on_click="ignore",
        icon=":material/download:",
    )


def _facts(card: CardView) -> None:
    data = mapping(card.raw.get("data"))
    facts = {"Version": card.model_version, "Trained": _time(card.raw.get("trained_at"))}
    if estimator := card.raw.get("estimator"):
        facts["Estimator"] = estimator_name(str(estimator))
    if predictor := card.raw.get("predictor"):
        facts["Predictor"] = PREDICTORS.get(str(predictor), str(predictor))
    if picture := card.picture:
        ends = f"{number(picture.minimum)} is empty, {number(picture.maximum)} is full ink"
        facts["Input"] = f"Picture of {picture.width} by {picture.height} pixels: {ends}"
    if data:
        facts["Training data"] = _source(data)
        facts["Data SHA-256"] = shorten(str(data.get("sha256") or UNKNOWN), MAX_DIGEST)
    facts["Git commit"] = shorten(str(card.raw.get("git_commit") or UNKNOWN), MAX_DIGEST)
    facts["Signature"] = _signature()
    st.table({escape(name): escape(value) for name, value in facts.items()}, border="horizontal")


def _time(iso: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(iso)):%d %B %Y, %H:%M %Z}".lstrip("0")
    except ValueError:
        return UNKNOWN


def _source(data: Mapping[str, Any]) -> str:
    text = str(data.get("name") or "unnamed table")
    if isinstance(data.get("rows"), int):
        text += f", {plural(data['rows'], 'row')}"
    if isinstance(data.get("train_rows"), int) and isinstance(data.get("test_rows"), int):
        text += f": {data['train_rows']:,} for training, {data['test_rows']:,} for testing"
    return text


def _signature() -> str:
    try:
        state = service.client().ready().signature
    except ApiError:
        state = ""
    return signature_text(state)


def _metrics(card: CardView) -> None:
    figures = figures_of(card.raw)
    if not figures:
        return
    st.subheader("Evaluation metrics", anchor=False)
    show_figures(figures)
    rows = mapping(card.raw.get("data")).get("test_rows")
    basis = plural(rows, "test row") if isinstance(rows, int) else "test rows"
    folds = mapping(mapping(card.raw.get("metrics")).get("cross_validation"))
    st.caption(
        f"Measured on {basis} that the model was not trained on." + ("" if folds else " It was not cross-validated.")
    )


def _warnings(card: CardView) -> None:
    warnings = mapping(card.raw.get("data")).get("warnings")
    if isinstance(warnings, list) and warnings:
        with st.expander(f"{plural(len(warnings), 'warning')} about the training data", icon=":material/warning:"):
            st.markdown("\n".join(f"- {escape(str(text))}" for text in warnings))


def _confusion(card: CardView) -> None:
    if matrix_of(card.raw)[0]:
        st.subheader("Confusion matrix", anchor=False)
        show_confusion(card.raw, "confusion", service.theme())


def _importance(card: CardView) -> None:
    importance = {
        str(name): value
        for name, raw in mapping(card.raw.get("feature_importance")).items()
        if (value := number_or_none(raw)) is not None
    }
    note = "Each feature's share of the total importance, as recorded at training."
    if not importance:
        importance, rows = _explained(card.model_version, card)
        note = (
            "Computed here, since the card has no importance: each feature's mean absolute contribution to the "
            f"predicted class, over {plural(rows, 'row')}."
        )
    total = sum(importance.values())
    if not total:
        return
    st.subheader("Feature importance", anchor=False)
    if card.picture:
        matrix = pixels(card, card.picture, importance)
        st.image(share_image(matrix, service.theme()), alt=shares_in_words(matrix), output_format="PNG")
        st.caption(f"{note} The stronger the colour, the more important the pixel.")
        return
    names = {feature.name: label(feature) for feature in card.features}
    shares = {names.get(name, name).replace("\\", ""): value / total for name, value in importance.items()}
    chart = share_chart(shares, service.theme(), ("Feature", "Share"))
    st.altair_chart(chart, alt=share_words("Feature importance", shares), key="importance")
    st.caption(note)


@st.cache_data(max_entries=4, show_spinner=False)
def _explained(_version: str, _card: CardView) -> tuple[dict[str, float], int]:
    """Return the mean absolute contributions over the first golden rows, and their number."""
    sums: dict[str, float] = {}
    rows = _card.golden_rows[:MAX_EXPLAINED_ROWS]
    try:
        for values in rows:
            row = {
                feature.name: round(value) if feature.integer else value
                for feature, value in zip(_card.features, values, strict=True)
            }
            answer = service.client().explain(row)
            for name, value in (answer.contributions or {}).get(answer.class_name, {}).items():
                sums[name] = sums.get(name, 0.0) + abs(value)
    except ApiError:
        return {}, 0
    return {name: value / len(rows) for name, value in sums.items()}, len(rows)


def _features(card: CardView) -> None:
    with st.expander(f"{plural(len(card.features), 'feature')} with their training ranges"):
        rows = [
            {
                "Feature": feature.name,
                "Unit": feature.unit,
                "Minimum": feature.minimum,
                "Median": feature.median,
                "Maximum": feature.maximum,
            }
            for feature in card.features
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The model's features")


def _details(card: CardView) -> None:
    for title, name in (("Hyperparameters", "hyperparameters"), ("Package versions", "packages")):
        if values := mapping(card.raw.get(name)):
            with st.expander(title):
                rows = {
                    escape(str(key)): escape(number(value) if isinstance(value, float) else str(value))
                    for key, value in values.items()
                }
                st.table(rows, border="horizontal")


if __name__ == "__main__":
    show()
