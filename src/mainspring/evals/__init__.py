"""Evaluations: graders over many items, of a file, of stored chats, or answered by a model on the way."""
