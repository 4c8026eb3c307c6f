"""RISCV: a Portwright port of RISC-V International's chip. The port is in ``port.py``."""
