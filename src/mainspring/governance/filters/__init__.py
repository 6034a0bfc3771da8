"""Content filters: what a policy says, what is found in a text, and how a stream is held until it may leave.

A library without HTTP, clock or database: the stack of governance wraps `Generate` with it.
"""
