"""Reads and writes what is the machine's; further paths are given as arguments."""

import guard

guard.confined()

import os
import sys

for path in (
    *sys.argv[1:],
    "/etc/shadow",
    "/root/.ssh",
    "/root/.bashrc",
    "/home",
    "/var/lib",
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/proc/1/root/etc/shadow",
    "/proc/1/cwd/../etc/shadow",
    "/proc/kcore",
    "/proc/sysrq-trigger",
    "/sys/kernel/security",
    "/dev/mem",
    "/dev/vda",
    "/dev/sda",
    "/dev/kvm",
    "/dev/fuse",
):
    try:
        seen = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
    except OSError:
        continue
    if seen:
        print("ESCAPED: read", path, seen, flush=True)

# Message queues are those of the sandbox's own namespace.
MINE = ("/workspace", "/tmp", "/dev/shm", "/dev/mqueue")
for top, folders, files in os.walk("/"):
    if top in MINE or top.startswith("/proc/"):
        folders.clear()
        continue
    # A folder on a read-only file system refuses, whoever owns it.
    name = os.path.join(top, ".conductor-hostile")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pass
    else:
        os.unlink(name)
        print("ESCAPED: wrote in", top, flush=True)
    if top.count("/") > 4:
        folders.clear()
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
             "/usr/bin/env", "/etc/passwd", "/proc/1/oom_score_adj"):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        continue
    if path != "/proc/1/oom_score_adj":
        print("ESCAPED: opened for writing", path, flush=True)
print("DONE", flush=True)
