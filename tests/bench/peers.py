"""Other programs for the same job, each where it is installed. All they write is in the work directory; none asks for the machine's own
configuration of that program, nor for a daemon of it that may be running."""

import os
import secrets
import shutil
import socket
import sys

from systems import System, free_port, unmount


class RsyncLoop(System):
    name = "rsync loop"
    programs = ["rsync"]

    def start(self):
        loop = 'while :; do rsync -aHAX --delete "$1/" "$2/" || sleep 0.1; done'
        self.daemon("rsync", ["sh", "-c", loop, "sh", self.source, self.replica()])


class Lsyncd(System):
    name = "lsyncd"
    programs = ["lsyncd", "rsync"]

    def start(self):
        self.daemon("lsyncd", ["lsyncd", "-nodaemon", "-delay", "1", "-rsync", self.source, self.replica()])


class Csync2(System):
    """Two hosts, which csync2 tells apart by address. The second takes connections as under inetd: by itself csync2 does not wait for
    the processes that it starts, and what they used would be missing from its CPU seconds."""

    name = "csync2"
    programs = ["csync2"]
    here, there = "127.0.0.1", "127.0.0.2"

    inetd = """
import socket, subprocess, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    while True:
        with listener.accept()[0] as connection:
            subprocess.run(sys.argv[3:], stdin=connection, stdout=connection)
"""

    def start(self):
        settings = os.path.join(self.work, "csync2")
        os.mkdir(settings)
        with open(os.path.join(settings, "key"), "w") as key:
            key.write(secrets.token_hex(32))
        with open(os.path.join(settings, "csync2.cfg"), "w") as config:
            config.write(f"""
nossl * *;
group bench {{
    host {self.here};
    host ({self.there});
    key {settings}/key;
    include %tree%;
}}
prefix tree {{
    on {self.here}: {self.source};
    on {self.there}: {self.replica()};
}}
""")
        port = str(free_port())
        csync2 = ["env", f"CSYNC2_SYSTEM_DIR={settings}", "csync2", "-D", settings, "-p", port]
        self.daemon("server", [sys.executable, "-c", self.inetd, self.there, port, *csync2, "-i", "-N", self.there])
        self.until(lambda: listens(self.there, port), "the server")
        loop = 'while :; do "$@" || sleep 0.1; done'
        self.daemon("client", ["sh", "-c", loop, "sh", *csync2, "-x", "-N", self.here])


class GlusterFS(System):
    """Replica 2: two bricks and a client, by volume files with the main translators of a volume as glusterd makes it, but without
    glusterd. Jobs work on the mount; the bricks have to be equal. Nothing heals here, so jobs begin when both bricks are connected."""

    name = "GlusterFS"
    programs = ["glusterfs", "glusterfsd"]

    def start(self):
        bricks = [self.source, self.replica()]
        ports = [free_port() for _ in bricks]
        for n, (brick, port) in enumerate(zip(bricks, ports)):
            os.mkdir(os.path.join(brick, ".glusterfs"))  # the index wants it before the storage makes it
            self.gluster(f"brick{n}", "glusterfsd", brick_volumes(brick, port))
        for n, port in enumerate(ports):
            self.until(lambda port=port: listens("127.0.0.1", port), f"brick {n}")
        self.path = os.path.join(self.work, "mount")
        os.mkdir(self.path)
        self.gluster("client", "glusterfs", client_volumes(ports), self.path)
        self.until(lambda: os.path.ismount(self.path), "the mount")
        self.until(lambda: all(self.connection(n)["connected"] == "1" for n in range(len(bricks))), "the bricks")

    def gluster(self, name, program, volumes, *arguments):
        path = os.path.join(self.work, name)
        with open(path + ".vol", "w") as out:
            out.write(volumes)
        self.daemon(name, [program, "-N", "-f", path + ".vol", "-l", "/dev/stderr", "-L", "WARNING", *arguments])

    def connection(self, n):
        """What the client tells about its connection to a brick."""
        with open(os.path.join(self.path, f".meta/graphs/active/client{n}/private")) as lines:
            return dict(line.strip().split(" = ") for line in lines if " = " in line)

    def wire_bytes(self):
        """To the second brick only: the first stands for the one on the writer's own machine."""
        return int(self.connection(1)["total_bytes_written"])

    def stop(self):
        unmount(self.path)
        super().stop()


def volume(name, kind, subvolumes=(), **options):
    lines = [f"volume {name}", f"    type {kind}", *(f"    option {key.replace('_', '-')} {value}" for key, value in options.items())]
    if subvolumes:
        lines.append("    subvolumes " + " ".join(subvolumes))
    return "\n".join([*lines, "end-volume", ""])


def stack(below, kinds):
    """Volumes one above the other, named as their kinds."""
    out = ""
    for kind in kinds:
        name = kind.split("/")[1]
        out += volume(name, kind, [below])
        below = name
    return out, below


def brick_volumes(directory, port):
    lower, top = stack("posix", ["features/access-control", "features/locks", "features/upcall", "performance/io-threads"])
    return (
        volume("posix", "storage/posix", directory=directory)
        + lower
        + volume("index", "features/index", [top], index_base=f"{directory}/.glusterfs/indices",
                 xattrop_dirty_watchlist="trusted.afr.dirty", xattrop_pending_watchlist="trusted.afr.")
        + volume("brick", "debug/io-stats", ["index"])
        + volume("server", "protocol/server", ["brick"], **{
            "transport-type": "tcp", "transport.socket.bind-address": "127.0.0.1", "transport.socket.listen-port": port,
            "auth.addr.brick.allow": "127.0.0.1"})
    )


def client_volumes(ports):
    clients = [f"client{n}" for n in range(len(ports))]
    upper, _ = stack("replicate", [
        "cluster/distribute", "features/utime", "performance/write-behind", "performance/open-behind", "performance/quick-read",
        "performance/md-cache", "debug/io-stats"])
    return (
        "".join(volume(c, "protocol/client", transport_type="tcp", remote_host="127.0.0.1", remote_port=p, remote_subvolume="brick")
                for c, p in zip(clients, ports))
        + volume("replicate", "cluster/replicate", clients, afr_pending_xattr=",".join(clients))
        + upper
    )


def listens(host, port):
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def available():
    """name -> maker of the system in a new directory"""
    return {peer.name: peer for peer in (RsyncLoop, Lsyncd, Csync2, GlusterFS) if all(map(shutil.which, peer.programs))}
