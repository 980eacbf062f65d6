#!/usr/bin/env python3
"""How long a resync takes that finds nothing to do, against two find's.

    tests/bench/walk.py [--files N] [--of-a-directory N] [--cold] [--rounds N] [--bin BIN[,BIN...]] [DIR]

Makes a tree of N empty files (1,000 in a directory, or as told) and a copy of it below DIR (/var/tmp/tdfs-walk), or takes those that are
there, then in each round: `find -printf` over both, one after the other, and with each build in turn a master and a slave
that adopts the copy, until it streams. With --cold nothing is in memory when each begins. Prints seconds, their ratio, and the most memory of either daemon. As root.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time

FIND = "%p %s %T@ %m %U %G %n\n"
PORT = 4795


def make_tree(root, files, of_a_directory):
    for d in range(files // of_a_directory):
        path = f"{root}/d{d // 50:02d}/e{d:04d}"
        os.makedirs(path)
        for f in range(of_a_directory):
            os.close(os.open(f"{path}/file-{f:04d}.html", os.O_WRONLY | os.O_CREAT, 0o644))


def forget():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")


def find(root, cold):
    if cold:
        forget()
    begin = time.monotonic()
    subprocess.run(["find", root, "-printf", FIND], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def peak_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def resync(binaries, base, cold):
    """Seconds until the slave streams, and the peak memory of master and slave in MiB."""
    master, slave, mount = f"{base}/master", f"{base}/slave", f"{base}/mount"
    for state in (f"{master}/.tdfs", f"{slave}/.tdfs"):
        shutil.rmtree(state, ignore_errors=True)
    os.makedirs(mount, exist_ok=True)
    daemons = []
    with open(f"{base}/log", "a") as log:
        try:
            daemons.append(subprocess.Popen(
                [f"{binaries}/tdfs_slave", "-f", "-m", slave, "-l", f"127.0.0.1:{PORT}", "--adopt"], stderr=log))
            time.sleep(1)
            if cold:
                forget()
            begin = time.monotonic()
            daemons.append(subprocess.Popen(
                [f"{binaries}/tdfs", "-f", "-m", master, "-c", f"127.0.0.1:{PORT}", mount], stderr=log))
            while True:
                time.sleep(0.05)
                asked = subprocess.run([f"{binaries}/tdfsctl", "-m", master, "--json", "status"],
                                       capture_output=True, text=True)
                if asked.returncode == 0 and json.loads(asked.stdout)["slaves"][0]["state"] == "streaming":
                    break
                if any(daemon.poll() is not None for daemon in daemons):
                    raise RuntimeError(f"a daemon has ended: {base}/log")
            return time.monotonic() - begin, peak_mib(daemons[1]), peak_mib(daemons[0])
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default="/var/tmp/tdfs-walk")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--of-a-directory", type=int, default=1000)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--bin", default=os.path.join(here, "../../build/release/bin"))
    options = parser.parse_args()
    master, slave = f"{options.directory}/master", f"{options.directory}/slave"
    if not os.path.isdir(slave):
        os.makedirs(master)
        make_tree(master, options.files, options.of_a_directory)
        subprocess.run(["cp", "-a", master, slave], check=True)
    builds = options.bin.split(",")
    ratios = {build: [] for build in builds}
    for number in range(options.rounds):
        both = find(master, options.cold) + find(slave, options.cold)
        print(f"round {number + 1}: find {both:.1f} s", flush=True)
        for build in builds:
            took, of_master, of_slave = resync(build, options.directory, options.cold)
            ratios[build].append(took / both)
            print(f"  {build}: {took:.1f} s, {took / both:.2f} of find; "
                  f"memory {of_master:.0f} and {of_slave:.0f} MiB", flush=True)
    for build in builds:
        print(f"{build}: median {statistics.median(ratios[build]):.2f}")


if __name__ == "__main__":
    main()
