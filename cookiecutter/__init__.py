"""The project around a vendor's port."""
