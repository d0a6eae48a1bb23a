"""Small quantized networks for the packages in `models/`: described, quantized and written as ONNX and TFLite."""
