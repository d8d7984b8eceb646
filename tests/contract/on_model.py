"""Run cases on the model, in process."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model import Host, Receive, Result, World, stream

from .script import TOP, Case, Command, Step, parse

_MAPPED = 4096  # bytes of a file that is mapped
FILL = 10  # files that stand for one big file, so that half of a stream holds some whole ones


def run(case: Case) -> list[Step]:
    world = World(hosts=("alpha",))
    host = world.host("alpha")
    host.add_pool("small")
    host.sh(f"zfs create {TOP}")
    runner = _Runner(host)
    return [runner.step(line) for line in case.lines]


@dataclass(slots=True)
class _Runner:
    host: Host
    files: dict[str, bytes] = field(default_factory=dict)
    receive: Receive | Result | None = None
    stream: bytes = b""
    stdin: bytes = b""
    queue: bytes = b""
    mapped: str = ""

    def step(self, line: str) -> Step:
        out, err, rc = b"", b"", 0
        for command in parse(line):
            stdin = self.files[command.stdin] if command.stdin not in (None, "/dev/null") else out
            result = self._run(command, stdin)
            out, err, rc = result.out, err + result.err, result.rc
            if command.stdout is not None:
                self.files[command.stdout] = out
                out = b""
        return Step(line, out.decode(), err.decode(), rc)

    def _run(self, command: Command, stdin: bytes) -> Result:
        self.stdin = stdin
        argv = [self._token(word) for word in command.argv]
        helper = getattr(self, f"do_{argv[0]}", None)
        if helper is None:
            return self.host.run(argv, stdin)
        try:
            result: Result | str | None = helper(*argv[1:])
        except OSError as error:
            return Result(1, b"", f"{error.strerror}\n".encode())
        if isinstance(result, Result):
            return result
        return Result(0, (result or "").encode())

    def _token(self, word: str) -> str:
        if not word.startswith("TOKEN:"):
            return word
        name = word.removeprefix("TOKEN:")
        return self.host.sh(f"zfs get -H -p -o value receive_resume_token {name}").decode().strip()

    def do_write(self, fs: str, key: str, text: str) -> None:
        self.host.write(fs, key, text.encode())

    def do_unlink(self, fs: str, key: str) -> None:
        self.host.unlink(fs, key)

    def do_append(self, fs: str, key: str, text: str) -> None:
        self.host.write(fs, key, self.host.read(fs).get(key, b"") + text.encode())

    def do_later(self, fs: str, key: str, text: str) -> None:
        self.host.write(fs, key, text.encode(), flushed=False)

    def do_fsync(self, fs: str, key: str, text: str) -> None:
        self.host.write(fs, key, text.encode(), flushed=False, fsync=True)

    def do_directory(self, fs: str, key: str) -> None:
        self.host.write(fs, key + "/", b"")

    def do_fill(self, fs: str, key: str, size: str = "") -> None:
        for part in range(FILL):
            self.host.write(fs, f"{key}{part}", b"x" * 150_000)

    def do_key(self, name: str) -> None:
        """Whoever has loaded a key here had it."""

    def do_phrase(self, name: str) -> None:
        """The same."""

    def do_placekey(self, fs: str, what: str) -> str:
        return f"{self.host.place_key(fs, own=what == 'own')}\n"

    def do_nobody(self, *argv: str) -> Result:
        return self.host.run(list(argv), self.stdin, user="nobody")

    def do_power(self) -> None:
        self.host.crash()
        self.host.mount_all()

    def do_hog(self, fs: str) -> None:
        self.host.set_pool(fs.partition("/")[0], full=True)

    def do_unhog(self, fs: str) -> None:
        self.host.set_pool(fs.partition("/")[0], full=False)

    def do_ram(self, pool: str) -> None:
        self.host.add_pool(pool)

    def do_suspend(self, pool: str) -> None:
        self.host.set_pool(pool, health="SUSPENDED")

    def do_resume(self, pool: str) -> None:
        self.host.set_pool(pool, health="ONLINE")

    def do_away(self, pool: str) -> None:
        self.host.export_pool(pool)

    def do_back(self, pool: str) -> None:
        self.host.import_pool(pool)

    def do_show(self, fs: str) -> str:
        files = sorted(self.host.read(fs).items())
        return "".join(f"{key}={value.decode()}\n" for key, value in files if len(value) < 1000)

    def do_tmpfs(self, path: str) -> None:
        self.host.mount_other(path)

    def do_leads(self, path: str) -> str:
        return self.host.leads(path) + "\n"

    def do_touch(self, path: str) -> Result:
        """By the path, in what is not of ZFS."""
        where = path.rpartition("/")[0]
        if self.host.world.state.hosts["alpha"].others.get(where) == "ro":
            return Result(1, b"", f"touch: cannot touch '{path}': Read-only file system\n".encode())
        return Result(0)

    def do_tear(self, source: str, target: str) -> None:
        self.files[target] = self.files[source][: len(self.files[source]) // 2]

    def do_groups(self, *argv: str) -> Result:
        before = self.host.txg_waits()
        result = self.host.run([self._token(word) for word in argv])
        return Result(result.rc, result.out + f"groups {self.host.txg_waits() - before}\n".encode(), result.err)

    def do_busy(self, fs: str) -> None:
        self.host.open_file(fs)

    def do_free(self) -> None:
        for name in self.host.names():
            self.host.open_file(name, -1)

    def do_map(self, fs: str, key: str) -> None:
        self.mapped = fs
        self.host.write(fs, key, bytes(_MAPPED))
        self.host.map_file(fs)

    def do_store(self, fs: str, key: str, text: str) -> None:
        self.mapped = fs
        self.host.store_mapped(fs, key, text.encode().ljust(_MAPPED, b"\0"))

    def do_unmap(self) -> None:
        self.host.map_file(self.mapped, -1)
        self.host.leave(self.mapped)

    def do_elsewhere(self, word: str, fs: str, key: str) -> None:
        self.host.mount_elsewhere(fs)
        self.do_map(fs, key)

    def do_queue(self, *streams: str) -> None:
        """Have streams come through one pipe."""
        self.queue = b"".join(self.files[name] for name in streams)

    def do_next(self, *argv: str) -> Result:
        """Run a command that reads the next of them."""
        end = self.queue.find(b"\n") + 1
        length = end + (stream.length(self.queue[:end]) or 0)
        first, self.queue = self.queue[:length], self.queue[length:]
        return self.host.run(list(argv), first)

    def do_begin(self, stream: str, *argv: str) -> None:
        """Have a receive under way, half of its stream sent."""
        self.stream = self.files[stream]
        self.receive = self.host.start_receive(list(argv), self.stream)

    def do_end(self) -> Result:
        """Send it the other half."""
        assert self.receive is not None
        if isinstance(self.receive, Result):
            return self.receive
        return self.host.finish_receive(self.receive, self.stream)
