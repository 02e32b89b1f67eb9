"""The optimization itself as a SavedModel, in TensorFlow's operations alone."""
