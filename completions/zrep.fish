# fish completion for zrep(8)

# The words before the cursor without the program and -t TAG: first the command, if it is complete.
function __zrep_words
    set -l words (commandline -opc)
    set -e words[1]
    while contains -- "$words[1]" -t --tag
        set -e words[1]
        set -e words[1]
    end
    test (count $words) -eq 0; or printf '%s\n' $words
end

function __zrep_needs_command
    set -l words (__zrep_words)
    test (count $words) -eq 0
end

# Whether the command on the line is one of the arguments: a name, or its short form.
function __zrep_command_is
    set -l words (__zrep_words)
    test (count $words) -gt 0; and contains -- "$words[1]" $argv
end

# Whether the next argument of the command in $argv[2..] is number $argv[1].
function __zrep_argument_is
    set -l number $argv[1]
    set -l words (__zrep_words)
    test (count $words) -gt 0; and contains -- "$words[1]" $argv[2..]; or return 1
    set -l arguments
    set -l skip no
    for word in $words[2..]
        if test $skip = yes
            set skip no
        else if contains -- $word --src-host --savecount --send-flags --own-host --reason --fence-cmd --gone --exclude --strip --lease --minfree --keep --keep-foreign --unsent --bwlimit --compress --max-lag --after --wait --output -q -o -S -w -c --color
            set skip yes
        else if not string match -q -- '-*' $word
            set -a arguments $word
        end
    end
    test (math (count $arguments) + 1) -eq $number
end

# Filesystems of pairs here; the options of zrep list choose. Under the tag that stands on the line.
function __zrep_pairs
    set -l words (commandline -opc)
    set -l tag
    if contains -- "$words[2]" -t --tag; and test (count $words) -gt 2
        set tag -t $words[3]
    end
    command -q zrep; and zrep $tag list -H $argv 2>/dev/null | cut -f 1
end

function __zrep_filesystems
    command -q zfs; and zfs list -H -o name -t filesystem,volume 2>/dev/null
end

complete -c zrep -f

complete -c zrep -n __zrep_needs_command -s t -l tag -x -d 'Another set of pairs'
complete -c zrep -n __zrep_needs_command -s V -l version -d 'Print the version'
complete -c zrep -s h -l help -d 'Show help'

complete -c zrep -n __zrep_needs_command -a init -d 'Replicate a filesystem to another host from now on'
complete -c zrep -n __zrep_needs_command -a sync -d 'Bring replicas up to date'
complete -c zrep -n __zrep_needs_command -a refresh -d 'On the replica: fetch what is new from the master'
complete -c zrep -n __zrep_needs_command -a failover -d 'On the master: make the peer the master'
complete -c zrep -n __zrep_needs_command -a takeover -d 'On the replica: become the master'
complete -c zrep -n __zrep_needs_command -a rejoin -d 'On an old master that returned: become the replica'
complete -c zrep -n __zrep_needs_command -a rehearse -d 'Prove on a clone that the replica can be used'
complete -c zrep -n __zrep_needs_command -a expire -d 'Destroy surplus zrep snapshots'
complete -c zrep -n __zrep_needs_command -a list -d 'What is replicated from and to this host'
complete -c zrep -n __zrep_needs_command -a status -d 'How each pair is, after asking the peers'
complete -c zrep -n __zrep_needs_command -a history -d 'What was done to pairs'
complete -c zrep -n __zrep_needs_command -a pause -d 'Let sync leave filesystems alone'
complete -c zrep -n __zrep_needs_command -a unpause -d 'End a pause'
complete -c zrep -n __zrep_needs_command -a changeconfig -d 'Change what this side knows of the pair'
complete -c zrep -n __zrep_needs_command -a clear -d 'End a pair on both sides'
complete -c zrep -n __zrep_needs_command -a doctor -d 'Look at both hosts for what will hurt later'
complete -c zrep -n __zrep_needs_command -a boot -d 'At boot: masters are read-only until their peers have answered'
complete -c zrep -n __zrep_needs_command -a allow -d 'Print what a user needs to replicate without being root'
complete -c zrep -n __zrep_needs_command -a gate -d 'For authorized_keys: all that a key is good for'
complete -c zrep -n __zrep_needs_command -a version -d 'Print the version'

# options of several commands
set -l changing init -i sync -S refresh failover takeover rejoin rehearse expire -e pause unpause changeconfig -C clear
complete -c zrep -n "__zrep_command_is $changing" -s n -l dry-run -d 'Print each command with its host, change nothing'
complete -c zrep -n "__zrep_command_is $changing" -s v -l verbose -d 'Say what was done'
complete -c zrep -n "__zrep_command_is $changing" -l json -d 'Results and errors as one JSON document'
complete -c zrep -n '__zrep_command_is failover takeover' -l force-unmount -d 'Go on although it is in use'
complete -c zrep -n '__zrep_command_is rehearse' -l suid-dev -d 'Let setuid programs and devices in the clone work'
complete -c zrep -n '__zrep_command_is expire -e clear' -s L -d 'Only this side, the peer is not asked'
complete -c zrep -n '__zrep_command_is expire -e' -l gone -x -d 'And what was set aside in trees longer ago: 30d'
complete -c zrep -n '__zrep_command_is sync -S refresh expire -e status -s' -l may-be-empty -d 'No pair under this tag is no mistake'

# how list and status print
set -l fields name role peer state sent lag behind unsent tag epoch synced code cause detail moving advice left_out failed failed_command set_complete stream_at stream_took stream_size
complete -c zrep -n '__zrep_command_is list -l status -s' -s H -d 'Tab-separated, no heading, exact numbers'
complete -c zrep -n '__zrep_command_is list -l status -s' -s p -d 'Exact numbers and whole names'
complete -c zrep -n '__zrep_command_is list -l status -s' -s o -x -a "$fields" -d 'These fields'
complete -c zrep -n '__zrep_command_is list -l status -s' -s s -x -a "$fields" -d 'Sort by a field'
complete -c zrep -n '__zrep_command_is list -l status -s' -s S -x -a "$fields" -d 'Sort by a field, descending'
complete -c zrep -n '__zrep_command_is list -l status -s' -s j -l json -d 'As one JSON document'
complete -c zrep -n '__zrep_command_is list -l status -s' -l color -x -a 'auto always never' -d 'When to use colours'

complete -c zrep -n '__zrep_command_is list -l status -s' -s r -d 'The members of trees too'

# init
complete -c zrep -n '__zrep_command_is init -i' -l pull -d 'On the host of the replica: HOST SRC_FS DEST_FS'
complete -c zrep -n '__zrep_command_is init -i' -l adopt -d 'DEST_FS is there, made by any program: go on from what both have'
complete -c zrep -n '__zrep_command_is clear' -l keep-base -d 'Leave the base on both sides, for a later init --adopt'
complete -c zrep -n '__zrep_command_is init -i' -l src-host -x -a '(__fish_print_hostnames)' -d 'The name by which HOST reaches this host'
complete -c zrep -n '__zrep_command_is init -i' -s r -l recursive -d 'And everything below, as one tree'
complete -c zrep -n '__zrep_command_is init -i' -l exclude -x -d 'With -r: leave out what is below and so called'
complete -c zrep -n '__zrep_command_is init -i' -l strip -x -d 'The replica is FS without this, below DEST_FS'
complete -c zrep -n '__zrep_command_is init -i' -l savecount -x -d 'Snapshots each side keeps'
complete -c zrep -n '__zrep_command_is init -i' -l send-flags -x -d 'Flags of every zfs send of this pair'
complete -c zrep -n '__zrep_command_is init -i changeconfig -C' -s o -x -d 'The replica\'s own value of a property'
complete -c zrep -n '__zrep_command_is init -i changeconfig -C' -s x -x -d 'A property that does not follow to the replica'
complete -c zrep -n '__zrep_argument_is 1 init -i' -a '(__zrep_filesystems)' -d Filesystem
complete -c zrep -n '__zrep_argument_is 2 init -i changeconfig -C' -a '(__fish_print_hostnames)' -d Host

# sync
complete -c zrep -n '__zrep_command_is sync -S refresh' -s q -x -d 'Busy is no news when synced that recently, in seconds'
complete -c zrep -n '__zrep_command_is sync -S refresh' -s j -x -d 'Streams at once to each peer'
complete -c zrep -n '__zrep_command_is sync -S refresh' -l after -x -d 'With all, how long a trouble has to last to be told'
complete -c zrep -n '__zrep_command_is sync -S' -l crash-consistent -d 'A snapshot although a before-snapshot hook has failed'
complete -c zrep -n '__zrep_command_is sync -S' -s f -d 'Roll a replica that was changed by hand back to the base'
complete -c zrep -n '__zrep_argument_is 1 sync -S refresh expire -e' -a all -d 'All of them'
complete -c zrep -n '__zrep_command_is sync -S pause' -a '(__zrep_pairs -L)' -d Master

# doctor
complete -c zrep -n '__zrep_command_is doctor' -l fix -d 'Mend what is safe to mend'
complete -c zrep -n '__zrep_command_is doctor' -l may-be-empty -d 'No pair under this tag is no mistake'
complete -c zrep -n '__zrep_command_is doctor' -s v -l verbose -d 'Say what was done'
complete -c zrep -n '__zrep_command_is doctor' -l json -d 'Results and errors as one JSON document'
complete -c zrep -n '__zrep_command_is doctor' -a '(__zrep_pairs)' -d Filesystem

# boot
complete -c zrep -n '__zrep_command_is boot' -l ask -d 'Ask their peers; the right masters are writable again'
complete -c zrep -n '__zrep_command_is boot' -l wait -x -d 'For how long a peer is waited for'
complete -c zrep -n '__zrep_command_is boot' -l open -d 'Those whose peer did not answer become writable too'
complete -c zrep -n '__zrep_command_is boot' -s v -l verbose -d 'Say what was done'
complete -c zrep -n '__zrep_command_is boot' -l json -d 'Results and errors as one JSON document'

# allow, gate, version
complete -c zrep -n '__zrep_command_is allow version' -l json -d 'Results and errors as one JSON document'
complete -c zrep -n '__zrep_command_is allow' -l send -d 'Streams go from here'
complete -c zrep -n '__zrep_command_is allow' -l receive -d 'Streams come here'
complete -c zrep -n '__zrep_command_is allow' -l apply -d 'Set it'
complete -c zrep -n '__zrep_argument_is 1 allow' -a '(__fish_complete_users)' -d User
complete -c zrep -n '__zrep_argument_is 2 allow' -a '(__zrep_filesystems)' -d Filesystem
complete -c zrep -n '__zrep_command_is gate' -l tree -x -a '(__zrep_filesystems)' -d 'What the peer may work in'
complete -c zrep -n '__zrep_command_is gate' -l send -d 'The peer may take streams from here'
complete -c zrep -n '__zrep_command_is gate' -l receive -d 'The peer may bring streams here'
complete -c zrep -n '__zrep_command_is gate' -l keep -d 'What has arrived stays, whatever the peer asks'

# failover, takeover, rejoin
complete -c zrep -n '__zrep_argument_is 1 failover' -a '(__zrep_pairs -L)' -d Master
complete -c zrep -n '__zrep_command_is takeover' -s L -d 'The master is gone, take over alone'
complete -c zrep -n '__zrep_command_is takeover' -s f -l force -d 'With -L: although the master answers'
complete -c zrep -n '__zrep_command_is takeover' -l newest -d 'With -L: each member of a tree keeps its newest'
complete -c zrep -n '__zrep_command_is takeover' -l yes -d 'With -L: agree to the loss without being asked'
complete -c zrep -n '__zrep_command_is takeover' -l fence-cmd -x -d 'With -L: run first, take over only if it ends 0'
complete -c zrep -n '__zrep_command_is rejoin' -s f -d 'In a split brain: give the role of this side up'
complete -c zrep -n '__zrep_command_is rejoin' -l peer -d 'On the new master: the other half becomes the replica'
complete -c zrep -n '__zrep_argument_is 1 takeover rejoin rehearse changeconfig -C clear' -a '(__zrep_pairs)' -d Filesystem

# expire, list, status, history, unpause
complete -c zrep -n '__zrep_command_is expire -e refresh list -l status -s history unpause' -a '(__zrep_pairs)' -d Filesystem
complete -c zrep -n '__zrep_command_is list -l' -s L -d 'Masters only'
complete -c zrep -n '__zrep_command_is list -l' -l snapshots -d 'The zrep snapshots of each'
complete -c zrep -n '__zrep_command_is list -l' -s v -l verbose -d 'Every property zrep keeps'

complete -c zrep -n '__zrep_command_is status -s' -l nagios -d 'As a plugin of Nagios'
complete -c zrep -n '__zrep_command_is status -s' -s w -x -d 'With --nagios: lag for a warning'
complete -c zrep -n '__zrep_command_is status -s' -s c -x -d 'With --nagios: lag that is critical'
complete -c zrep -n '__zrep_command_is status -s' -l prometheus -d 'Metrics in the text format of Prometheus'
complete -c zrep -n '__zrep_command_is status -s' -l output -r -F -d 'With --prometheus or --html: into a file'
complete -c zrep -n '__zrep_command_is status -s' -l html -d 'As a page for a browser or a mail'
complete -c zrep -n '__zrep_command_is status -s' -l watch -d 'Again and again, after 2 seconds or so many'

# history
complete -c zrep -n '__zrep_command_is history' -s v -l verbose -d 'And what moved no role'
complete -c zrep -n '__zrep_command_is history' -l json -d 'One JSON document'

# pause
complete -c zrep -n '__zrep_command_is pause' -l reason -x -d 'Kept with the pause'

# changeconfig
complete -c zrep -n '__zrep_command_is changeconfig -C' -l own-host -x -a '(__fish_print_hostnames)' -d 'The name by which the peer reaches this host'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l savecount -x -d 'Snapshots this side keeps'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l lease -x -d 'As master: read-only after so many seconds without the peer'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l minfree -x -d 'What to keep free in the pool of this side'
complete -c zrep -n '__zrep_command_is changeconfig -C' -s r -d 'Everything below with it, as one tree'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l no-recursive -d 'No more'
complete -c zrep -n '__zrep_command_is expire -e' -l yes -d 'Although a schedule lets go of more than a quarter at once'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l keep -x -d 'And by this schedule: 24h 14d 8w 12m 5y'
complete -c zrep -n '__zrep_command_is init -i changeconfig -C' -l bwlimit -x -d 'Bytes a second on the wire: 500K, 10M, none'
complete -c zrep -n '__zrep_command_is init -i changeconfig -C' -l compress -x -a 'zstd lz4 gzip pigz none' -d 'Its streams on the wire'
complete -c zrep -n '__zrep_command_is init -i changeconfig -C' -l all-snapshots -d 'Those of others travel too'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l no-all-snapshots -d 'No more'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l keep-foreign -x -d 'Snapshots of others that the rules are for too'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l unsent -x -a 'keep drop' -d 'What is not replicated yet'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l exclude -d 'Out of the tree that it is in'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l include -d 'In it again'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l max-lag -x -d 'How long the replica may be behind before it is late'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l after -x -d 'How long a trouble has to last to be told'
complete -c zrep -n '__zrep_command_is changeconfig -C' -l moved -d 'Its pool was moved to this host for good'
