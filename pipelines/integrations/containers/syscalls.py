"""The system calls that a bubblewrap sandbox is denied, as a filter program for the kernel.

The instructions are those of classic BPF over ``struct seccomp_data``, see seccomp(2) and
``linux/filter.h``. Denied is what Docker's default profile denies and a test suite does not need.
"""

import errno
import struct
from collections.abc import Iterator, Mapping

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000

_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK. AF_VSOCK above all is not among them: it reaches the
host of a virtual machine from within any network namespace."""
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put words into the terminal that they run on."""

_COMMON = dict.fromkeys(range(425, 434)) | dict.fromkeys((438, 442, 443))
"""io_uring, the mount calls from open_tree to fspick, pidfd_getfd, mount_setattr, quotactl_fd."""

_DENIED: Mapping[str, tuple[int, ...]] = {
    "x86_64": (
        *(101, 103, 155, 161, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176),
        *(177, 178, 179, 180, 212, 227, 246, 248, 249, 250, 256, 272, 279, 298, 300, 303, 304, 305),
        *(308, 310, 311, 312, 313, 320, 321, 323, *_COMMON),
    ),
    "aarch64": (
        *(117, 116, 41, 51, 89, 170, 40, 39, 224, 225, 142, 161, 162, 105, 106, 60, 18, 112, 104),
        *(217, 218, 219, 238, 97, 239, 241, 262, 264, 265, 266, 268, 270, 271, 272, 273, 294, 280),
        *(282, *_COMMON),
    ),
}
"""ptrace, syslog, pivot_root, chroot, acct, settimeofday, mount, umount2, swapon, swapoff, reboot,
sethostname, setdomainname, (iopl, ioperm, create_module), init_module, delete_module,
(get_kernel_syms, query_module), quotactl, (nfsservctl), lookup_dcookie, clock_settime, kexec_load,
add_key, request_key, keyctl, migrate_pages, unshare, move_pages, perf_event_open, fanotify_init,
name_to_handle_at, open_by_handle_at, clock_adjtime, setns, process_vm_readv, process_vm_writev,
kcmp, finit_module, kexec_file_load, bpf, userfaultfd; in brackets what only x86_64 has."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_CLONE3 = 435
_X32 = 0x40000000


def filter_program(machine: str) -> bytes | None:
    """Return the filter for a machine as ``os.uname`` names it; None for one that is not known."""
    if machine not in _ARCHITECTURES:
        return None
    return b"".join(struct.pack("<HBBI", *each) for each in _instructions(machine))


def _instructions(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield (code, steps if true, steps if false, operand)."""
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    yield from [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _ARCHITECTURES[machine])]
    yield (_RETURN, 0, 0, _KILL)
    yield (_LOAD, 0, 0, _NUMBER)
    if machine == "x86_64":
        yield from [(_AT_LEAST, 0, 1, _X32), refuse]
    for number in _DENIED[machine]:
        yield from [(_EQUAL, 0, 1, number), refuse]
    # Its flags are behind a pointer, which a filter cannot follow; libraries then use clone.
    yield from [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    yield from [(_EQUAL, 0, 3, _CLONE[machine]), (_LOAD, 0, 0, _FIRST)]
    yield from [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), refuse, (_LOAD, 0, 0, _NUMBER)]
    yield from [(_EQUAL, 0, len(_TERMINAL_INPUT) + 2, _IOCTL[machine]), (_LOAD, 0, 0, _SECOND)]
    for left, request in reversed(list(enumerate(_TERMINAL_INPUT))):
        yield (_EQUAL, left, 0 if left else 1, request)
    yield refuse
    yield (_LOAD, 0, 0, _NUMBER)
    yield from [(_EQUAL, 0, len(_FAMILIES) + 2, _SOCKET[machine]), (_LOAD, 0, 0, _FIRST)]
    for place, family in enumerate(_FAMILIES):
        yield (_EQUAL, len(_FAMILIES) - place, 0, family)
    yield (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT)
    yield (_RETURN, 0, 0, _ALLOW)
