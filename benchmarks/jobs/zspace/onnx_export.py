import zspace

zspace.export(zspace.load("run"), "onnx", "programs")
