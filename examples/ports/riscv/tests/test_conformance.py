"""The port is what it claims to be: Portwright's conformance suite, a test for each rung of its ladder."""

from portwright.conformance.vendor import conformance

test_conformance = conformance("RISCV")
