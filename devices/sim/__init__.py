"""What the simulators compile kernels against: the shim headers, and the runtime that runs blocks."""
