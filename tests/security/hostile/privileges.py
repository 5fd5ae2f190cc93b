"""Asks the kernel for what only a privileged process should get; arguments are left out."""

import guard

guard.confined()

import ctypes
import errno
import os
import platform
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEW_USER = 0x10000000
NUMBERS = {
    "x86_64": {"clone": 56, "keyctl": 250, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
               "kexec_load": 246, "open_by_handle_at": 304, "io_uring_setup": 425, "fsopen": 430,
               "clone3": 435, "ptrace": 101, "process_vm_readv": 310},
    "aarch64": {"clone": 220, "keyctl": 219, "bpf": 280, "userfaultfd": 282,
                "perf_event_open": 241, "kexec_load": 104, "open_by_handle_at": 265,
                "io_uring_setup": 425, "fsopen": 430, "clone3": 435, "ptrace": 117,
                "process_vm_readv": 270},
}[platform.machine()]
room = ctypes.create_string_buffer(256)
path = ctypes.create_string_buffer(b"/tmp")


def call(name, *arguments):
    return libc.syscall(NUMBERS[name], *arguments)


ATTEMPTS = {
    "mount": lambda: libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None),
    "umount": lambda: libc.umount2(b"/tmp", 2),
    "unshare user": lambda: libc.unshare(NEW_USER),
    "unshare mounts": lambda: libc.unshare(0x20000),
    "clone user": lambda: call("clone", NEW_USER | 17, 0, 0, 0, 0),
    "setns": lambda: libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0),
    "pivot_root": lambda: libc.syscall({"x86_64": 155, "aarch64": 41}[platform.machine()], path, path),
    "chroot": lambda: libc.chroot(b"/tmp"),
    "setuid": lambda: libc.setuid(0),
    "mknod": lambda: libc.mknod(b"/tmp/device", 0o60666, 0xFE00),
    "sethostname": lambda: libc.sethostname(b"x", 1),
    "ptrace": lambda: call("ptrace", 16, 1, 0, 0),
    "process_vm_readv": lambda: call("process_vm_readv", 1, room, 0, room, 0, 0),
    "keyctl": lambda: call("keyctl", 0, -3, 1),
    "bpf": lambda: call("bpf", 0, room, 72),
    "userfaultfd": lambda: call("userfaultfd", 1),
    "perf_event_open": lambda: call("perf_event_open", room, 0, -1, -1, 0),
    "kexec_load": lambda: call("kexec_load", 0, 0, 0, 0),
    "open_by_handle_at": lambda: call("open_by_handle_at", -100, room, 0),
    "io_uring_setup": lambda: call("io_uring_setup", 1, room),
    "fsopen": lambda: call("fsopen", b"tmpfs", 0),
    "clone3": lambda: call("clone3", room, 88),
}
REFUSALS = (errno.EPERM, errno.ENOSYS, errno.EACCES)
for what, attempt in ATTEMPTS.items():
    if what in sys.argv[1:]:
        continue
    ctypes.set_errno(0)
    try:
        answer = attempt()
    except OSError as error:
        print("CONTAINED", what, error, flush=True)
        continue
    if what == "clone user" and answer == 0:
        os._exit(0)
    code = ctypes.get_errno()
    # A user id that is not mapped into the namespace is no valid argument at all.
    refused = code in REFUSALS or (what == "setuid" and code == errno.EINVAL)
    word = "CONTAINED" if answer == -1 and refused else "ESCAPED:"
    print(word, what, answer, errno.errorcode.get(code, code), flush=True)
