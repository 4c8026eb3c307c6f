"""RISC-V, for Portwright. Nothing is imported before the device is chosen."""
