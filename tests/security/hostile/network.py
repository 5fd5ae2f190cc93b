"""Tries to reach anything: arguments are a port on the machine's loopback and an abstract name."""

import guard

guard.confined()

import socket
import sys

port, name, *skipped = sys.argv[1:]
socket.setdefaulttimeout(1)


def tried(what, family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as each:
            each.settimeout(1)
            each.connect(address)
    except OSError as error:
        print("CONTAINED", what, error, flush=True)
    else:
        print("ESCAPED: connected to", what, flush=True)


tried("loopback", socket.AF_INET, ("127.0.0.1", int(port)))
tried("loopback 6", socket.AF_INET6, ("::1", int(port)))
tried("abstract", socket.AF_UNIX, "\0" + name)
tried("metadata", socket.AF_INET, ("169.254.169.254", 80))
tried("somewhere", socket.AF_INET, ("192.0.2.1", 443))
if "vsock" not in skipped:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
        print("ESCAPED: a socket to the machine's host", flush=True)
    except OSError as error:
        print("CONTAINED vsock", error, flush=True)
try:
    print("ESCAPED:", socket.getaddrinfo("example.com", 443), flush=True)
except OSError as error:
    print("CONTAINED names", error, flush=True)
