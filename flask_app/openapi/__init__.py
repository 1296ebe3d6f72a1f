"""The OpenAPI 3.1 document, made from the types of the answers and from the card of the model that serves."""
