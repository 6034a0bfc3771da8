"""Readers of documents. They run in a process of their own (`retrieval.parser` starts it), where only the standard
library, msgspec, pypdfium2 and charset-normalizer are in reach; nothing here may import more of Mainspring.

A reader is a function from a `Source` to `Block`s, which `blocks.passages` turns into passages with offsets. Readers
hold little at a time: what they get may be half a gigabyte, and may have been made to harm.
"""
