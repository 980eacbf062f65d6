#!/usr/bin/env python3
"""What grows with what: many files, one large directory, a huge sparse file, many slaves.

    tests/bench/scale.py [--files N] [--sparse BYTES] [--slaves N,N...] [--mib N] [--rounds N] [--bin BIN] [JOB...] [--dir DIR]

Jobs (all, if none is named):
  files   N files made in one directory through the mount: the master's anonymous memory for each while the kernel knows them all,
          and once it has forgotten them; the time of a listing, of lookups, and until the replica has them
  sparse  a file of so many bytes with a few blocks written, through the mount and in a first sync
  slaves  N MiB written with 1, 2, 8, 64 slaves, which stand back: the writer's time, the master's CPU a slave and GiB, its memory

Nothing passes or fails by a figure. As root, after a release build; DIR (/dev/shm) holds everything, and is left as it was.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time

import systems


def anonymous_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def timed(job):
    begin = time.monotonic()
    job()
    return time.monotonic() - begin


def say(job, text):
    print(f"{job:7} {text}", flush=True)


def make_system(options, slaves, *arguments):
    work = tempfile.mkdtemp(prefix="tdfs-scale-", dir=options.dir)
    system = systems.Tdfs(work, options.bin, slaves, arguments)
    system.name = f"tdfs, {slaves} slaves"
    system.start()
    return system


def stand_back(system):
    """The slaves get what the others leave of the cores, as if they were on machines of their own."""
    for name, daemon in system.daemons.items():
        if name != "master":
            with open(f"/proc/{daemon.pid}/autogroup", "w") as group:
                group.write("19")
            for task in os.listdir(f"/proc/{daemon.pid}/task"):
                os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))


def files(options):
    system = make_system(options, 1)
    try:
        directory = os.path.join(system.path, "d")
        master = system.daemons["master"].pid
        os.mkdir(directory)
        before = anonymous_kib(master)

        def make():
            for n in range(options.files):
                os.close(os.open(f"{directory}/file-{n:07d}", os.O_WRONLY | os.O_CREAT, 0o644))

        def look():
            for n in range(0, options.files, 100):
                os.stat(f"{directory}/file-{n:07d}")

        made = timed(make)
        drained = timed(system.wait_identical)
        known = anonymous_kib(master)
        say("files", f"{options.files} made in {made:.1f} s, on the replica {drained:.2f} s later")
        say("files", f"master: {(known - before) * 1024 / options.files:.0f} bytes each known to the kernel ({known / 1024:.0f} MiB)")
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("2")
        time.sleep(10)
        say("files", f"master: {anonymous_kib(master) / 1024:.0f} MiB after the kernel has forgotten all but {system.status()['fuse']['nodes']}")
        say("files", f"listed in {timed(lambda: sum(1 for _ in os.scandir(directory))):.1f} s, "
                     f"bare {timed(lambda: sum(1 for _ in os.scandir(os.path.join(system.source, 'd')))):.1f} s")
        say("files", f"a stat of each hundredth: {timed(look):.2f} s")
        for name, (cpu, peak) in system.figures().items():
            say("files", f"{name}: {cpu:.1f} CPU s, at most {peak:.0f} MiB")
    finally:
        system.stop()


def sparse(options):
    system = make_system(options, 1)
    try:
        path = os.path.join(system.path, "sparse")

        def write():
            with open(path, "wb") as f:
                f.truncate(options.sparse)
                for n in range(16):
                    f.seek(options.sparse // 16 * n)
                    f.write(b"x" * 65536)

        written = timed(write)
        drained = timed(system.wait_identical)
        here, there = os.stat(path), os.stat(os.path.join(system.replicas[0], "sparse"))
        assert here.st_size == there.st_size, "the replica differs in size"
        say("sparse", f"{options.sparse >> 30} GiB written in {written:.3f} s, on the replica {drained:.3f} s later; "
                      f"{here.st_blocks // 2} KiB on the disk, {there.st_blocks // 2} KiB there; sent {system.wire_bytes()} bytes")
        extra = system.replica()
        port = systems.free_port()
        system.daemon("slave1", [os.path.join(options.bin, "tdfs_slave"), "-f", "-m", extra, "-l", f"127.0.0.1:{port}"])
        subprocess.run(["umount", system.path], check=True)
        system.daemons.pop("master").wait(60)
        begin = time.monotonic()
        system.daemon("master", [os.path.join(options.bin, "tdfs"), "-f", "-m", system.source, "-c", f"127.0.0.1:{port}", system.path])
        system.until(lambda: os.path.ismount(system.path), "the mount")
        system.until(lambda: all(s["state"] == "streaming" for s in system.status()["slaves"]), "the slaves")
        there = os.stat(os.path.join(extra, "sparse"))
        say("sparse", f"first sync of it: {time.monotonic() - begin:.1f} s, {there.st_blocks // 2} KiB there")
        system.replicas = []  # compared by their sizes: reading 100 GiB of zeros twice shows no more
    finally:
        system.stop()


def slaves(options):
    counts = [int(n) for n in options.slaves.split(",")]
    took = {n: [] for n in counts}
    cpu, peak, after = {}, {}, {}
    block = os.urandom(1 << 20)
    for _ in range(options.rounds):
        for n in counts:
            system = make_system(options, n)
            try:
                stand_back(system)

                def write():
                    with open(os.path.join(system.path, "f"), "wb", buffering=0) as f:
                        for _ in range(options.mib):
                            f.write(block)

                before = systems.cpu_seconds(system.daemons["master"].pid)
                took[n].append(timed(write))
                after[n] = timed(system.wait_identical)
                cpu[n] = systems.cpu_seconds(system.daemons["master"].pid) - before
                peak[n] = anonymous_kib(system.daemons["master"].pid) / 1024
            finally:
                system.stop()
    for n in counts:
        say("slaves", f"{n}: writer {statistics.median(took[n]):.2f} s ({statistics.median(took[n]) / statistics.median(took[counts[0]]):.2f}), "
                      f"replicas {after[n]:.2f} s later; master {cpu[n]:.2f} CPU s "
                      f"({cpu[n] / n / (options.mib / 1024):.2f} a slave and GiB), {peak[n]:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    jobs = {"files": files, "sparse": sparse, "slaves": slaves}
    parser.add_argument("jobs", nargs="*", metavar="JOB", choices=[[], *jobs], default=[])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--sparse", type=int, default=100 << 30)
    parser.add_argument("--slaves", default="1,2,8,64")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--bin", default=os.path.join(here, "../../build/release/bin"))
    options = parser.parse_args()
    for job in options.jobs or jobs:
        jobs[job](options)


if __name__ == "__main__":
    main()
