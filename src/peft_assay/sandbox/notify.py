"""The supervisor's end of seccomp's user notification: every refused system call stops here (seccomp_unotify(2))."""

import errno
import fcntl
import struct

RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV, _IOWR('!', 0, struct seccomp_notif)
RESPOND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND, _IOWR('!', 1, struct seccomp_notif_resp)
NOTIFICATION = struct.Struct("<QIIiIQ6Q")  # id, pid, flags, number, architecture, instruction pointer, six arguments
RESPONSE = struct.Struct("<QqiI")  # id, value, error, flags


def refuse_one(listener: int) -> int | None:
    """Receives one notification, refuses it with EPERM, and gives the system call's number.

    None when the call was withdrawn in the meantime: a signal interrupted it, or its caller was killed. It was
    attempted all the same. The arguments are not looked at: the child could change what they
    point to (the check-to-use race that the manual warns of), and refusing needs none of them.
    """
    buffer = bytearray(NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EAGAIN):
            return None
        raise
    identifier, _, _, number, *_ = NOTIFICATION.unpack(buffer)
    try:
        fcntl.ioctl(listener, RESPOND, bytearray(RESPONSE.pack(identifier, 0, -errno.EPERM, 0)))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
            raise
    return int(number)
