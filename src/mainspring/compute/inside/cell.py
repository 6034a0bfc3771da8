"""A cell of the code interpreter, as the sandboxed process runs it: what earlier cells of the session left is there.

This file is given to the sandbox as the code to run. `.cell.py` is what the model wrote. `.session` is what came of
cells before: the source of their imports, functions and classes, and their variables, pickled. It is made and read in
the sandbox only: a pickle runs what it likes, and so does the code. What cannot be pickled (open files, generators) is
forgotten; so are variables that together have more than `MAX_BYTES`.
"""

import ast
import contextlib
import os
import pickle
import sys
import traceback
import types
from typing import Any

CELL, SESSION, DATA = ".cell.py", ".session", "/mnt/data"
MAX_BYTES = 4 * 2**20
_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def main() -> None:
    """Run the cell; its last expression is shown, as in a notebook."""
    with open(CELL, encoding="utf-8") as file:  # noqa: PTH123
        code = file.read()
    os.unlink(CELL)  # noqa: PTH108
    if not os.path.isdir(DATA):  # where there is no file system of its own  # noqa: PTH112
        code = code.replace(f"{DATA}/", "./")
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    space = module.__dict__
    sources = _restore(space)
    ended = 0
    try:
        tree = ast.parse(code, "cell.py")
        _run(tree, space)
        sources += [
            text for node in tree.body if isinstance(node, _KEPT) and (text := ast.get_source_segment(code, node))
        ]
    except SystemExit as error:
        ended = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException as error:  # noqa: BLE001 - what the code raises is the code's, and is shown
        _report(error)
        ended = 1
    _keep(space, sources)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended & 0xFF)


def _run(tree: ast.Module, space: dict[str, Any]) -> None:
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell.py", "exec"), space)  # noqa: S102 - this is what it is for
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell.py", "eval"), space)  # noqa: S307
        if value is not None:
            print(repr(value))


def _report(error: BaseException) -> None:
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_code.co_filename != "cell.py":
        shown = shown.tb_next
    traceback.print_exception(type(error), error, shown)


def _restore(space: dict[str, Any]) -> list[str]:
    """What cells before have left; the sources of what they defined."""
    with contextlib.suppress(BaseException), open(SESSION, "rb") as file:  # noqa: PTH123
        sources, values = pickle.load(file)  # noqa: S301 - see the module
        for source in sources:
            with contextlib.suppress(BaseException):
                exec(compile(source, "cell.py", "exec"), space)  # noqa: S102
        for name, value in values.items():
            with contextlib.suppress(BaseException):
                space[name] = pickle.loads(value)  # noqa: S301
        return sources
    return []


def _keep(space: dict[str, Any], sources: list[str]) -> None:
    values: dict[str, bytes] = {}
    room = MAX_BYTES
    for name, value in space.items():
        if name.startswith("__") or isinstance(value, (types.ModuleType, types.FunctionType, type)):
            continue
        with contextlib.suppress(BaseException):
            pickled = pickle.dumps(value)
            if len(pickled) <= room:
                values[name], room = pickled, room - len(pickled)
    with contextlib.suppress(BaseException), open(SESSION, "wb") as file:  # noqa: PTH123
        pickle.dump((list(dict.fromkeys(sources)), values), file)
