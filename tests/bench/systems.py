"""What is measured: the bare directory and tdfs in its forms (see peers.py for other programs)."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def processes_below(pid):
    """pid and its descendants."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in f.read().split():
                    found += processes_below(int(child))
    except OSError:
        pass
    return found


def cpu_seconds(pid):
    """Of the process, its descendants and those of them that have ended."""
    total = 0
    for p in processes_below(pid):
        try:
            with open(f"/proc/{p}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += sum(int(fields[i]) for i in (11, 12, 13, 14))
        except OSError:
            pass
    return total / TICK


def peak_mib(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def same_trees(a, b):
    command = ["diff", "-rq", "--no-dereference", "--exclude=.tdfs", "--exclude=.glusterfs", a, b]
    return subprocess.run(command, capture_output=True).returncode == 0


def unmount(path):
    """Whether there was something to unmount; also when nobody serves it any more, or somebody still uses it."""
    with open("/proc/self/mounts") as mounts:
        if not any(line.split()[1] == path for line in mounts):
            return False
    if subprocess.run(["umount", path], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run(["umount", "-l", path], check=True)
    return True


class System:
    """Jobs write to a directory (path); replicas shall become equal to what is stored of it (source). Nothing runs before
    start(); stop() may follow it however far it came."""

    name = "bare"

    def __init__(self, work):
        self.work = work
        self.path = self.source = os.path.join(work, "data")
        self.replicas = []
        self.daemons = {}  # name -> Popen
        os.makedirs(self.path)

    def start(self):
        pass

    def wait_identical(self, timeout=60):
        """Returns when all replicas are identical; False when that takes too long."""
        end = time.monotonic() + timeout
        for replica in self.replicas:
            while not same_trees(self.source, replica):
                if time.monotonic() > end:
                    return False
        return True

    def wire_bytes(self):
        return None

    def figures(self):
        return {n: (cpu_seconds(p.pid), peak_mib(p.pid)) for n, p in self.daemons.items()}

    def stop(self):
        for p in self.daemons.values():
            self.end(p, signal.SIGTERM)
        for p in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(20)
            self.end(p, signal.SIGKILL)  # also those it has started and left
            p.wait()
        shutil.rmtree(self.work)

    @staticmethod
    def end(daemon, how):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, how)

    def until(self, condition, what):
        end = time.monotonic() + 60
        while not condition():
            ended = [n for n, p in self.daemons.items() if p.poll() is not None]
            if ended or time.monotonic() > end:
                raise RuntimeError(f"{self.name}: {what} did not come\n{self.last_words(ended or self.daemons)}")
            time.sleep(0.02)

    def last_words(self, names):
        text = ""
        for name in names:
            with open(os.path.join(self.work, name + ".log"), errors="replace") as log:
                text += f"{name}: " + "".join(log.readlines()[-5:])
        return text

    def replica(self):
        path = os.path.join(self.work, f"replica{len(self.replicas)}")
        os.makedirs(path)
        self.replicas.append(path)
        return path

    def daemon(self, name, command):
        log = open(os.path.join(self.work, name + ".log"), "wb")
        self.daemons[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


class Tdfs(System):
    def __init__(self, work, binaries, slaves, options):
        super().__init__(work)
        self.binaries, self.slaves, self.options = binaries, slaves, options
        self.tdfsctl = [os.path.join(binaries, "tdfsctl"), "-m", self.source]

    def start(self):
        command = [os.path.join(self.binaries, "tdfs"), "-f", "-m", self.source, *self.options]
        for _ in range(self.slaves):
            port = free_port()
            directory = self.replica()
            slave = [os.path.join(self.binaries, "tdfs_slave"), "-f", "-m", directory, "-l", f"127.0.0.1:{port}"]
            self.daemon(f"slave{len(self.replicas) - 1}", slave)
            command += ["-c", f"127.0.0.1:{port}"]
        self.path = os.path.join(self.work, "mount")
        os.mkdir(self.path)
        self.daemon("master", [*command, self.path])
        self.until(lambda: os.path.ismount(self.path), "the mount")
        self.until(lambda: all(s["state"] == "streaming" for s in self.status()["slaves"]), "the slaves")

    def status(self):
        got = subprocess.run([*self.tdfsctl, "status", "--json"], capture_output=True, text=True)
        return json.loads(got.stdout) if got.returncode == 0 else {"slaves": [{"state": "unknown"}]}

    def wait_identical(self, timeout=600):
        if not self.replicas:
            return True
        return subprocess.run([*self.tdfsctl, "drain", "--timeout", str(timeout)], capture_output=True).returncode == 0

    def wire_bytes(self):
        return sum(s["bytes_sent"] for s in self.status()["slaves"]) if self.replicas else None

    def stop(self):
        wrong = [r for r in self.replicas if not same_trees(self.source, r)]
        if unmount(self.path):
            self.daemons.pop("master").wait(60)
        super().stop()
        if wrong:
            raise RuntimeError(f"{self.name}: not identical: {wrong}")


def available(binaries):
    """name -> maker of the system in a new directory"""

    def tdfs(name, slaves, *options):
        def make(work):
            system = Tdfs(work, binaries, slaves, options)
            system.name = name
            return system

        return make

    return {
        "bare": System,
        "tdfs, no slave": tdfs("tdfs, no slave", 0),
        "tdfs": tdfs("tdfs", 1),
        "tdfs, 2 slaves": tdfs("tdfs, 2 slaves", 2),
        "tdfs -z 1": tdfs("tdfs -z 1", 1, "-z", "1"),
        "tdfs --writeback": tdfs("tdfs --writeback", 1, "--writeback"),
        "tdfs --stay-awake off": tdfs("tdfs --stay-awake off", 1, "--stay-awake", "off"),
        "tdfs --io-uring off": tdfs("tdfs --io-uring off", 1, "--io-uring", "off"),
    }
