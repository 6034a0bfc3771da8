"""The layers of isolation that Linux gives to a process without privileges, through ctypes.

    namespaces   its own network (with nothing in it), its own files, processes and users
    landlock     which files may be read and written, again
    seccomp      which calls to the kernel may be made at all
    limits       memory, processor time, sizes

Each is applied by one function that raises OSError if the kernel refuses. They are one way: nothing that runs
afterwards can take them off. None of it needs root, and all of it works for root.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mainspring.compute.inside import syscalls

__all__ = ["die_with_parent", "drop_privileges", "enter_root", "landlock", "landlock_version", "limit", "mount",
           "namespaces", "note_users", "own_processes", "seccomp"]  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)

NOBODY = 65534
_CLONE = {"files": 0x20000, "names": 0x4000000, "ipc": 0x8000000, "users": 0x10000000, "processes": 0x20000000,
          "network": 0x40000000}  # fmt: skip
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH, _AT_RECURSIVE, _AT_FDCWD = 2, 0x8000, -100
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int | None, *arguments: object) -> int:
    if number is None:
        raise OSError(38, f"{what}: not known for {platform.machine()}")
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def _prctl(what: str, *arguments: int) -> None:
    _check(_libc.prctl(*(ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:5])), what)


def die_with_parent() -> None:
    """Be killed when the parent ends. To be asked again after a change of user, which forgets it."""
    _prctl("prctl", _PR_SET_PDEATHSIG, 9)


# --- namespaces


def namespaces() -> None:
    """Leave the machine's users, network, files, names and shared memory. The processes made from now on are not in
    this one's table of processes but in a new one. The caller has one thread."""
    me = os.getpid()
    told, tell = os.pipe()
    helper = os.fork()
    if helper == 0:  # only from outside may more than one user be given, which root can do
        os.close(tell)
        os._exit(0 if os.read(told, 1) == b"." and _map_users(me) else 1)
    os.close(told)
    wanted = sum(_CLONE[name] for name in ("users", "network", "files", "names", "ipc", "processes"))
    result = _libc.unshare(wanted)
    number = ctypes.get_errno()
    if result == 0:
        os.write(tell, b".")
    os.close(tell)
    _, status = os.waitpid(helper, 0)
    if result != 0:
        raise OSError(number, f"unshare: {os.strerror(number)}")
    if status != 0:
        raise OSError(1, "the users of the new namespace were refused")


def _map_users(pid: int) -> bool:
    """Root stays root of what it makes, and code runs as nobody. For others both are their own user, called nobody."""
    user, group, here = os.getuid(), os.getgid(), f"/proc/{pid}"
    both = (f"0 {user} 1\n{NOBODY} {NOBODY} 1\n", f"0 {group} 1\n{NOBODY} {NOBODY} 1\n")
    one = (f"{NOBODY} {user} 1\n", f"{NOBODY} {group} 1\n")
    for users, groups in (both, one) if user == 0 else (one,):
        with contextlib.suppress(OSError):
            _write(f"{here}/uid_map", users)
            if (users, groups) == one:
                _write(f"{here}/setgroups", "deny")
            _write(f"{here}/gid_map", groups)
            return True
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib costs what this process is to be spared
        file.write(text)


def own_processes() -> None:
    """Of the next process that is made: its own table of processes, in which it is the first, and its own mounts."""
    _check(_libc.unshare(_CLONE["processes"] | _CLONE["files"]), "unshare")


def mount(target: str, options: str) -> None:
    """An empty file system in memory. `options` are tmpfs's."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    given = (b"tmpfs", target.encode(), b"tmpfs", ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*given), f"mount {target}")


def bind(source: str, target: str, *, read_only: bool) -> None:
    """The file or folder `source`, also at `target`, which is there."""
    _check(_libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(_MS_BIND | _MS_REC), None),
           f"bind {source}")  # fmt: skip
    if read_only:
        _read_only(target, recursive=True)


def _read_only(path: str, *, recursive: bool) -> None:
    attributes, depth = struct.pack("QQQQ", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, 0, 0, 0), _AT_RECURSIVE * recursive
    given = (ctypes.c_int(_AT_FDCWD), path.encode(), ctypes.c_uint(depth), attributes, ctypes.c_size_t(len(attributes)))
    _syscall("mount_setattr", _SYS_MOUNT_SETATTR, *given)


DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def enter_root(readable: Sequence[str], folders: Sequence[str], links: Mapping[str, str]) -> None:
    """Make a file system of what is `readable`, under the same paths, and of empty `folders`, and leave all others.

    The new root is mounted over /tmp and turned round with the old one, which needs no folder made for it.
    """
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount /")
    mount("/tmp", "size=1m,mode=0755")  # noqa: S108 - as a place to mount on, never to write to
    os.mkdir("/tmp/.old")  # noqa: PTH102, S108
    _syscall("pivot_root", _SYS_PIVOT_ROOT.get(platform.machine()), b"/tmp", b"/tmp/.old")
    os.chdir("/")
    for path in (*sorted(readable, key=len), *DEVICES):  # a folder before what is in it
        if os.path.lexists(f"/.old{path}"):
            _show(path)
    for folder in folders:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    for path, aim in links.items():
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            os.symlink(aim, path)  # noqa: PTH211
    _check(_libc.umount2(b"/.old", _MNT_DETACH), "umount")
    os.rmdir("/.old")  # noqa: PTH106
    _read_only("/", recursive=False)


def _show(path: str) -> None:
    old = f"/.old{path}"
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    if os.path.lexists(path):
        return
    if os.path.islink(old):  # /lib -> usr/lib  # noqa: PTH114
        os.symlink(os.readlink(old), path)  # noqa: PTH115, PTH211
        return
    if os.path.isdir(old):  # noqa: PTH112
        os.mkdir(path)  # noqa: PTH102
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    bind(old, path, read_only=path not in DEVICES)


def drop_privileges() -> None:
    """No capability is left, and none can be had again."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    if os.getuid() == 0 and _is_mapped(NOBODY):
        with contextlib.suppress(OSError):
            os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _syscall("capset", _SYS_CAPSET.get(platform.machine()), header, nothing)
    _prctl("prctl", _PR_SET_NO_NEW_PRIVS, 1)


_MAPPED: set[int] = set()


def _is_mapped(user: int) -> bool:
    return user in _MAPPED


def note_users() -> None:
    """Remember which users there are, before /proc is out of sight. In the machine's own namespace none is changed to:
    nobody may not be able to read the interpreter's files."""
    with open("/proc/self/uid_map") as file:  # noqa: PTH123
        rows = [[int(number) for number in line.split()] for line in file]
    if not any(length > NOBODY for _, _, length in rows):
        _MAPPED.update(first for first, _, _ in rows)


# --- landlock

_TRUNCATES = 3  # the first version that knows of it
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read files, read folders
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what can be done with a file that is no folder


def landlock_version() -> int:
    """Which version of landlock the kernel has; 0 is none."""
    return max(_libc.syscall(ctypes.c_long(_SYS_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1)), 0)


def landlock(readable: Iterable[str], listed: Iterable[str], writable: Iterable[str]) -> None:
    """From now on: read below `readable`, list the folders below `listed`, everything below `writable`, and no more.
    Where the kernel can: no TCP, no signals and no abstract sockets to processes outside."""
    version = landlock_version()
    if version < _TRUNCATES:
        raise OSError(38, "landlock: this kernel's cannot keep files from being emptied; Linux 6.2 can")
    rights = (1 << {3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _syscall("landlock", _SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        allowed = [*((path, _READ) for path in readable), *((path, 1 << 3) for path in listed),
                   *((path, rights & ~1) for path in (*writable, *DEVICES))]  # fmt: skip
        for path, wanted in allowed:
            _allow(rules, path, wanted & rights)
        _prctl("prctl", _PR_SET_NO_NEW_PRIVS, 1)
        _syscall("landlock", _SYS_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, wanted: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        wanted &= wanted if os.path.isdir(path) else _FILE  # noqa: PTH112
        rule = struct.pack("=Qi", wanted, place)
        _syscall(f"landlock {path}", _SYS_LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint(0))
    finally:
        os.close(place)


# --- seccomp

_LOAD, _EQUAL, _ABOVE, _SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_THREAD, _NEW = 0x10000, 0x7E020000  # of clone's flags: a thread; anything in a namespace of its own

_TERMINAL, _OWNERS = (0x5412, 0x541C), (0x8901, 0x8902)
"""Of ioctl: what types into a terminal, and who is signalled about a descriptor."""
_SIGNALLED = (8, 10, 15)
"""Of fcntl, the same: a way to send any signal to any process of the same user."""

Program = list[tuple[int, int, int, int]]


def _argument(place: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * place)  # its lower half: all machines here are little-endian


def _only_if(number: int, place: int, value: int) -> Program:
    """Call `number` is allowed if an argument is just so."""
    return [(_EQUAL, 0, 4, number), _argument(place), (_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _EPERM)]  # fmt: skip


def _never_if(number: int, place: int, *values: int) -> Program:
    """Call `number` is refused if an argument is one of these."""
    body = [_argument(place)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _EPERM)]
    body.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(body), number), *body]


def _clone(number: int, *, forks: bool) -> Program:
    """Threads, and with `forks` processes, but none in a namespace of its own."""
    flags = [(_SET, 0, 1, _NEW), (_RETURN, 0, 0, _EPERM)]
    if not forks:
        flags += [(_SET, 1, 0, _THREAD), (_RETURN, 0, 0, _EPERM)]
    body = [_argument(0), *flags, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(body), number), *body]


def _rules(*, forks: bool, starts: bool, alone: bool) -> Iterator[Program]:
    machine = syscalls.X86_64 if platform.machine() == "x86_64" else syscalls.AARCH64
    if platform.machine() not in ("x86_64", "aarch64"):
        raise OSError(38, f"seccomp: no table for {platform.machine()}")
    numbers = syscalls.NUMBERS[machine]
    yield [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    yield [(_ABOVE, 0, 1, syscalls.BEYOND), (_RETURN, 0, 0, _ENOSYS)]  # x86's other table of numbers lies there too
    yield [(_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, _ENOSYS)]  # libraries then use clone, which can be read
    refused = [*syscalls.REFUSED, *(() if starts else syscalls.STARTS), *(() if forks else ("fork", "vfork"))]
    if not alone:
        refused += [*(name for name in syscalls.SIGNALS if name != "tgkill"), *syscalls.ATTRIBUTES, "clone"]
        yield _only_if(numbers["tgkill"], 0, os.getpid())
    for name in refused:
        if name in numbers:
            yield [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, _EPERM)]
    yield _never_if(numbers["prctl"], 0, _PR_SET_PDEATHSIG)
    yield _only_if(numbers["prlimit64"], 0, 0)
    yield _never_if(numbers["ioctl"], 1, *_TERMINAL, *_OWNERS)
    yield _never_if(numbers["fcntl"], 1, *_SIGNALLED)
    yield [(_EQUAL, 0, 5, numbers["socketpair"]), _argument(1), (0x54, 0, 0, 0xF), (_EQUAL, 0, 1, 1),
           (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]  # fmt: skip
    if alone:
        yield _clone(numbers["clone"], forks=forks)
    yield [(_RETURN, 0, 0, _ALLOW)]


def seccomp(*, forks: bool = False, starts: bool = False, alone: bool) -> None:
    """Refuse this process, for good, what `syscalls` lists: networks above all.

    Args:
        forks: it may make processes; threads it always may, if it is `alone`.
        starts: it may start other programs.
        alone: it has processes and files of its own. Otherwise it may signal only itself, make no process or thread,
            and change no mode, owner or time of a file.
    """
    program = [each for rule in _rules(forks=forks, starts=starts, alone=alone) for each in rule]
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    held = ctypes.create_string_buffer(code)
    filters = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(held))
    _prctl("prctl", _PR_SET_NO_NEW_PRIVS, 1)
    given = ctypes.create_string_buffer(filters)
    _prctl("seccomp", _PR_SET_SECCOMP, 2, ctypes.addressof(given))


# --- limits


def limit(*, memory_bytes: int, cpu_s: int, file_bytes: int, processes: int | None) -> None:
    """Bounds of one process: its address space, processor time, the size of a file, and how many processes and threads
    its user may have (None leaves that)."""
    bounds = {
        resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 64, resource.RLIMIT_CORE: 0, resource.RLIMIT_MEMLOCK: 0, resource.RLIMIT_MSGQUEUE: 0,
    }  # fmt: skip
    if processes is not None:
        bounds[resource.RLIMIT_NPROC] = processes
    for kind, wanted in bounds.items():
        _, most = resource.getrlimit(kind)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (value, value))
