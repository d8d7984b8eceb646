"""The few zpool commands a replication program needs."""

from __future__ import annotations

from .errors import RefusalError, usage
from .machine import SUSPENDED, Machine
from .options import parse
from .state import Pool


def pools(machine: Machine, names: list[str]) -> tuple[list[Pool], bool]:
    found, failed = [], False
    for name in names or sorted(machine.host.pools):
        pool = machine.host.pools.get(name)
        if pool is None:
            machine.err.append(f"cannot open '{name}': no such pool")
            failed = True
        else:
            found.append(pool)
    return found, failed


def value(machine: Machine, pool: Pool, prop: str) -> str:
    allocated = machine.used(machine.host.datasets[pool.name])
    free = 0 if pool.full else pool.size - allocated
    match prop:
        case "name" | "guid" | "size" | "health":
            return str(getattr(pool, prop))
        case "allocated" | "alloc":
            return str(pool.size - free)
        case "free":
            return str(free)
        case "capacity" | "cap":
            return str(100 * (pool.size - free) // pool.size)
        case "readonly":
            return "on" if pool.readonly else "off"
    feature = prop.removeprefix("feature@")
    if feature == prop:
        return "-"
    return "disabled" if feature in pool.lacks else "active" if feature in ACTIVE else "enabled"


# Of a pool that is new.
ACTIVE = frozenset({"embedded_data", "lz4_compress"})
FEATURES = ("embedded_data", "encryption", "large_blocks", "lz4_compress", "zstd_compress")
ALL = ("size", "capacity", "health", "guid", "readonly", *(f"feature@{name}" for name in FEATURES))


def do_list(machine: Machine, args: list[str]) -> int:
    options = parse(args, "gHLpPo:T:vj")
    wanted = (options.last("o") or "name,size,allocated,free,capacity,health").split(",")
    found, failed = pools(machine, options.rest)
    machine.out.extend("\t".join(value(machine, pool, prop) for prop in wanted) for pool in found)
    return int(failed and not found)


def do_get(machine: Machine, args: list[str]) -> int:
    options = parse(args, "o:Hpj")
    if not options.rest:
        raise usage("missing property argument")
    columns = (options.last("o") or "name,property,value,source").split(",")
    found, failed = pools(machine, options.rest[1:])
    for pool in found:
        for prop in ALL if options.rest[0] == "all" else options.rest[0].split(","):
            if prop.startswith("feature@") and prop not in ALL:
                continue  # one that this ZFS does not know
            source = "local" if prop.startswith("feature@") else "-"
            cells = {"name": pool.name, "property": prop, "value": value(machine, pool, prop), "source": source}
            machine.out.append("\t".join(cells[column] for column in columns))
    return int(failed)


def do_sync(machine: Machine, args: list[str]) -> int:
    found, failed = pools(machine, parse(args, "f").rest)
    for pool in found:
        if machine.suspended(pool.name):
            machine.err.append(f"sync '{pool.name}' failed: {SUSPENDED}")
            return 1
        machine.wait_txg(pool)
    return int(failed)


def run(machine: Machine, args: list[str]) -> int:
    commands = {"list": do_list, "get": do_get, "sync": do_sync}
    if not args or args[0] not in commands:
        raise RefusalError(f"unrecognized command '{args[0] if args else ''}'", "usage:", rc=2)
    return commands[args[0]](machine, args[1:])
