"""Attacks on the sandbox. Each runs with all layers and with each of the two outer ones alone, since either must do."""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs in a test's loop

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from mainspring.compute import sandbox as module
from mainspring.compute.sandbox import LAYERS, Sandbox, SandboxLimits
from mainspring.core.errors import EngineUnavailable, InvalidRequest, Unavailable
from mainspring.core.types import Ran

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's"),
    pytest.mark.asyncio(loop_scope="module"),
]

QUICK = SandboxLimits(wall_s=20, cpu_s=20, memory_bytes=300 * 2**20, disk_bytes=8 * 2**20, output_bytes=2**16)
CHOICES = (LAYERS, ("namespaces", "seccomp"), ("landlock", "seccomp"))


async def started(**choices: Any) -> Sandbox:
    """A sandbox with these layers, on a machine that has them."""
    sandbox = Sandbox(limits=QUICK, concurrency=4, **choices)
    try:
        await sandbox.start()
    except EngineUnavailable as error:
        pytest.skip(error.message)
    return sandbox


@pytest_asyncio.fixture(params=CHOICES, ids="+".join, scope="module", loop_scope="module")
async def shared(request: pytest.FixtureRequest) -> AsyncGenerator[Sandbox]:
    sandbox = await started(layers=request.param)
    assert set(sandbox.layers) == set(request.param)
    yield sandbox
    await sandbox.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(shared: Sandbox) -> AsyncGenerator[Sandbox]:
    """One nursery for all attacks: it must live through every one of them."""
    nursery = shared._process.pid
    yield shared
    assert (await shared.run("print('alive')")).stdout == b"alive\n"
    assert shared._process.pid == nursery, "the attack ended the nursery"


@pytest_asyncio.fixture(loop_scope="module")
async def any_sandbox() -> AsyncGenerator[Sandbox]:
    sandbox = await started()
    yield sandbox
    await sandbox.stop()


async def attempt(sandbox: Sandbox, code: str) -> str:
    """What becomes of code that must fail: the name of its exception, or "worked"."""
    program = lines(
        "try:",
        f"{textwrap.indent(code, '    ')}",
        "except BaseException as error:",
        "    print(type(error).__name__)",
        "else:",
        "    print('worked')",
    )
    ran = await sandbox.run(program)
    assert ran.ended == "", ran
    return ran.stdout.decode().split()[-1]


def lines(*given: str) -> str:
    return "\n".join(given)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing else says so
        await asyncio.sleep(0)


def below(sandbox: Sandbox) -> list[psutil.Process]:
    """Every process of the sandbox but its launcher and its nursery."""
    (nursery,) = psutil.Process(sandbox._process.pid).children()
    return nursery.children(recursive=True)


async def test_a_run(sandbox: Sandbox) -> None:
    code = lines(
        "import sys, os",
        "print(sys.stdin.read(), open('in/a.txt').read())",
        "open('out.bin', 'wb').write(b'x\\xff')",
        "sys.exit(3)",
    )
    ran = await sandbox.run(code, files={"in/a.txt": b"given"}, stdin=b"typed")
    assert (ran.stdout, ran.exit_code, ran.ended) == (b"typed given\n", 3, "")
    assert ran.files == {"out.bin": b"x\xff"}


async def test_a_traceback_is_the_codes_own(sandbox: Sandbox) -> None:
    ran = await sandbox.run("def f():\n    raise ValueError('why')\nf()")
    assert ran.exit_code == 1
    assert ran.stderr.decode().splitlines() == [
        "Traceback (most recent call last):", '  File "main.py", line 3, in <module>', '  File "main.py", line 2, in f',
        "ValueError: why",
    ]  # fmt: skip


async def test_numpy_can_be_imported_and_mainspring_cannot(sandbox: Sandbox) -> None:
    assert (await sandbox.run("import numpy; print(numpy.arange(4).sum())")).stdout == b"6\n"
    assert await attempt(sandbox, "import mainspring.store.db") in ("ModuleNotFoundError", "PermissionError")
    assert await attempt(sandbox, "import starlette.applications") in ("ModuleNotFoundError", "PermissionError")


async def test_each_run_has_random_numbers_of_its_own(sandbox: Sandbox) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.rand())"
    first, second = [(await sandbox.run(code)).stdout.split() for _ in range(2)]
    assert first[0] != second[0]
    assert first[1] != second[1]


async def test_runs_see_nothing_of_one_another(sandbox: Sandbox) -> None:
    await sandbox.run("import os; open(os.environ['TMPDIR'] + '/left', 'w').write('x'); open('left', 'w')")
    ran = await sandbox.run("import os; print(os.listdir('.'), os.listdir(os.environ['TMPDIR']))")
    assert ran.stdout == b"[] []\n"


async def test_nothing_of_the_server_comes_in(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "sk-secret")
    code = lines(
        "import os",
        "opened = []",
        "for fd in range(3, 300):",
        "    try:",
        "        os.fstat(fd); opened.append(fd)",
        "    except OSError: pass",
        "print(dict(os.environ), opened)",
    )
    async with Sandbox(layers=sandbox.layers) as other:
        ran = await other.run(code)
    assert b"secret" not in ran.stdout
    assert ran.stdout.endswith(b"} []\n")


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
async def test_no_sockets(sandbox: Sandbox, family: str) -> None:
    kind = "SOCK_RAW" if family in ("AF_NETLINK", "AF_PACKET") else "SOCK_STREAM"
    assert await attempt(sandbox, f"import socket; socket.socket(socket.{family}, socket.{kind})") == "PermissionError"


async def test_no_datagrams_through_a_pair(sandbox: Sandbox) -> None:
    assert await attempt(sandbox, "import socket; socket.socketpair(type=socket.SOCK_DGRAM)") == "PermissionError"
    assert await attempt(sandbox, "import asyncio; asyncio.run(asyncio.sleep(0))") == "worked"


async def test_nobody_is_reached_without_seccomp_either(tmp_path: Path) -> None:
    """The namespace alone has no network: what listens on this machine, and its abstract sockets, are not there."""
    server, hidden = socket.socket(), socket.socket(socket.AF_UNIX)
    with server, hidden:
        server.bind(("127.0.0.1", 0))
        server.listen()
        hidden.bind("\0mainspring-test")
        hidden.listen()
        async with Sandbox(limits=QUICK, layers=("namespaces",), weak=True) as sandbox:
            await sandbox.start()
            if "namespaces" not in sandbox.layers:
                pytest.skip("no namespaces here")
            connect = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
            assert await attempt(sandbox, connect) == "OSError"
            abstract = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0mainspring-test')"
            assert await attempt(sandbox, abstract) == "ConnectionRefusedError"


FILES = ("/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/1/environ", "/proc/cpuinfo", "/dev/kmsg")
FOLDERS = ("/root", "/home", "/var", "/sys", "/proc", "/dev/shm", "/etc", "/")
REFUSED = ("PermissionError", "FileNotFoundError")


@pytest.mark.parametrize("path", FILES)
async def test_other_files_cannot_be_read(sandbox: Sandbox, path: str) -> None:
    assert await attempt(sandbox, f"open({path!r}).read(1)") in REFUSED


@pytest.mark.parametrize("path", FOLDERS)
async def test_other_folders_hold_nothing(sandbox: Sandbox, path: str) -> None:
    """Where landlock does not refuse to list them, they are empty but for what leads to the interpreter."""
    ran = await sandbox.run(f"import os; print(' '.join(os.listdir({path!r})))")
    if ran.exit_code == 0:
        places = module._places(module.PACKAGES, (), module.PRELOADED)
        readable = [part for place in places["readable"] for part in Path(place).parts]
        assert set(ran.stdout.decode().split()) <= {*readable, "box", "tmp", "dev", "mnt"}


async def test_code_finds_its_files_where_it_expects_them(sandbox: Sandbox) -> None:
    code = "import os; print(os.path.samefile('/mnt/data', '.') if os.path.exists('/mnt/data') else 'none')"
    ran = await sandbox.run(code)
    assert ran.stdout.decode().strip() == ("True" if "namespaces" in sandbox.layers else "none")


async def test_the_data_directory_cannot_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the key")
    secret.chmod(0o644)
    assert await attempt(sandbox, f"print(open({str(secret)!r}).read())") in REFUSED
    for route in (f"/proc/{os.getpid()}/root{secret}", f"/proc/self/root{secret}", f"/dev/fd/../../{secret}"):
        assert await attempt(sandbox, f"print(open({route!r}).read())") in REFUSED


@pytest.mark.parametrize(
    "path", ["/x", "/usr/lib/x", "/usr/bin/x", "/dev/x", "{prefix}/x", "{tmp}/x", "/box/x", "/etc/x"]
)
async def test_nothing_outside_can_be_written(sandbox: Sandbox, path: str, tmp_path: Path) -> None:
    path = path.format(prefix=Path(os.__file__).parent, tmp=tmp_path)
    await attempt(sandbox, f"open({path!r}, 'w').write('x')")
    assert not Path(path).exists()
    kept = Path(os.__file__).read_bytes()
    assert await attempt(sandbox, f"open({os.__file__!r}, 'a').write('x')") in ("PermissionError", "OSError")
    assert Path(os.__file__).read_bytes() == kept


LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"


@pytest.mark.parametrize(
    "call",
    [
        "libc.ptrace(16, os.getppid(), 0, 0)",
        "libc.unshare(0x10000000)",
        "libc.mount(b'none', b'/box', b'tmpfs', 0, None)",
        "libc.umount2(b'/usr/lib', 2)",
        "libc.chroot(b'/')",
        "libc.setns(0, 0)",
        "libc.prctl(1, 0, 0, 0, 0)",
        "libc.ioctl(0, 0x5412, b'x')",
        "libc.syscall(425, 8, 0)",
        "libc.syscall(319, b'x', 0)",
        "libc.shmget(0, 4096, 0o1600)",
        "libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0)",
        "libc.prlimit(os.getppid() or 1, 7, 0, 0)",
        "libc.syscall(321, 0, 0, 0)",
        "libc.clone(0, 0, 0x10000000 | 17, 0)",
        "libc.reboot(0)",
        "libc.execve(b'/bin/true', 0, 0)",
        "libc.fork()",
        "libc.vfork()",
    ],
)
async def test_calls_to_the_kernel_that_are_refused(sandbox: Sandbox, call: str) -> None:
    code = f"{LIBC}print({call}, ctypes.get_errno())"
    result, number = (await sandbox.run(code)).stdout.split()
    assert result == b"-1"
    assert int(number) in (1, 22, 38)  # not permitted, or unknown to this kernel


async def test_layers_cannot_be_taken_off(sandbox: Sandbox) -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)"
    assert await attempt(sandbox, code) in ("ValueError", "PermissionError")
    allow_all = f"{LIBC}print(libc.prctl(22, 0, 0, 0, 0), ctypes.get_errno()); import socket; socket.socket()"
    assert await attempt(sandbox, allow_all) == "PermissionError"


async def test_becoming_root(sandbox: Sandbox) -> None:
    code = "import os\nos.setresuid(0, 0, 0)\nopen('/etc/shadow').read()"
    assert await attempt(sandbox, code) in ("PermissionError", "FileNotFoundError", "OSError")
    ran = await sandbox.run(LIBC + "print(libc.prctl(23, 21, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0))")
    assert ran.stdout == b"0 1\n"  # CAP_SYS_ADMIN is not to be had, and no_new_privs is on


@pytest.mark.parametrize("aim", ["os.getppid()", "1", "-1", "0", "-os.getppid()"])
async def test_signals_to_others(sandbox: Sandbox, aim: str) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
    try:
        for name in ("SIGKILL", "SIGUSR1"):
            await sandbox.run(f"import os, signal; os.kill({aim}, signal.{name})")
        await sandbox.run(f"import os, signal; os.kill({os.getpid()}, signal.SIGUSR1)")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught == []


async def test_signals_through_descriptors(sandbox: Sandbox) -> None:
    code = "import fcntl, os; r, w = os.pipe()\nfcntl.fcntl(r, {}, {})"
    assert await attempt(sandbox, code.format("fcntl.F_SETOWN", os.getpid())) == "PermissionError"
    assert await attempt(sandbox, code.format("10", 9)) == "PermissionError"
    assert await attempt(sandbox, code.format("fcntl.F_SETFL", "os.O_NONBLOCK")) == "worked"


async def test_nothing_of_other_files_can_be_changed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Landlock by itself lets code change modes and times of files that it may not open."""
    mine = tmp_path / "mine"
    mine.write_text("x")
    mine.chmod(0o600)
    before = mine.stat()
    for path in (str(mine), os.__file__):
        for act in (
            "chmod(p, 0o777)",
            "utime(p, (0, 0))",
            "chown(p, -1, -1)",
            "setxattr(p, 'user.a', b'x')",
            "truncate(p, 0)",
        ):
            assert await attempt(sandbox, f"import os; p = {path!r}; os.{act}") in (*REFUSED, "OSError"), act
    assert (mine.stat().st_mode, mine.stat().st_mtime_ns, mine.read_text()) == (before.st_mode, before.st_mtime_ns, "x")


async def test_a_fork_bomb(sandbox: Sandbox) -> None:
    assert await attempt(sandbox, "import os\nwhile True: os.fork()") == "PermissionError"
    assert await attempt(sandbox, "import subprocess; subprocess.run(['/bin/true'])") == "PermissionError"


async def test_a_bomb_of_threads(sandbox: Sandbox) -> None:
    code = lines(
        "import threading",
        "threading.stack_size(32768)",
        "block = threading.Event()",
        "while True: threading.Thread(target=block.wait, daemon=True).start()",
    )
    assert await attempt(sandbox, code) == "RuntimeError"


async def test_a_fork_bomb_of_a_program_that_may_have_processes(any_sandbox: Sandbox) -> None:
    if "namespaces" not in any_sandbox.layers:
        pytest.skip("programs need namespaces")
    limits = SandboxLimits(wall_s=1, disk_bytes=2**20, processes=16)
    ran = await any_sandbox.run(argv=["/bin/sh", "-c", "f() { f | f & }; while true; do f; done"], limits=limits)
    assert ran.ended in ("timeout", "")
    assert ran.exit_code != 0
    assert (await any_sandbox.run("print(1)")).stdout == b"1\n"
    assert not [each for each in below(any_sandbox) if each.status() != psutil.STATUS_ZOMBIE and each.name() == "sh"]


async def test_a_program(any_sandbox: Sandbox) -> None:
    if "namespaces" not in any_sandbox.layers:
        pytest.skip("programs need namespaces")
    ran = await any_sandbox.run(
        argv=["/bin/sh", "-c", "cat; echo there > out; ls"], stdin=b"hi\n", limits=SandboxLimits(processes=8)
    )
    assert (ran.stdout, ran.files) == (b"hi\nout\n", {"out": b"there\n"})


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(10**10)",
        "x = []\nwhile True: x.append(bytearray(10**6))",
        "import mmap\nx = [mmap.mmap(-1, 10**8, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(100)]",
        "import numpy; numpy.ones(10**10)",
        "'x' * 10**10",
    ],
)
async def test_memory(sandbox: Sandbox, code: str) -> None:
    assert await attempt(sandbox, code) in ("MemoryError", "OSError", "_ArrayMemoryError")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_endless_output(sandbox: Sandbox, stream: str) -> None:
    ran = await sandbox.run(f"import sys\nwhile True: sys.{stream}.write('x' * 10000)")
    assert ran.ended == "output"
    assert len(getattr(ran, stream)) == QUICK.output_bytes


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import sys, os; os.close(1); os.close(2); os.close(0)\nwhile True: pass",
        lines(
            "import signal",
            "for n in range(1, 65):",
            "    try: signal.signal(n, signal.SIG_IGN)",
            "    except (OSError, ValueError): pass",
            "while True: pass",
        ),
        "(lambda f: f(f))(lambda f: [f(f) for _ in range(1)] if False else [0 for _ in iter(int, 1)])",
        "10 ** 10 ** 9",
        "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
        "import os; r, w = os.pipe(); os.read(r, 1)",
    ],
)
async def test_endless_loops(sandbox: Sandbox, code: str) -> None:
    ran = await sandbox.run(code, limits=SandboxLimits(wall_s=0.3, memory_bytes=2**30))
    assert ran.ended == "timeout"
    assert ran.exit_code == -signal.SIGKILL


async def test_processor_time(sandbox: Sandbox) -> None:
    ran = await sandbox.run("while True: pass", limits=SandboxLimits(wall_s=60, cpu_s=0))
    assert ran.ended in ("cpu", "killed")


@pytest.mark.parametrize(
    "code",
    [
        "f = open('big', 'wb')\nwhile True: f.write(bytes(2**20)); f.flush()",
        "open('sparse', 'wb').truncate(2**40)",
        "import os; os.posix_fallocate(os.open('big', os.O_CREAT | os.O_WRONLY), 0, 2**40)",
    ],
)
async def test_large_files(sandbox: Sandbox, code: str) -> None:
    ran = await sandbox.run(code)
    assert ran.exit_code != 0
    assert ran.files.keys() <= {"big", "sparse"}
    assert sum(map(len, ran.files.values())) <= QUICK.output_bytes


async def test_many_files(sandbox: Sandbox) -> None:
    code = "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(100000)); n += 1"
    ran = await sandbox.run(code)
    assert ran.ended == "disk" or b"No space left" in ran.stderr
    assert sum(map(len, ran.files.values())) <= QUICK.output_bytes


async def test_files_that_are_none(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the key")
    code = lines(
        "import os",
        "os.symlink('/etc/passwd', 'a')",
        f"os.symlink({str(tmp_path)!r}, 'b')",
        "os.mkfifo('c')",
        "open('d', 'w').write('mine')",
        "os.mkdir('e', 0)",
    )
    ran = await sandbox.run(code)
    assert ran.exit_code == 0, ran.stderr
    assert ran.files == {"d": b"mine"}


async def test_a_crash_is_the_codes_own(sandbox: Sandbox) -> None:
    assert (await sandbox.run("import ctypes; ctypes.string_at(0)")).exit_code == -signal.SIGSEGV
    assert (await sandbox.run("import os; os._exit(7)")).exit_code == 7


async def test_code_cannot_answer_for_its_warden(sandbox: Sandbox) -> None:
    """Whatever it does with the frames around it, what comes back is what the warden saw."""
    code = lines(
        "import sys, os",
        "frame = sys._getframe(1)",
        "while frame:",
        "    for name, value in frame.f_locals.items():",
        "        print(name)",
        "    frame = frame.f_back",
        "for fd in range(3, 100):",
        "    try: os.write(fd, b'x' * 8)",
        "    except OSError: pass",
    )
    ran = await sandbox.run(code)
    assert ran.exit_code == 0
    assert ran.ended == ""


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a//b", "./a", "a\0b"])
async def test_input_files_stay_inside(any_sandbox: Sandbox, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await any_sandbox.run("", files={name: b""})


async def test_letting_go_ends_the_run(sandbox: Sandbox) -> None:
    task = asyncio.create_task(sandbox.run("while True: pass"))
    await until(lambda: below(sandbox))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    running = [each for each in below(sandbox) if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not psutil.wait_procs(running, timeout=20)[1]


async def test_runs_beside_one_another(sandbox: Sandbox) -> None:
    ran = await asyncio.gather(*(sandbox.run(f"print({number})") for number in range(20)))
    assert [each.stdout for each in ran] == [f"{number}\n".encode() for number in range(20)]


async def test_a_nursery_that_died_is_replaced(any_sandbox: Sandbox) -> None:
    task = asyncio.create_task(any_sandbox.run("while True: pass"))
    await until(lambda: below(any_sandbox))
    processes = psutil.Process(any_sandbox._process.pid).children(recursive=True)
    any_sandbox._process.kill()
    with pytest.raises(Unavailable):
        await task
    assert not psutil.wait_procs(processes, timeout=20)[1], "all of it ends with the launcher"
    assert (await any_sandbox.run("print(1)")).stdout == b"1\n"


async def test_everything_ends_with_the_server(tmp_path: Path, any_sandbox: Sandbox) -> None:
    program = (
        "import asyncio\nfrom mainspring.compute.sandbox import Sandbox\n"
        "async def main():\n"
        "    sandbox = Sandbox()\n    await sandbox.start()\n"
        "    run = asyncio.create_task(sandbox.run('while True: pass'))\n"
        "    await asyncio.sleep(0)\n    print(sandbox._process.pid, sandbox._scratch, flush=True)\n    await run\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ)) as server:
        number, scratch = server.stdout.readline().split()
        launcher = psutil.Process(int(number))
        assert Path(scratch.decode()).exists()
        await until(lambda: len(launcher.children(recursive=True)) >= 3)
        processes = launcher.children(recursive=True)
        server.kill()
    assert not psutil.wait_procs([launcher, *processes], timeout=20)[1]
    assert not Path(scratch.decode()).exists()


async def test_too_little_isolation_is_refused() -> None:
    async with Sandbox(layers=("namespaces",)) as sandbox:
        with pytest.raises(EngineUnavailable, match="seccomp: not asked for"):
            await sandbox.run("print(1)")
    async with Sandbox(layers=("seccomp",)) as sandbox:
        with pytest.raises(EngineUnavailable, match="landlock"):
            await sandbox.run("print(1)")
    async with Sandbox(layers=(), weak=True) as sandbox:
        assert (await sandbox.run("print(1)")).stdout == b"1\n"


async def test_a_data_directory_within_what_is_readable_is_refused() -> None:
    async with Sandbox(hidden=(Path("/usr/lib/mainspring"),)) as sandbox:
        with pytest.raises(EngineUnavailable, match="data directory"):
            await sandbox.run("print(1)")


async def test_packages_are_found_with_what_they_need() -> None:
    entries, folders = module._packages(["jsonschema", "no-such-package"])
    names = {Path(each).name for each in entries}
    assert {"jsonschema", "attr", "referencing"} <= names
    assert "starlette" not in names
    assert all(Path(each).exists() for each in (*entries, *folders))


async def test_output_comes_as_it_is_written(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"x" * 3_000_000)
    code = "import sys; data = sys.stdin.buffer.read(); sys.stdout.write('y' * len(data)); sys.exit(3)"
    with path.open("rb") as file:
        *pieces, ran = [piece async for piece in sandbox.stream(code, file.fileno())]
    assert b"".join(pieces) == b"y" * 3_000_000, "output_bytes is not for what is read as it comes"
    assert isinstance(ran, Ran)
    assert (ran.exit_code, ran.stdout) == (3, b"")


async def test_a_source_is_only_read(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    tries = "\n".join(
        f"try:\n    {each}\n    print('did')\nexcept OSError:\n    pass"
        for each in (
            "os.write(0, b'changed')",
            "os.ftruncate(0, 0)",
            f"open({str(path)!r}, 'w')",
            "open('/dev/stdin', 'w')",
        )
    )
    with path.open("rb") as file:
        pieces = [piece async for piece in sandbox.stream(f"import os\n{tries}", file.fileno())]
    assert len(pieces) == 1
    assert path.read_bytes() == b"content"


async def test_who_stops_reading_ends_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"")
    with path.open("rb") as file:
        stream = sandbox.stream("while True: print('x' * 10000)", file.fileno())
        assert await anext(stream)
        await stream.aclose()


async def test_silence_ends_a_run_that_is_read(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"")
    limits = SandboxLimits(wall_s=0.3, memory_bytes=300 * 2**20)
    with path.open("rb") as file:
        (ran,) = [piece async for piece in sandbox.stream("import time; time.sleep(99)", file.fileno(), limits=limits)]
    assert isinstance(ran, Ran)
    assert ran.ended == "timeout"
