"""Convert XGBoost's JSON to ONNX, in the tools' environment: `python onnx_model.py MODEL_FILE ONNX_FILE`."""

import sys
from pathlib import Path

from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from xgboost import XGBClassifier

if __name__ == "__main__":
    model = XGBClassifier()
    model.load_model(sys.argv[1])
    inputs = [("rows", FloatTensorType([None, model.n_features_in_]))]
    Path(sys.argv[2]).write_bytes(convert_xgboost(model, initial_types=inputs).SerializeToString())
