"""Leaves in place of results whatever could make the one who takes them read something else."""

import guard

guard.confined()

import os
import socket


def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        print("could not", arguments[-1], error, flush=True)


def text(path, content="x"):
    with open(path, "w") as file:
        file.write(content)


os.symlink("/etc/passwd", "link.xml")
os.symlink("/proc/self/environ", "environ.xml")
os.symlink("loop.xml", "loop.xml")
os.symlink("/etc", "folder_link")
text("one_name.txt")
os.link("one_name.txt", "hard.xml")
attempt(os.link, "/etc/passwd", "hard_outside.xml")
os.mkfifo("fifo.xml")
attempt(os.mknod, "device.xml", 0o60666, 0xFE00)
os.mkdir("folder.xml")
text("folder.xml/inner.txt")
server = socket.socket(socket.AF_UNIX)
server.bind("socket.xml")
with open("sparse.xml", "wb") as file:
    file.truncate(64 << 20)
with open("huge.xml", "wb") as file:
    file.write(bytes(11 << 20))
with open("binary.xml", "wb") as file:
    file.write(b"\xff\xfe\x00")
text("unreadable.xml")
os.chmod("unreadable.xml", 0)
text("good.xml", "<testsuites/>")
os.mkdir("deep")
text("deep/good.txt", "deep and good")
print("DONE", flush=True)
