"""What the gate said of a model: whether it may serve, why, and how it did beside the champion."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from streamlit_app.components.text import escape, plural

# The gate's own names, and whether more is better.
METRICS = {"accuracy": "Accuracy", "log_loss": "Log loss"}


def show_gate(gate: Mapping[str, Any]) -> None:
    """Verdict, reasons and comparison; nothing for a model that was never judged."""
    if not gate:
        return
    reasons = [f"- {escape(reason)}" for reason in sentences(gate)]
    champion = str(gate.get("champion_version") or "")
    rows = gate.get("held_out_rows")
    beside = f" beside {escape(champion)}" if champion else ""
    judged = f", judged on {plural(rows, 'held-out row')}{beside}" if isinstance(rows, int) else ""
    if gate.get("passed"):
        st.success("\n".join([f"The gate let it through{judged}.", *reasons]), icon=":material/check_circle:")
    elif gate.get("forced"):
        st.warning("\n".join([f"Forced past the gate{judged}.", *reasons]), icon=":material/warning:")
    else:
        st.error("\n".join([f"The gate rejected it{judged}.", *reasons]), icon=":material/block:")
    _comparisons(gate.get("comparisons"))


def sentences(gate: Mapping[str, Any]) -> list[str]:
    """The gate's reasons."""
    reasons = gate.get("reasons")
    return [str(reason) for reason in reasons] if isinstance(reasons, Sequence) and not isinstance(reasons, str) else []


def verdict(gate: Mapping[str, Any]) -> str:
    """In a word or two."""
    if not gate:
        return "not judged"
    return "passed" if gate.get("passed") else "forced" if gate.get("forced") else "rejected"


def _comparisons(told: Any) -> None:
    entries = [entry for entry in told if isinstance(entry, Mapping)] if isinstance(told, list) else []
    if not entries:
        return
    # Few columns, so that a phone shows them all.
    table = {
        METRICS.get(str(entry.get("metric")), escape(str(entry.get("metric")))): _column(entry) for entry in entries
    }
    st.table(pd.DataFrame(table), border="horizontal")
    st.caption(
        "On the same held-out rows. A gain above 0 is in favour of the new model; its interval and the last line are "
        "of the resamples of a paired bootstrap."
    )


def _column(entry: Mapping[str, Any]) -> dict[str, str]:
    def shown(key: str, sign: str = "") -> str:
        value = entry.get(key)
        if not isinstance(value, int | float):
            return "not told"
        return f"{value:{sign}.2%}" if entry.get("metric") == "accuracy" else f"{value:{sign}.4f}"

    worse = entry.get("worse_share")
    return {
        "Champion": shown("champion"),
        "New model": shown("challenger"),
        "Gain": shown("gain", "+"),
        "95% interval of the gain": f"{shown('low', '+')} to {shown('high', '+')}",
        "Tolerated loss": shown("tolerance"),
        "Resamples with a larger loss": f"{worse:.0%}" if isinstance(worse, int | float) else "not told",
    }
