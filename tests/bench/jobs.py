"""What each system is given to do. A job: a name, what is made ready before, what is timed, and whether it changes anything."""

import os
import subprocess
import tarfile
from dataclasses import dataclass
from typing import Callable


@dataclass
class Job:
    name: str
    run: Callable  # (directory) -> seconds, or anything else: measured from outside
    prepare: Callable = lambda directory: None
    changes: bool = True


def shell(command, directory, **variables):
    subprocess.run(["sh", "-ec", command], cwd=directory, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **variables})


def forget_pages():
    """What was read or written leaves the page cache, of the mount and of what lies beneath it."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as out:
        out.write("1")


def make_archive(path, limit):
    """A tar of /usr/include, up to `limit` entries."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entries = 0
        for folder, folders, files in os.walk("/usr/include"):
            folders.sort()
            for name in sorted(files):
                if entries < limit:
                    tar.add(os.path.join(folder, name))
                    entries += 1


def make_repository(path):
    shell(
        'git init -q . && git config user.name bench && git config user.email bench@localhost && cp -a /usr/include/linux . '
        '&& git add . && git commit -qm one && for i in 1 2 3 4 5; do echo $i >> linux/fs.h; git commit -qam $i; done',
        path,
    )


def all_jobs(load, tools, scale):
    n = lambda count: max(1, int(count * scale))

    def timed(job, count):
        def run(directory):
            got = subprocess.run([load, job, directory, str(count)], check=True, capture_output=True, text=True)
            return float(got.stdout)

        return run

    def loaded(job, count):
        return lambda directory: subprocess.run([load, job, directory, str(count)], check=True, stdout=subprocess.DEVNULL)

    gib, quarter, files = n(1024), n(65536), n(20000)
    tar, repository = os.path.join(tools, "include.tar"), os.path.join(tools, "repository")
    sql = (
        "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);"
        + "INSERT INTO t(b) VALUES(hex(randomblob(100)));" * n(1000)
    )
    tree = lambda directory: shell('tar -xf "$TAR"', directory, TAR=tar)
    warm_tree = lambda directory: (tree(directory), shell("grep -rc zzz . || true; find . -printf '%s' ", directory))
    return [
        Job("write 1 GiB", timed("write1m", gib)),
        Job("write 1 GiB + fsync", timed("write", gib)),
        Job("read, cold", timed("read", gib), lambda d: (loaded("write", gib)(d), forget_pages()), False),
        Job("read, warm", timed("read", gib), lambda d: (loaded("write", gib)(d), loaded("read", gib)(d)), False),
        Job("read 4 KiB, random", timed("randread", n(200000)), lambda d: (loaded("write", gib)(d), loaded("read", gib)(d)), False),
        Job("write 4 KiB", timed("write4k", quarter)),
        Job("write 4 KiB, random", timed("randwrite", n(20000)), loaded("write", n(256))),
        Job("write 4 KiB, O_SYNC", timed("osync", n(500))),
        Job("create small files", timed("create", files)),
        Job("stat them", timed("stat", files), lambda d: (loaded("create", files)(d), loaded("stat", files)(d)), False),
        Job("list them", timed("list", files), lambda d: (loaded("create", files)(d), loaded("list", files)(d), loaded("list", files)(d)), False),
        Job("delete them", timed("delete", files), loaded("create", files)),
        Job("untar", tree),
        Job("find", lambda d: shell("find . -printf '%s'", d), warm_tree, False),
        Job("ls -R", lambda d: shell("ls -R .", d), warm_tree, False),
        Job("grep -r", lambda d: shell("grep -rc zzz . || true", d), warm_tree, False),
        Job("git clone", lambda d: shell('git clone -q --no-local "$FROM" clone', d, FROM=repository)),
        Job("sqlite transactions", lambda d: subprocess.run(["sqlite3", "db"], input=sql, text=True, cwd=d, check=True, stdout=subprocess.DEVNULL)),
        Job("rename 10,000 files", lambda d: os.rename(os.path.join(d, "files"), os.path.join(d, "renamed")), loaded("create", n(10000))),
    ]


def prepare_tools(tools, scale):
    make_archive(os.path.join(tools, "include.tar"), max(1, int(20000 * scale)))
    repository = os.path.join(tools, "repository")
    os.mkdir(repository)
    make_repository(repository)
