"""One reader of tables, with one set of rules for the API, training and the UI."""
