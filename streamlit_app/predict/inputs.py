"""The row that a visitor sets, in the session and in the page's address, shown as sliders or as numbers."""

import math
from collections.abc import Callable, Mapping

import streamlit as st

from streamlit_app.clients.card import CardView, FeatureView
from streamlit_app.components.text import escape, humanise, label, training_range
from streamlit_app.predict.sliders import MAX_INTEGER, make_slider

SLIDERS, NUMBERS = "Sliders", "Numbers"
# A form with more inputs scrolls in a box, so that the result stays in view.
MAX_INPUTS = 8
COLUMNS = 2
BOX_HEIGHT_PIXELS = 430
# The model computes in 32 bits; the API rejects larger values.
MAX_INPUT = 3e38
# Streamlit's own query parameters, which it does not let an app write.
RESERVED_PARAMETERS = {"embed", "embed_options"}
KIND_PARAMETER = "_inputs"


def read_link(card: CardView) -> None:
    """Set the session's row from the address, unless the session has a row that fits the card."""
    names = [feature.name for feature in card.features]
    row = st.session_state.get("row")
    if isinstance(row, dict) and list(row) == names:
        return
    sliders = {feature.name: make_slider(feature) for feature in card.features}
    linked = {feature.name: _linked_value(feature) for feature in card.features}
    if st.query_params.get(KIND_PARAMETER) == "numbers" and KIND_PARAMETER not in names:
        st.session_state["kind"] = NUMBERS
    st.session_state["linked"] = any(value is not None for value in linked.values())
    set_row({name: sliders[name].start if (value := linked[name]) is None else value for name in names})


def write_link(card: CardView, row: dict[str, float]) -> None:
    """Put the row into the address, so that it survives a lost session and can be shared."""
    wanted = {name: repr(value) for name, value in row.items() if name.lower() not in RESERVED_PARAMETERS}
    names = {feature.name for feature in card.features}
    if st.session_state.get("kind") == NUMBERS and KIND_PARAMETER not in names:
        wanted[KIND_PARAMETER] = "numbers"
    # An unchanged page keeps its plain address, which always shows the model's typical row.
    typical = {feature.name: make_slider(feature).start for feature in card.features}
    if row == typical and not st.session_state.get("linked") and KIND_PARAMETER not in wanted:
        wanted = {}
    present = {name: st.query_params.get(name) for name in st.query_params if name.lower() not in RESERVED_PARAMETERS}
    if present != wanted:
        st.query_params.from_dict(wanted)
    if wanted:
        st.session_state["linked"] = True


def show_examples(
    rows: Mapping[str, tuple[float, ...]], choose: Callable[[tuple[float, ...]], None], max_buttons: int
) -> None:
    """Draw a button for each example row, or a list if there are more than `max_buttons`."""
    if len(rows) > max_buttons:
        # The key changes with each row that is set, so that the same example can be chosen again.
        key = f"example:{st.session_state['row_number']}"
        st.selectbox(
            "Start from an example",
            list(rows),
            index=None,
            key=key,
            format_func=humanise,
            placeholder="Choose an example",
            on_change=lambda: choose(rows[st.session_state[key]]),
        )
    elif rows:
        st.caption("Start from an example")
        with st.container(horizontal=True, gap="xsmall"):
            for name, values in rows.items():
                st.button(escape(humanise(name)), key=f"example:{name}", on_click=choose, args=(values,))


def set_row(row: dict[str, float]) -> None:
    """Show this row in every input."""
    st.session_state["row"] = row
    # The number is part of the widgets' keys: new widgets take their value from the row.
    st.session_state["row_number"] = st.session_state.get("row_number", 0) + 1


def show_kind() -> str:
    """Draw the switch between sliders and numbers; return the chosen one."""
    chosen = st.segmented_control(
        "Inputs", [SLIDERS, NUMBERS], key="kind_control", default=st.session_state.get("kind", SLIDERS), required=True
    )
    kind = str(chosen or SLIDERS)
    if kind != st.session_state.get("kind", SLIDERS):
        st.session_state["kind"] = kind
        set_row(dict(st.session_state["row"]))
    return kind


def show_inputs(card: CardView, kind: str) -> dict[str, float]:
    """Draw one input for each feature, in the card's order; return the row that they show."""
    row: dict[str, float] = {}
    many = len(card.features) > MAX_INPUTS
    box = st.container(height=BOX_HEIGHT_PIXELS if many else "content", border=many)
    columns = COLUMNS if many else 1
    # Drawing row by row keeps the card's order on a phone, which stacks the columns.
    for first in range(0, len(card.features), columns):
        cells = box.columns(columns) if columns > 1 else [box]
        for cell, feature in zip(cells, card.features[first : first + columns], strict=False):
            value = st.session_state["row"][feature.name]
            with cell:
                row[feature.name] = _slider(feature, value) if kind == SLIDERS else _number(feature, value)
    st.session_state["row"] = row
    return row


def _key(kind: str, feature: FeatureView) -> str:
    return f"{kind}:{st.session_state['row_number']}:{feature.name}"


def _slider(feature: FeatureView, value: float) -> float:
    slider = make_slider(feature)
    key = _key("slider", feature)
    _within(key, value, slider.clamp)
    picked = st.slider(
        label(feature),
        min_value=slider.minimum,
        max_value=slider.maximum,
        step=slider.step,
        format=slider.format,
        key=key,
        help=_help(feature),
    )
    return slider.clamp(picked)


def _number(feature: FeatureView, value: float) -> float:
    slider = make_slider(feature)
    key = _key("number", feature)

    def clamp(given: float) -> float:
        limit = MAX_INTEGER if feature.integer else MAX_INPUT
        inside = min(max(given, -limit), limit)
        return round(inside) if feature.integer else float(f"{inside:.15g}")

    _within(key, value, clamp)
    picked = st.number_input(
        label(feature),
        step=slider.step,
        format=None if feature.integer else slider.format,
        key=key,
        help=_help(feature),
    )
    return clamp(picked if picked is not None else value)


def _help(feature: FeatureView) -> str:
    return escape(f"Training range: {training_range(feature)}")


def _within(key: str, value: float, clamp: Callable[[float], float]) -> None:
    """Set the widget's value before it is drawn; only after a change of the model it is out of bounds."""
    value = st.session_state.get(key, value)
    if key not in st.session_state or clamp(value) != value:
        st.session_state[key] = clamp(value)


def _linked_value(feature: FeatureView) -> float | None:
    if feature.name.lower() in RESERVED_PARAMETERS:
        return None
    try:
        value = float(st.query_params.get(feature.name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
