"""Telling others what has happened: endpoints, signed deliveries, and what became of them."""
