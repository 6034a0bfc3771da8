"""Mainspring: an open AI cloud in one package."""

__all__ = ["__version__"]

__version__ = "0.1.0"
