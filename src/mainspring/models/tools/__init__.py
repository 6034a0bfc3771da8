"""Tools: what families of models write when they call them (`formats`), how a prompt tells them (`prompt`), and how
their answer is read (`parser`, `harmony`). Nothing here knows an engine: text goes in, text and calls come out."""
