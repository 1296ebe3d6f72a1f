"""The command `tabular`."""
