"""The OpenAPI 3.1 document, made from the types of the answers and the card of the served model."""
