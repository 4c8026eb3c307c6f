"""The ports that ship with Portwright, found by entry point as any vendor's are."""

DEFAULTS = ("CPU", "NUMPY")
"""Which of them serve when none is named: the first that opens. Said here, none is imported to be asked."""
