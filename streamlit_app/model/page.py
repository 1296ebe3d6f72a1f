"""The model's card, for people."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiError
from streamlit_app.components import service
from streamlit_app.components.charts import confusion_chart, confusion_words, share_chart, share_words
from streamlit_app.components.figures import figures, mapping, matrix_of
from streamlit_app.components.picture_image import pixels, share_image, shares_in_words
from streamlit_app.components.promotion import show_gate
from streamlit_app.components.text import escape, humanise, label, number, plural, shorten
from streamlit_app.train.configuration import estimator_name

TITLE = "Model"
MOST_EXPLAINED_ROWS = 10
# Enough to compare by eye; the card for download has all of it.
LONGEST_DIGEST = 16
PREDICTORS = {
    "decision table": "a table of all its answers, proved to equal the model",
    "xgboost": "XGBoost",
    "linear": "its coefficients",
}
SIGNATURES = {
    "verified": "Verified: one of the keys that the service trusts signed it",
    "not checked": "Not checked: the service has no key to check it with",
}


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    name = humanise(card.model_name)
    st.set_page_config(page_title=f"{name}: model")
    st.title(f"{escape(name)} model", anchor=False)
    service.tell_of_new_model(card.model_version)
    _facts(card)
    _metrics(card)
    _gate(card)
    left, right = st.columns(2, gap="large")
    with left:
        _confusion(card)
    with right:
        _importance(card)
    _warnings(card)
    _features(card)
    _details(card)
    _versions(card)
    st.download_button(
        "Download the card",
        json.dumps(card.raw, indent=2),
        file_name=f"{card.model_name}-card.json",
        mime="application/json",
        on_click="ignore",
        icon=":material/download:",
    )


def _facts(card: CardView) -> None:
    data = mapping(card.raw.get("data"))
    facts = {"Version": card.model_version, "Trained": _when(card.raw.get("trained_at"))}
    if estimator := card.raw.get("estimator"):
        facts["Estimator"] = estimator_name(str(estimator))
    if predictor := card.raw.get("predictor"):
        facts["Answered by"] = PREDICTORS.get(str(predictor), str(predictor))
    if picture := card.picture:
        ends = f"from {number(picture.minimum)} (empty) to {number(picture.maximum)} (ink)"
        facts["Input"] = f"a picture of {picture.width} by {picture.height} pixels, {ends}"
    if data:
        facts["Trained from"] = _source(data)
        facts["Digest of the data"] = shorten(str(data.get("sha256") or "not told"), LONGEST_DIGEST)
    facts["Code (git commit)"] = shorten(str(card.raw.get("git_commit") or "not told"), LONGEST_DIGEST)
    facts["Signature"] = _signature(card)
    st.table({escape(name): escape(value) for name, value in facts.items()}, border="horizontal")


def _when(told: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(told)):%d %B %Y, %H:%M %Z}".lstrip("0")
    except ValueError:
        return "not told"


def _source(data: Mapping[str, Any]) -> str:
    text = str(data.get("name") or "a table without a name")
    if isinstance(data.get("rows"), int):
        text += f", {plural(data['rows'], 'row')}"
    if isinstance(data.get("train_rows"), int) and isinstance(data.get("test_rows"), int):
        text += f": {data['train_rows']:,} to train, {data['test_rows']:,} held out"
    return text


def _signature(card: CardView) -> str:
    told = card.raw.get("signature")
    if not isinstance(told, str) or not told:
        try:
            told = service.client().ready().signature
        except ApiError:
            told = ""
    return SIGNATURES.get(told, told) or "Not told"


def _metrics(card: CardView) -> None:
    shown = figures(card.raw.get("metrics"))
    if not shown:
        return
    st.subheader("How good it is", anchor=False)
    service.metrics(shown)
    folds = "" if mapping(mapping(card.raw.get("metrics")).get("cross_validation")) else " It was not cross-validated."
    st.caption(f"Measured on rows that it was not trained on.{folds}")


def _gate(card: CardView) -> None:
    gate = mapping(card.raw.get("gate"))
    if gate:
        st.subheader("Why it serves", anchor=False)
        show_gate(gate)


def _warnings(card: CardView) -> None:
    told = mapping(card.raw.get("data")).get("warnings")
    if isinstance(told, list) and told:
        with st.expander(f"{plural(len(told), 'warning')} about the training data", icon=":material/warning:"):
            st.markdown("\n".join(f"- {escape(str(text))}" for text in told))


def _confusion(card: CardView) -> None:
    matrix, classes = matrix_of(card.raw)
    if not matrix:
        return
    st.subheader("Where it errs", anchor=False)
    words = confusion_words(matrix, classes)
    st.altair_chart(confusion_chart(matrix, classes, service.theme()), alt=words, key="confusion")
    st.caption(escape(shorten(words, 400)))


def _importance(card: CardView) -> None:
    told = {
        str(name): float(value)
        for name, value in mapping(card.raw.get("feature_importance")).items()
        if isinstance(value, int | float)
    }
    note = "Each feature's share in what the model makes of a row, from its card."
    if not told:
        told, rows = _explained(card.model_version, card)
        note = (
            f"Not in the card, so computed here: the mean size of each feature's contribution to the predicted class, "
            f"over {plural(rows, 'golden row')}."
        )
    total = sum(told.values())
    if not total:
        return
    st.subheader("What it looks at", anchor=False)
    if card.picture:
        matrix = pixels(card, card.picture, told)
        st.image(share_image(matrix, service.theme()), alt=shares_in_words(matrix), output_format="PNG")
        st.caption(f"{note} The stronger the colour, the larger.")
        return
    names = {feature.name: label(feature) for feature in card.features}
    shares = {names.get(name, name).replace("\\", ""): value / total for name, value in told.items()}
    chart = share_chart(shares, service.theme(), ("Feature", "Share"))
    st.altair_chart(chart, alt=share_words("Feature importance", shares), key="importance")
    st.caption(note)


@st.cache_data(max_entries=4, show_spinner=False)
def _explained(_version: str, _card: CardView) -> tuple[dict[str, float], int]:
    sums: dict[str, float] = {}
    rows = _card.golden_rows[:MOST_EXPLAINED_ROWS]
    try:
        for values in rows:
            row = {
                feature.name: round(value) if feature.integer else value
                for feature, value in zip(_card.features, values, strict=True)
            }
            answer = service.client().explain(row)
            parts = (answer.contributions or {}).get(answer.class_name, {})
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + abs(value)
    except ApiError:
        return {}, 0
    return {name: value / len(rows) for name, value in sums.items()}, len(rows)


def _features(card: CardView) -> None:
    with st.expander(f"{plural(len(card.features), 'feature')}, with what was seen in training"):
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
        told = mapping(card.raw.get(name))
        if told:
            with st.expander(title):
                rows = {escape(str(key)): escape(_shown(value)) for key, value in told.items()}
                st.table(rows, border="horizontal")


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _versions(card: CardView) -> None:
    """The store's versions, where the API tells them."""
    told = card.raw.get("versions")
    if isinstance(told, list) and told:
        with st.expander(plural(len(told), "version") + " in the store"):
            st.dataframe(pd.DataFrame({"Version": [str(item) for item in told]}), hide_index=True)


if __name__ == "__main__":
    show()
