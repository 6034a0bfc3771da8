"""System calls that a sandboxed process is refused, by machine: seccomp's filter is made from this."""

__all__ = ["AARCH64", "ATTRIBUTES", "BEYOND", "FORKS", "NUMBERS", "REFUSED", "SIGNALS", "STARTS", "X86_64"]

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
"""Audit architectures, as the kernel names them to a filter."""

BEYOND = 451
"""The newest call that this table knows. What came later is answered as if the kernel did not have it."""

_TABLE = """
socket 41 198, bind 49 200, listen 50 201, accept 43 202, accept4 288 242, connect 42 203, ptrace 101 117,
process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, perf_event_open 298 241, bpf 321 280,
keyctl 250 219, add_key 248 217, request_key 249 218, userfaultfd 323 282, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51,
unshare 272 97, setns 308 268, open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431,
fsmount 432 432, fspick 433 433, mount_setattr 442 442, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225,
sethostname 170 161, setdomainname 171 162, syslog 103 116, acct 163 89, quotactl 179 60, quotactl_fd 443 443,
settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, personality 135 92,
open_by_handle_at 304 265, name_to_handle_at 303 264, pidfd_getfd 438 438, pidfd_open 434 434,
process_madvise 440 440, process_mrelease 448 448, memfd_create 319 279, memfd_secret 447 447, shmget 29 194,
shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192, msgget 68 186,
msgsnd 69 189, msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181, fanotify_init 300 262,
migrate_pages 256 238, move_pages 279 239, setpriority 141 140, sched_setscheduler 144 119, sched_setparam 142 118,
sched_setaffinity 203 122, sched_setattr 314 274, ioprio_set 251 30, vhangup 153 58, lookup_dcookie 212 18,
iopl 172 -, ioperm 173 -, modify_ldt 154 -, uselib 134 -,
kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
pidfd_send_signal 424 424, fork 57 -, vfork 58 -, clone 56 220, clone3 435 435, execve 59 221, execveat 322 281,
socketpair 53 199, prctl 157 167, prlimit64 302 261, ioctl 16 29, fcntl 72 25,
chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, setxattr 188 5,
lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, utime 132 -,
utimes 235 -, futimesat 261 -, utimensat 280 88, inotify_add_watch 254 27
"""


def _numbers() -> dict[int, dict[str, int]]:
    rows = [row.split() for row in _TABLE.replace("\n", " ").split(",")]
    return {
        machine: {row[0]: int(row[place]) for row in rows if row[place] != "-"}
        for machine, place in ((X86_64, 1), (AARCH64, 2))
    }


NUMBERS = _numbers()
"""Machine -> name -> number."""

FORKS = ("fork", "vfork", "clone", "clone3")
STARTS = ("execve", "execveat")
SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
ATTRIBUTES = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr",
    "removexattr", "lremovexattr", "fremovexattr", "utime", "utimes", "futimesat", "utimensat", "inotify_add_watch",
)  # fmt: skip
"""What can be done to files that may not be opened, as far as landlock is concerned."""
_LOOKED_INTO = ("socketpair", "prctl", "prlimit64", "ioctl", "fcntl")  # refused by their arguments

REFUSED = tuple(name for name in NUMBERS[X86_64] if name not in (*FORKS, *STARTS, *SIGNALS, *ATTRIBUTES, *_LOOKED_INTO))
"""Refused always."""
