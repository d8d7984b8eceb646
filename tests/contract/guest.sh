# The helpers of the cases on a real host. Sourced by what on_lab.py sends.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
W=$(mktemp -d)
chmod 777 "$W"
cd "$W"

last_group() { tail -n 1 /proc/spl/kstat/zfs/tank/txgs | cut -d' ' -f1; }
place() { zfs get -H -o value mountpoint "$1"; }
reason() { sed 's/.*: //' >&2; }
later() { { printf %s "$3" > "$(place "$1")/$2"; } 2>&1 | reason; return "${PIPESTATUS[0]}"; }
write() { later "$@"; local rc=$?; zpool sync "${1%%/*}"; return $rc; }
append() { { printf %s "$3" >> "$(place "$1")/$2"; } 2>&1 | reason; zpool sync "${1%%/*}"; }
fsync() { later "$@"; python3 -c 'import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDWR))' "$(place "$1")/$2"; }
directory() { mkdir "$(place "$1")/$2"; zpool sync "${1%%/*}"; }
unlink() { rm "$(place "$1")/$2"; zpool sync "${1%%/*}"; }
fill() { head -c "${3:-2000000}" /dev/urandom > "$(place "$1")/$2"; zpool sync "${1%%/*}"; }
hog() { head -c 100000000 /dev/urandom > "/$1/hog" 2>/dev/null; zpool sync "${1%%/*}"; }
unhog() { rm -f "/$1/hog"; zpool sync "${1%%/*}"; zpool sync "${1%%/*}"; }
show() {
    local where
    case $1 in
        *@*) where=$(place "${1%@*}")/.zfs/snapshot/${1#*@} ;;
        *) where=$(place "$1") ;;
    esac
    (cd "$where" && for f in *; do [ -f "$f" ] && [ "$(stat -c %s "$f")" -lt 1000 ] && echo "$f=$(cat "$f")"; done; true)
}
tmpfs() { mount -t tmpfs tmpfs "$1"; }
leads() {  # neither findmnt nor df tells: both look for the path among the mounts, hidden or not
    python3 -c '
import os, sys
place = os.stat(sys.argv[1]).st_dev
for line in open("/proc/self/mountinfo"):
    if line.split()[2] == f"{os.major(place)}:{os.minor(place)}":
        print(line.partition(" - ")[2].split()[1])
' "$1"
}
tear() { head -c $(( $(stat -c %s "$1") / 2 )) "$1" > "$2"; }
groups() { local a b rc; a=$(last_group); "$@"; rc=$?; b=$(last_group); echo "groups $((b - a))"; return $rc; }
key() { head -c 32 /dev/zero > "/tmp/zrep-contract-$1"; }
phrase() { echo "passphrase of $1" > "/tmp/zrep-contract-$1"; }
placekey() {
    python3 -c '
import ctypes, sys
core = ctypes.CDLL("libzfs_core.so.3")
core.libzfs_core_init()
change = core.lzc_change_key
change.argtypes = (ctypes.c_char_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
print(change(sys.argv[1].encode(), {"own": 4, "inherit": 5}[sys.argv[2]], None, None, 0))
' "$@"
}
nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
ram() {
    mkdir -p /ram && mount -t tmpfs -o size=40m tmpfs /ram && truncate -s 100M "/ram/$1"
    zpool create -o ashift=12 "$1" "/ram/$1"
}
suspend() {
    dd if=/dev/zero of=/ram/filler bs=1M 2> /dev/null
    # It hangs in the kernel until the pool goes on.
    (head -c 4000000 /dev/urandom > "/$1/hog"; sync "/$1/hog") > /dev/null 2>&1 < /dev/null &
    until [ "$(cat "/proc/spl/kstat/zfs/$1/state")" = SUSPENDED ]; do sleep 0.1; done
}
resume() { rm -f /ram/filler; zpool clear "$1"; zpool sync "$1"; }
away() { zpool export "$1"; }
back() { zpool import -d /ram "$1"; }
busy() { (cd "$(place "$1")" && exec sleep 600 > /dev/null 2>&1 < /dev/null) & echo $! > "$W/.busy"; sleep 0.1; }
free() { kill "$(cat "$W/.busy")"; wait "$(cat "$W/.busy")" 2> /dev/null; rm "$W/.busy"; }
map() {
    mkfifo "$W/.store" "$W/.stored"
    ${NAMESPACE:-} python3 -c '
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 4096)
m = mmap.mmap(f, 4096)
open(sys.argv[3], "w").write("mapped\n")
for text in iter(lambda: open(sys.argv[2]).read(), "end"):
    m[: len(text)] = text.encode()
    m.flush()
    open(sys.argv[3], "w").write("stored\n")
' "$(place "$1")/$2" "$W/.store" "$W/.stored" > /dev/null 2>&1 < /dev/null &
    echo $! > "$W/.mapper"
    cat "$W/.stored" > /dev/null
    zpool sync "${1%%/*}"
}
elsewhere() { NAMESPACE="unshare --mount" "$@"; }
store() { printf %s "$3" > "$W/.store"; cat "$W/.stored" > /dev/null; zpool sync "${1%%/*}"; }
unmap() { kill "$(cat "$W/.mapper")"; wait "$(cat "$W/.mapper")" 2> /dev/null; rm -f "$W"/.store* "$W/.mapper"; }
queue() { mkfifo "$W/.queue"; cat "$@" > "$W/.queue" & exec 8< "$W/.queue"; rm "$W/.queue"; }
next() { "$@" <&8; }
begin() {
    local file=$1 half
    shift
    half=$(( $(stat -c %s "$file") / 2 ))
    tail -c +$((half + 1)) "$file" > "$W/.rest"
    mkfifo "$W/.stream"
    "$@" < "$W/.stream" > "$W/.received" 2>&1 &
    echo $! > "$W/.receiver"
    exec 9> "$W/.stream"
    head -c $half "$file" >&9
    sleep 0.5
    zpool sync tank
}
end() {
    local rc
    cat "$W/.rest" >&9 2> /dev/null
    exec 9>&-
    wait "$(cat "$W/.receiver")"
    rc=$?
    cat "$W/.received" >&2
    rm -f "$W"/.stream "$W"/.re*
    return $rc
}
step() {
    printf '\036'
    eval "$1" > "$W/.out" 2> "$W/.err" < /dev/null
    local rc=$?
    cat "$W/.out"
    printf '\037'
    cat "$W/.err"
    printf '\037%d' $rc
}
# Before and after every case, and most often there is nothing: what is asked of the shell alone costs nothing.
clean() {
    local f top
    exec 9>&-
    for f in "$W/.busy" "$W/.mapper" "$W/.receiver"; do
        if [ -f "$f" ]; then kill "$(cat "$f")" 2> /dev/null; wait "$(cat "$f")" 2> /dev/null; rm -f "$f"; fi
    done
    while [[ $(< /proc/mounts) == *"tmpfs /tank/"* ]]; do
        umount -l "$(findmnt -n -t tmpfs -o TARGET | grep ^/tank/)" || break
    done
    for top in $(zfs list -H -d 0 -o name tank/c small/c 2> /dev/null); do
        zfs list -H -r -t snapshot -o name,userrefs "$top" 2> /dev/null | while read -r name refs; do
            [ "$refs" = 0 ] || zfs holds -H "$name" | cut -f2 | while read -r tag; do zfs release "$tag" "$name"; done
        done
        zfs destroy -f -R "$top" 2> /dev/null
    done
    if [[ $(< /proc/mounts) == *" /ram "* ]]; then
        [ -d /proc/spl/kstat/zfs/lost ] || back lost
        resume lost
        wait
        zpool destroy -f lost
        umount /ram
    fi
    rm -rf /tank/c /small/c /tank/hog /small/hog
    zfs inherit zrep:pool tank
    zpool sync tank small
}
