"""The original server of this project: Flask under Gunicorn's sync workers, the classifier on every core."""

import os

import numpy as np
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from xgboost import XGBClassifier

NAMES = ["setosa", "versicolor", "virginica"]

app = Flask(__name__)
model = XGBClassifier(n_jobs=-1)
model.load_model(os.environ["MODEL_FILE"])


@app.post("/predict")
def predict() -> ResponseReturnValue:
    """One row."""
    data = request.get_json()
    row = np.array([[data["sepal_length"], data["sepal_width"], data["petal_length"], data["petal_width"]]])
    prediction = int(model.predict(row)[0])
    return jsonify({"prediction": prediction, "class_name": NAMES[prediction]})
