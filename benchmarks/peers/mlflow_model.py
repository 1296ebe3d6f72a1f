"""Save the classifier as an MLflow model: `python mlflow_model.py MODEL_FILE FOLDER`."""

import sys

import mlflow.xgboost
from xgboost import XGBClassifier

if __name__ == "__main__":
    model = XGBClassifier()
    model.load_model(sys.argv[1])
    # Explicit requirements: MLflow would otherwise infer them by running the model in a new environment.
    mlflow.xgboost.save_model(model, sys.argv[2], pip_requirements=["xgboost-cpu"])
