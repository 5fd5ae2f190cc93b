"""The system call filter, run here by an interpreter of its few instructions."""

import errno
import struct

import pytest

from pipelines.integrations.containers.syscalls import filter_program

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, FAMILY = (0x50000 | e for e in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEW_USER = 0x10000000


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would do with a call."""
    program = filter_program(machine)
    assert program is not None
    steps = list(struct.iter_unpack("<HBBI", program))
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture or MACHINES[machine], 0, *padded)
    place = held = 0
    while True:
        code, yes, no, operand = steps[place]
        place += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[code]
            place += yes if holds else no


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        ("x86_64", {"read": 0, "fork": 57, "execve": 59, "exit_group": 231, "getrandom": 318}),
        ("aarch64", {"read": 63, "execve": 221, "exit_group": 94, "getrandom": 278}),
    ],
)
def test_ordinary_calls_pass(machine: str, numbers: dict[str, int]) -> None:
    assert {name: verdict(machine, n) for name, n in numbers.items()} == dict.fromkeys(
        numbers, ALLOW
    )


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        ("x86_64", (101, 165, 166, 155, 161, 246, 250, 272, 298, 304, 308, 310, 321, 323, 425)),
        ("aarch64", (117, 40, 39, 41, 51, 104, 219, 97, 241, 265, 268, 270, 280, 282, 425)),
    ],
)
def test_powerful_calls_are_refused(machine: str, numbers: tuple[int, ...]) -> None:
    assert {verdict(machine, number) for number in numbers} == {EPERM}


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
def test_a_process_may_be_cloned_and_a_namespace_may_not(machine: str, clone: int) -> None:
    assert verdict(machine, clone, 0x01200011) == ALLOW
    assert verdict(machine, clone, NEW_USER | 17) == EPERM
    assert verdict(machine, clone, 0x00020000) == EPERM
    assert verdict(machine, 435) == ENOSYS, "its flags cannot be seen, so the older call is used"


@pytest.mark.parametrize(("machine", "socket"), [("x86_64", 41), ("aarch64", 198)])
def test_only_local_and_internet_sockets_are_given(machine: str, socket: int) -> None:
    assert {verdict(machine, socket, family) for family in (1, 2, 10, 16)} == {ALLOW}
    assert {verdict(machine, socket, family) for family in (0, 3, 17, 38, 40, 44)} == {FAMILY}


@pytest.mark.parametrize(("machine", "ioctl"), [("x86_64", 16), ("aarch64", 29)])
def test_words_cannot_be_put_into_a_terminal(machine: str, ioctl: int) -> None:
    assert verdict(machine, ioctl, 0, 0x5412) == EPERM
    assert verdict(machine, ioctl, 0, 0x541C) == EPERM
    assert verdict(machine, ioctl, 0, 0x5401) == ALLOW


def test_calls_of_another_architecture_end_the_process() -> None:
    assert verdict("x86_64", 0, architecture=0x40000003) == KILL
    assert verdict("x86_64", 0x40000000 + 59) == EPERM


def test_an_unknown_machine_has_no_filter() -> None:
    assert filter_program("s390x") is None
