"""Answers that are kept: the Responses API without its HTTP. Models are asked through `core.seams.Generate` only."""
