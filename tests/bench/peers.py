"""Other programs for the same job, each where it is installed. All they write is in the work directory; none asks for the machine's own
configuration of that program, nor for a daemon of it that may be running."""

import shutil

from systems import System


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


def available():
    """name -> maker of the system in a new directory"""
    return {peer.name: peer for peer in (RsyncLoop, Lsyncd) if all(map(shutil.which, peer.programs))}
