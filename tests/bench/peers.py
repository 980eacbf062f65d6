"""Other programs for the same job, each where it is installed. All they write is in the work directory; none asks for the machine's own
configuration of that program, nor for a daemon of it that may be running."""

import os
import secrets
import shutil
import socket
import sys

from systems import System, free_port


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


def listens(host, port):
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def available():
    """name -> maker of the system in a new directory"""
    return {peer.name: peer for peer in (RsyncLoop, Lsyncd, Csync2) if all(map(shutil.which, peer.programs))}
