"""Two hosts on one machine, with a slow link between them: network namespaces, and a relay in between. For Linux, as root."""

import collections
import contextlib
import fcntl
import os
import pathlib
import struct
import subprocess
import tempfile
import threading
import time

from .common import Failure

# Of Linux's if_tun.h: makes an interface of packets without a header.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# A link drops what would wait longer than this, in seconds.
LONGEST_QUEUE = 0.5
HOSTS = {"retrospect-a": "10.77.0.1", "retrospect-b": "10.77.0.2"}


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"ip {' '.join(words)}: {done.stderr.strip()}")


def interface(namespace, address):
    """The end of a link in a namespace, as a file of packets."""
    name = f"tun{namespace[-1]}"
    try:
        end = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as error:
        raise Failure(f"/dev/net/tun: {error.strerror}; a link needs Linux and root") from None
    ip("link", "set", name, "netns", namespace)
    inside = ("netns", "exec", namespace, "ip")
    ip(*inside, "addr", "add", f"{address}/24", "dev", name)
    ip(*inside, "link", "set", name, "up")
    ip(*inside, "link", "set", "lo", "up")
    return end


def relay(from_end, to_end, delay, bytes_per_second, closed):
    """Carries packets one way: each takes its time on the wire, one after the other, and arrives later by the delay."""
    queue, there_is_one = collections.deque(), threading.Condition()

    def deliver():
        while not closed.is_set():
            with there_is_one:
                while not queue and not closed.is_set():
                    there_is_one.wait(0.2)
                if not queue:
                    continue
                arrival, packet = queue.popleft()
            time.sleep(max(0.0, arrival - time.monotonic()))
            with contextlib.suppress(OSError):
                os.write(to_end, packet)

    threading.Thread(target=deliver, daemon=True).start()
    free = 0.0
    while not closed.is_set():
        try:
            packet = os.read(from_end, 65536)
        except OSError:
            return
        now = time.monotonic()
        if free - now > LONGEST_QUEUE:
            continue
        free = max(free, now) + len(packet) / bytes_per_second
        with there_is_one:
            queue.append((free + delay, packet))
            there_is_one.notify()


@contextlib.contextmanager
def two_hosts(delay, bits_per_second):
    """Yields how mpirun is started on the first host, with the flags that let it reach both."""
    closed, ends = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:
        agent = pathlib.Path(folder) / "agent"
        cases = "".join(f"{address}) host={name};; " for name, address in HOSTS.items())
        # It stands in for ssh: the first word is the host, and the others are what it runs.
        agent.write_text(f'#!/bin/sh\ncase $1 in {cases}esac\nshift\nexec ip netns exec "$host" sh -c "$*"\n')
        agent.chmod(0o755)
        try:
            for name, address in HOSTS.items():
                ip("netns", "add", name)
                ends.append(interface(name, address))
            for one, other in (ends, ends[::-1]):
                threading.Thread(target=relay, args=(one, other, delay, bits_per_second / 8, closed), daemon=True).start()
            network = "10.77.0.0/24"
            yield [
                *("ip", "netns", "exec", "retrospect-a", "mpirun", "--mca", "plm_rsh_agent", str(agent)),
                *("--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", network, "--mca", "oob_tcp_if_include", network),
                *("--host", ",".join(f"{address}:1" for address in HOSTS.values())),
            ]
        finally:
            closed.set()
            for name in HOSTS:
                subprocess.run(["ip", "netns", "del", name], capture_output=True)
            for end in ends:
                os.close(end)
