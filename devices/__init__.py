"""The ports that ship with Portwright, found by entry point as any vendor's are."""
