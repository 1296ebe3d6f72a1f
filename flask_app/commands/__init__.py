"""Commands of the API's operator."""
