# bash completion for zrep(8)

# Filesystems of pairs here, one a line; the options of zrep list choose. Under the tag that stands on the line.
_zrep_pairs() {
    zrep "${tag[@]}" list -H "$@" 2>/dev/null | cut -f 1
}

# Offer what of stdin, one candidate a line, begins with the current word. Names may hold blanks and colons.
_zrep_offer() {
    local candidate reply stem=
    # readline breaks words at colons where COMP_WORDBREAKS says so: then only what follows the last one is replaced.
    [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]] && stem=${cur%"${cur##*:}"}
    while IFS= read -r candidate; do
        [[ $candidate == "$cur"* ]] || continue
        printf -v reply %q "${candidate#"$stem"}"
        COMPREPLY+=("$reply")
    done
}

_zrep() {
    local commands="init sync refresh failover takeover rejoin rehearse expire list status history pause unpause changeconfig clear doctor boot allow gate version"
    local rows="-H -p -o -s -S -j --json --color"
    local fields="name role peer state sent lag behind unsent tag epoch synced code cause detail moving advice left_out failed failed_command set_complete stream_at stream_took stream_size"
    local line=${COMP_LINE:0:COMP_POINT} cur command options='' takes='' word previous=''
    local -a words tag=()
    local -i index=1 position=0
    COMPREPLY=()
    # Words as a person sees them: split at blanks, a backslash keeps one.
    IFS=$' \t' read -a words <<<"$line"
    [[ $line == *[[:blank:]] && $line != *\\[[:blank:]] ]] && words+=("")
    cur=${words[${#words[@]} - 1]}

    while ((index < ${#words[@]} - 1)) && [[ ${words[index]} == -t || ${words[index]} == --tag ]]; do
        tag=(-t "${words[index + 1]}")
        index+=2
    done
    ((index >= ${#words[@]})) && return # the value of -t
    if ((index == ${#words[@]} - 1)); then
        _zrep_offer <<<"${commands// /$'\n'}"
        [[ $cur == -* ]] && _zrep_offer < <(printf '%s\n' -t --tag -h --help -V --version)
        return
    fi

    command=${words[index]}
    case $command in
        init | -i) command=init options="--pull --adopt --src-host --savecount --send-flags --bwlimit --compress --all-snapshots -o -x -r --recursive --exclude --strip -n --dry-run -v --verbose --json"
            takes="--src-host --savecount --send-flags --bwlimit --compress -o -x --exclude --strip" ;;
        sync | -S) command=sync options="-q -j -f --crash-consistent --after --may-be-empty -n --dry-run -v --verbose --json" takes="-q -j --after" ;;
        refresh) options="-q -j --after --may-be-empty -n --dry-run -v --verbose --json" takes="-q -j --after" ;;
        failover) options="--force-unmount -n --dry-run -v --verbose --json" ;;
        takeover) options="-L -f --force --yes --newest --fence-cmd --force-unmount -n --dry-run -v --verbose --json" takes="--fence-cmd" ;;
        rejoin) options="-f --peer -n --dry-run -v --verbose --json" ;;
        rehearse) options="--suid-dev -n --dry-run -v --verbose --json" ;;
        expire | -e) command=expire options="-L --gone --yes --may-be-empty -n --dry-run -v --verbose --json" takes="--gone" ;;
        list | -l) command=list options="-L -r --snapshots -v --verbose $rows" takes="-o -s -S --color" ;;
        status | -s) command=status options="-r --may-be-empty --nagios -w -c --prometheus --html --output --watch $rows"
            takes="-o -s -S --color -w -c --output" ;;
        history) options="-v --verbose --json" ;;
        pause) options="--reason -n --dry-run -v --verbose --json" takes="--reason" ;;
        unpause) options="-n --dry-run -v --verbose --json" ;;
        changeconfig | -C) command=changeconfig
            options="--own-host --savecount --lease --minfree --keep --keep-foreign --unsent --bwlimit --compress --all-snapshots --no-all-snapshots --max-lag --after --moved -o -x -r --no-recursive --exclude --include -n --dry-run -v --verbose --json"
            takes="--own-host --savecount --lease --minfree --keep --keep-foreign --unsent --bwlimit --compress --max-lag --after -o -x" ;;
        clear) options="-L --keep-base -n --dry-run -v --verbose --json" ;;
        doctor) options="--fix --may-be-empty -v --verbose --json" ;;
        boot)
            options="--ask --wait --open -v --verbose --json"
            takes="--wait" ;;
        allow) options="--send --receive --apply --json" ;;
        gate) options="--tree --send --receive --keep" takes="--tree" ;;
        version) options="--json" ;;
        *) return ;;
    esac

    # How many arguments stand before the current word, and whether it is the value of an option.
    for word in "${words[@]:index+1:${#words[@]}-index-2}"; do
        if [[ -n $previous ]]; then
            previous=
        elif [[ " $takes " == *" $word "* ]]; then
            previous=$word
        elif [[ $word != -* ]]; then
            position+=1
        fi
    done
    case $previous in
        '') ;;
        --src-host | --own-host) _zrep_offer < <(compgen -A hostname -- "$cur") ; return ;;
        -o | -s | -S) [[ $takes == *-S* ]] && _zrep_offer <<<"${fields// /$'\n'}"; return ;;
        --tree) _zrep_offer < <(zfs list -H -o name -t filesystem,volume 2>/dev/null) ; return ;;
        --output) _zrep_offer < <(compgen -f -- "$cur") ; return ;;
        --color) _zrep_offer < <(printf '%s\n' auto always never) ; return ;;
        --compress) _zrep_offer < <(printf '%s\n' zstd lz4 gzip pigz none) ; return ;;
        --unsent) _zrep_offer < <(printf '%s\n' keep drop) ; return ;;
        *) return ;;
    esac
    if [[ $cur == -* ]]; then
        options+=" -h --help"
        options=${options# }
        _zrep_offer <<<"${options// /$'\n'}"
        return
    fi

    case $command:$position in
        init:0) _zrep_offer < <(zfs list -H -o name -t filesystem,volume 2>/dev/null) ;;
        allow:0) _zrep_offer < <(compgen -u -- "$cur") ;;
        allow:1) _zrep_offer < <(zfs list -H -o name -t filesystem,volume 2>/dev/null) ;;
        init:1 | changeconfig:1) _zrep_offer < <(compgen -A hostname -- "$cur") ;;
        sync:0) _zrep_offer < <(echo all; _zrep_pairs -L) ;;
        expire:0 | refresh:0) _zrep_offer < <(echo all; _zrep_pairs) ;;
        sync:* | pause:* | failover:0) _zrep_offer < <(_zrep_pairs -L) ;;
        takeover:0 | rejoin:0 | rehearse:0 | changeconfig:0 | clear:0) _zrep_offer < <(_zrep_pairs) ;;
        expire:* | doctor:* | refresh:* | list:* | status:* | history:* | unpause:*) _zrep_offer < <(_zrep_pairs) ;;
    esac
} &&
    complete -F _zrep zrep
