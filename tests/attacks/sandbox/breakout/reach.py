"""Reaching out: sockets with live listeners, other people's files, environments, and writing where one must not."""

import os
import socket
import stat
from pathlib import Path

WORD = b"breakout"


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)
        client.sendall(WORD)
    return "connected"


def tcp4(given, _):
    return connect(socket.AF_INET, ("127.0.0.1", given["tcp4"]))


def tcp6(given, _):
    return connect(socket.AF_INET6, ("::1", given["tcp6"]))


def udp(given, _):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(WORD, ("127.0.0.1", given["udp"]))
    return "sent"


def unix_abstract(given, _):
    return connect(socket.AF_UNIX, "\0" + given["abstract"])


def unix_path(given, _):
    return connect(socket.AF_UNIX, given["socket"])


def netlink(*_):
    """Asks the kernel for the host's routes."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
    return "bound"


def cloud_metadata(given, _):
    """A cloud's credentials are one plain HTTP request away; here the listener stands for 169.254.169.254."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", given["metadata"]))
        client.sendall(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\r\n\r\n")
    return "asked"


def reading(name):
    """Reads the file that `given` has under `name`."""

    def read(given, _):
        return Path(given[name]).read_bytes()[:4096].decode("utf-8", "replace")

    return read


def climb(given, _):
    """The base is visible inside: its parent's other folders must not be."""
    return Path(given["base"], "..", "home", ".netrc").read_text("utf-8")


def own_environment(*_):
    return repr(dict(os.environ))


def environment_of(which):
    def read(given, _):
        process = {"self": "self", "first": 1, "parent": os.getppid(), "supervisor": given["pid"]}[which]
        return Path(f"/proc/{process}/environ").read_bytes().decode("utf-8", "replace")

    return read


def command_line_of_the_supervisor(given, _):
    return repr(Path(f"/proc/{given['pid']}/cmdline").read_bytes())


def see_the_supervisor(given, _):
    """That it exists, by name: only walls of namespaces hide it."""
    Path(f"/proc/{given['pid']}").stat()
    return "seen"


def appending(name):
    """Appends to the file that `given` has under `name`, making it where it is not."""

    def append(given, _):
        with open(given[name], "ab") as file:
            file.write(WORD)
        return "written"

    return append


def make_folder(given, _):
    os.mkdir(Path(given["home"], "folder"))
    return "made"


def make_link(given, _):
    os.symlink("/etc", Path(given["home"], "link"))
    return "made"


def hard_link(given, _):
    os.link(given["key"], Path(given["home"], "hard"))
    return "made"


def make_fifo(given, _):
    os.mkfifo(Path(given["home"], "fifo"))
    return "made"


def remove(given, _):
    os.unlink(given["removable"])
    return "removed"


def rename(given, _):
    os.rename(given["removable"], given["removable"] + "-moved")
    return "renamed"


def open_up(given, _):
    os.chmod(given["home"], 0o777 | stat.S_ISVTX)
    return "changed"


def cut(given, _):
    os.truncate(given["removable"], 1)
    return "cut"


def write_own_adapter(_, job):
    """Changes the adapter's own bytes: of the descriptors that the child still holds none is a file of it."""
    changed = 0
    for descriptor in range(3, 64):
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.write(descriptor, WORD)
                changed += 1
        except OSError:
            continue
    if not changed:
        raise PermissionError("no file to write to")
    return f"{changed} changed"


DEEDS = {
    "tcp4": tcp4,
    "tcp6": tcp6,
    "udp": udp,
    "unix-abstract": unix_abstract,
    "unix-path": unix_path,
    "netlink": netlink,
    "cloud-metadata": cloud_metadata,
    "read-ssh-key": reading("key"),
    "read-hub-token": reading("token"),
    "read-netrc": reading("netrc"),
    "read-shadow": reading("shadow"),
    "read-expected-answers": reading("answers"),
    "read-beside-base": reading("notes"),
    "read-environment-settings": reading("settings"),
    "read-import-hooks": reading("hooks"),
    "climb-from-base": climb,
    "follow-symlink": reading("link"),
    "own-environment": own_environment,
    "environ-of-self": environment_of("self"),
    "environ-of-first": environment_of("first"),
    "environ-of-parent": environment_of("parent"),
    "environ-of-supervisor": environment_of("supervisor"),
    "command-line-of-supervisor": command_line_of_the_supervisor,
    "see-supervisor": see_the_supervisor,
    "write-base": appending("config"),
    "write-harness": appending("harness"),
    "write-home": appending("profile"),
    "write-tmp": appending("tmp"),
    "write-shm": appending("shm"),
    "write-own-adapter": write_own_adapter,
    "make-folder": make_folder,
    "make-symlink": make_link,
    "make-hard-link": hard_link,
    "make-fifo": make_fifo,
    "remove-file": remove,
    "rename-file": rename,
    "change-mode": open_up,
    "truncate-file": cut,
}
