"""The engine: from the lazy graph to kernels that run on an abstract device. It knows no device by name."""
