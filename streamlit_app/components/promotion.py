"""The promotion decision of the gate: the verdict, its reasons, and the comparison with the model that served."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from streamlit_app.clients.json_values import number_or_none
from streamlit_app.components.text import escape, plural

METRICS = {"accuracy": "Accuracy", "log_loss": "Log loss"}


def show_promotion(gate: Mapping[str, Any]) -> None:
    """Draw verdict, reasons and comparison; nothing for a model that the gate never evaluated."""
    if not gate:
        return
    given = gate.get("reasons")
    reasons = [f"- {escape(str(reason))}" for reason in given] if isinstance(given, list) else []
    champion, rows = str(gate.get("champion_version") or ""), gate.get("held_out_rows")
    compared = f" and compared with version {escape(champion)}" if champion else ""
    basis = f" It was evaluated on {plural(rows, 'test row')}{compared}." if isinstance(rows, int) else ""
    if gate.get("passed"):
        show, sentence, icon = st.success, "The model passes the gate.", ":material/check_circle:"
    elif gate.get("forced"):
        show, sentence, icon = st.warning, "The gate rejected the model, but it was forced.", ":material/warning:"
    else:
        show, sentence, icon = st.error, "The gate rejected the model.", ":material/block:"
    show("\n".join([f"{sentence}{basis}", *reasons]), icon=icon)
    _comparisons(gate.get("comparisons"))


def verdict(gate: Mapping[str, Any]) -> str:
    """Return the decision in a word or two."""
    if not gate:
        return "not evaluated"
    return "passed" if gate.get("passed") else "forced" if gate.get("forced") else "rejected"


def _comparisons(given: Any) -> None:
    entries = [entry for entry in given if isinstance(entry, Mapping)] if isinstance(given, list) else []
    if not entries:
        return
    # One column for each metric, so that a phone shows them all.
    table = {METRICS.get(name := str(entry.get("metric")), escape(name)): _column(entry) for entry in entries}
    st.table(pd.DataFrame(table), border="horizontal")
    st.caption(
        "Both models predicted the same test rows. A gain above 0 is in favour of the new model. "
        "The interval and the last row come from a paired bootstrap."
    )


def _column(entry: Mapping[str, Any]) -> dict[str, str]:
    def shown(key: str, sign: str = "") -> str:
        value = number_or_none(entry.get(key))
        if value is None:
            return "not recorded"
        return f"{value:{sign}.2%}" if entry.get("metric") == "accuracy" else f"{value:{sign}.4f}"

    worse = number_or_none(entry.get("worse_share"))
    return {
        "Previous model": shown("champion"),
        "New model": shown("challenger"),
        "Gain": shown("gain", "+"),
        "95% interval of the gain": f"{shown('low', '+')} to {shown('high', '+')}",
        "Tolerated loss": shown("tolerance"),
        "Resamples with a larger loss": "not recorded" if worse is None else f"{worse:.0%}",
    }
