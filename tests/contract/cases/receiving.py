"""Receiving: what is refused, what a torn stream leaves, and what happens under a stream."""

from __future__ import annotations

from ..script import case
from .setups import BIG, NEXT, PAIR, VOLUMES

RECEIVING = [
    case(
        "receive_on_a_modified_one",
        "Fact 1: an increment is refused when the target was modified since the base.",
        PAIR
        + NEXT
        + """
        zfs mount tank/c/b
        write tank/c/b own x
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        zfs rollback tank/c/b@1
        zfs receive -u tank/c/b < s2
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "receive_one_after_the_other",
        "A receive takes its own stream out of a pipe and not a byte more: the next one may follow it there.",
        PAIR
        + NEXT
        + """
        zfs create -s -V 16M tank/c/v
        zfs snapshot tank/c/v@1
        zfs send tank/c/v@1 > s3
        zfs send -p -L -e -c tank/c/a@2 > s4
        zfs send -i @1 tank/c/a@2 > s5
        queue s2 s3 s4 s1 s5
        next zfs receive -s -u tank/c/b
        next zfs receive -s tank/c/w
        next zfs receive -s -u -o readonly=on -x mountpoint tank/c/d
        next zfs receive -s -u tank/c/e
        next zfs receive -s -u tank/c/e
        next zfs receive -s -u tank/c/e
        zfs list -H -p -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "receive_on_a_bare_snapshot",
        "Fact 1: a bare snapshot on top does not refuse the next stream, it stays where it is.",
        PAIR
        + NEXT
        + """
        zfs snapshot tank/c/b@own
        zfs hold tag tank/c/b@own
        zfs receive -u tank/c/b < s2
        zfs list -H -o name,guid -t snapshot -s createtxg tank/c/b
        """,
    ),
    case(
        "promotion_fence",
        "Fact 1: dirtied, then snapshot: no stream fits any more, and with a hold on it receive -F does not either.",
        PAIR
        + NEXT
        + """
        zfs set readonly=on tank/c/b
        zfs set userquota@4294967294=none tank/c/b
        zfs snapshot tank/c/b@fence
        zfs list -H -p -o name,written -t snapshot tank/c/b
        zfs receive -u tank/c/b < s2
        zfs hold tag tank/c/b@fence
        zfs receive -u -F tank/c/b < s2
        zfs list -H -p -o name -t snapshot tank/c/b
        zfs release tag tank/c/b@fence
        zfs receive -u -F tank/c/b < s2
        zfs list -H -p -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "promotion_fence_of_a_volume",
        "Fact 1: the same for a volume.",
        VOLUMES
        + """
        zfs snapshot tank/c/v@2
        zfs send -i @1 tank/c/v@2 > s2
        zfs set volsize=16777216 tank/c/w
        zfs snapshot tank/c/w@fence
        zfs receive tank/c/w < s2
        zfs list -H -o name -t snapshot tank/c/w
        """,
    ),
    case(
        "receive_from_another_base",
        "The base must be there.",
        PAIR
        + NEXT
        + """
        zfs destroy tank/c/b@1
        zfs receive -u tank/c/b < s2
        zfs snapshot tank/c/b@1
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        """,
    ),
    case(
        "receive_twice",
        "The same increment again: the snapshot is there, the stream is read and ignored.",
        PAIR
        + NEXT
        + """
        zfs receive -u tank/c/b < s2
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "receive_after_a_newer_one",
        "An older increment that was received already, and one from an older base over unmodified content.",
        PAIR
        + NEXT
        + """
        zfs receive -u tank/c/b < s2
        write tank/c/a h three
        zfs snapshot tank/c/a@3
        zfs send -i @1 tank/c/a@3 > s3
        zfs receive -u tank/c/b < s3
        zfs send -i @2 tank/c/a@3 > s23
        zfs receive -u tank/c/b < s23
        zfs receive -u tank/c/b < s2
        """,
    ),
    case(
        "receive_a_name_that_is_taken",
        "Another snapshot has the name of the one in the stream.",
        PAIR
        + NEXT
        + """
        zfs snapshot tank/c/b@2
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        zfs receive -u tank/c/b@other < s2
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "receive_in_full_refusals",
        "In full only where nothing is.",
        PAIR
        + """
        zfs receive -u tank/c/b < s1
        zfs receive -u -s tank/c/b < s1
        zfs receive -u -F tank/c/b < s1
        zfs create tank/c/e
        zfs receive -u tank/c/e < s1
        zfs receive -u tank/c/none/x < s1
        zfs receive -u nopool/x < s1
        zfs receive -u tank < s1
        zfs receive -u tank/c/x%y < s1
        zfs receive -u < s1
        """,
    ),
    case(
        "receive_an_increment_refusals",
        "An increment only where its base is.",
        PAIR
        + NEXT
        + """
        zfs receive -u tank/c/none < s2
        zfs receive -u tank/c/none/x < s2
        zfs create tank/c/e
        zfs receive -u tank/c/e < s2
        zfs create -s -V 16M tank/c/v
        zfs receive -u tank/c/v < s2
        zfs receive -u tank/c/v/x < s1
        """,
    ),
    case(
        "receive_what_is_no_stream",
        "No stream, or one that ends before it begins.",
        """
        zfs create tank/c/a
        zfs receive -u tank/c/b < /dev/null
        zfs receive -u -s tank/c/b < /dev/null
        zfs get -H type tank/c/b
        """,
    ),
    case(
        "receive_torn",
        "A torn stream leaves nothing without -s.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u tank/c/b < torn
        zfs list -H -o name -t snapshot tank/c/b
        zfs get -H -p -o value,source receive_resume_token tank/c/b
        zfs get -H -p -o value written tank/c/b
        zfs receive -u tank/c/b < s2
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "receive_torn_in_full",
        "The same for the first stream.",
        """
        zfs create tank/c/a
        fill tank/c/a big
        zfs snapshot tank/c/a@1
        zfs send tank/c/a@1 > s1
        tear s1 torn
        zfs receive -u tank/c/b < torn
        zfs get -H type tank/c/b
        zfs receive -u -s tank/c/b < torn
        zfs get -H -p -o property,value type,mounted,receive_resume_token tank/c/b
        zfs mount tank/c/b
        zfs list -H -o name -t snapshot tank/c/b
        zfs snapshot tank/c/b@own
        zfs receive -u -s tank/c/b < s1
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -u -s tank/c/b < rest
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs list -H -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "receive_resumed",
        "Fact 8: a torn stream with -s leaves a token; nothing else is received before it is used or discarded.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs list -H -o name -t filesystem -r tank/c
        zfs get -H -p -o value clones tank/c/b@1
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        zfs send -n -t TOKEN:tank/c/b
        zfs send -nP -t TOKEN:tank/c/b
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -u -s tank/c/b < rest
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs list -H -o name,guid -t snapshot -r tank/c
        zfs receive -u -s tank/c/b < rest
        """,
    ),
    case(
        "receive_resumed_after_a_rename",
        "Fact 8: the token survives a rename of both sides.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs rename tank/c/b tank/c/d
        zfs get -H -p -o property,value,source receive_resume_token tank/c/d
        zfs rename tank/c/a tank/c/z
        zfs send -n -t TOKEN:tank/c/d
        zfs rename tank/c/z tank/c/a
        zfs send -t TOKEN:tank/c/d > rest
        zfs receive -u -s tank/c/d < rest
        zfs list -H -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "receive_resumed_too_late",
        "Fact 8: after a promotion snapshot a resumed stream can never complete, until the state is discarded.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs set userquota@4294967294=none tank/c/b
        zfs snapshot tank/c/b@fence
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -u -s tank/c/b < rest
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs receive -A tank/c/b
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs receive -A tank/c/b
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "receive_resumed_after_a_bare_snapshot",
        "A bare snapshot on top makes a resumed stream fail as well.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs snapshot tank/c/b@own
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -u -s tank/c/b < rest
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        """,
    ),
    case(
        "receive_resumed_without_its_source",
        "The snapshot being sent, or its base, is gone.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs rename tank/c/a@2 tank/c/a@two
        zfs send -n -t TOKEN:tank/c/b
        zfs rename tank/c/a@1 tank/c/a@one
        zfs send -n -t TOKEN:tank/c/b
        zfs destroy tank/c/a@one
        zfs send -n -t TOKEN:tank/c/b
        zfs destroy tank/c/a@two
        zfs send -n -t TOKEN:tank/c/b
        zfs snapshot tank/c/a@2
        zfs send -n -t TOKEN:tank/c/b
        """,
    ),
    case(
        "receive_discarded",
        "receive -A takes the state away, and says so where there is none.",
        PAIR
        + BIG
        + """
        zfs receive -A tank/c/b
        zfs receive -A tank/c/none
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs receive -A tank/c/b
        zfs receive -u tank/c/b < s2
        zfs list -H -o name -t snapshot tank/c/b
        tear s1 torn1
        zfs receive -u -s tank/c/d < s1
        """,
    ),
    case(
        "token_and_rollback",
        "Rolling back, renaming and destroying with a half received snapshot.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs rollback tank/c/b@1
        zfs get -H -p -o property,value,source receive_resume_token tank/c/b
        zfs destroy tank/c/b@1
        zfs clone tank/c/b@1 tank/c/k
        zfs promote tank/c/k
        zfs get -H -p -o name,property,value,source receive_resume_token tank/c/b tank/c/k
        """,
    ),
    case(
        "destroy_with_a_token",
        "A half received snapshot does not keep its filesystem.",
        PAIR
        + BIG
        + """
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs destroy tank/c/b@1
        zfs destroy -r tank/c/b
        zfs get -H type tank/c/b
        """,
    ),
    case(
        "in_flight_a_second_stream",
        "While one stream is under way another is refused.",
        PAIR
        + BIG
        + """
        begin s2 zfs receive -u tank/c/b
        zfs receive -u tank/c/b < s2
        zfs get -H -p -o value receive_resume_token tank/c/b
        zfs receive -A tank/c/b
        zfs rename tank/c/b tank/c/x
        zfs hold tag tank/c/b@1
        zfs set zrep:x=1 tank/c/b
        end
        zfs list -H -o name -t snapshot -r tank/c
        """,
    ),
    case(
        "in_flight_resumable_a_second_stream",
        "The same with -s: it has a token already.",
        PAIR
        + BIG
        + """
        begin s2 zfs receive -u -s tank/c/b
        zfs receive -u -s tank/c/b < s2
        zfs get -H -p -o value receive_resume_token tank/c/b
        zfs receive -A tank/c/b
        end
        zfs list -H -o name -t snapshot -r tank/c
        zfs get -H -p -o value receive_resume_token tank/c/b
        """,
    ),
    case(
        "in_flight_a_snapshot",
        "Fact 1: a bare snapshot taken while a stream is under way makes it fail.",
        PAIR
        + BIG
        + """
        begin s2 zfs receive -u tank/c/b
        zfs snapshot tank/c/b@own
        end
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "in_flight_resumable_a_snapshot",
        "The same with -s.",
        PAIR
        + BIG
        + """
        begin s2 zfs receive -u -s tank/c/b
        zfs snapshot tank/c/b@own
        end
        zfs list -H -o name -t snapshot tank/c/b
        zfs get -H -p -o value receive_resume_token tank/c/b
        """,
    ),
    case(
        "in_flight_modified",
        "A modification while a stream is under way makes it fail, and leaves the target.",
        PAIR
        + BIG
        + """
        zfs mount tank/c/b
        begin s2 zfs receive -u tank/c/b
        write tank/c/b own x
        end
        zfs list -H -o name -t snapshot tank/c/b
        show tank/c/b
        """,
    ),
    case(
        "in_flight_rollback",
        "Rolling back under a stream.",
        PAIR
        + BIG
        + """
        begin s2 zfs receive -u tank/c/b
        zfs rollback tank/c/b@1
        zfs destroy -r tank/c/b
        end
        zfs list -H -o name -t snapshot tank/c/b
        """,
    ),
    case(
        "in_flight_in_full",
        "The filesystem that a first stream makes, while it does.",
        """
        zfs create tank/c/a
        fill tank/c/a big
        zfs snapshot tank/c/a@1
        zfs send tank/c/a@1 > s1
        begin s1 zfs receive -u tank/c/b
        zfs get -H -p -o property,value type,mounted,receive_resume_token tank/c/b
        zfs snapshot tank/c/b@own
        zfs destroy tank/c/b
        end
        zfs list -H -o name -t snapshot -r tank/c
        """,
    ),
    case(
        "in_flight_a_write_that_is_pending",
        "Fact 3: what no transaction group has yet, on the side that receives.",
        PAIR
        + NEXT
        + """
        zfs mount tank/c/b
        later tank/c/b own x
        zfs receive -u tank/c/b < s2
        zpool sync tank
        zfs list -H -o name -t snapshot tank/c/b
        show tank/c/b
        """,
    ),
    case(
        "receive_while_mounted",
        "A mounted target shows what came at once, and somebody working in it does not matter.",
        PAIR
        + NEXT
        + """
        zfs set readonly=on tank/c/b
        zfs mount tank/c/b
        busy tank/c/b
        zfs receive tank/c/b < s2
        show tank/c/b
        zfs get -H -p -o property,value written,mounted tank/c/b
        free
        """,
    ),
    case(
        "a_held_base_does_not_hinder",
        "Fact 5: a held base and a held snapshot being sent hinder nothing.",
        PAIR
        + NEXT
        + """
        zfs hold tag tank/c/a@1 tank/c/a@2 tank/c/b@1
        zfs receive -u -s tank/c/b < s2
        zfs hold tag tank/c/b@2
        zfs release tag tank/c/b@1
        zfs release tag tank/c/a@1
        zfs holds -H tank/c/b@2
        """,
    ),
    case(
        "a_clone_as_target",
        "Fact 7: the first mount point directory made in it breaks a clone as a target.",
        PAIR
        + NEXT
        + """
        zfs rename tank/c/b tank/c/b_split
        zfs clone -o canmount=noauto tank/c/b_split@1 tank/c/b
        zfs promote tank/c/b
        zfs mount tank/c/b
        zfs create tank/c/b/child
        zpool sync tank
        zfs get -H -p -o value written tank/c/b
        zfs receive -u tank/c/b < s2
        """,
    ),
    case(
        "a_clone_arrives_as_a_clone",
        "Of the snapshot with the guid that the stream begins at, the nearest to its own name; of an older one than it "
        "was made of, too. Torn it goes on; and promoted it goes on as any other.",
        """
        zfs create tank/c/s
        zfs create tank/c/s/a
        zfs create tank/c/t
        write tank/c/s/a f one
        zfs snapshot tank/c/s/a@1
        zfs send tank/c/s/a@1 > s1
        zfs receive -u tank/c/t/b < s1
        zfs snapshot tank/c/s/a@2
        zfs clone -o org:note=mine tank/c/s/a@2 tank/c/s/k
        write tank/c/s/k g two
        fill tank/c/s/k big
        zfs snapshot tank/c/s/k@3
        zfs send -p -i tank/c/s/a@1 tank/c/s/k@3 > s3
        zfs receive -s -u -x mountpoint -o readonly=on -o canmount=noauto tank/c/t/d < s3
        zfs get -H -p -o property,value,source origin,org:note,readonly,mounted,written tank/c/t/d
        zfs get -H -p -o value clones tank/c/t/b@1
        zfs mount tank/c/t/d
        show tank/c/t/d
        tear s3 torn
        zfs receive -s -u tank/c/t/f < torn
        zfs get -H -p -o value origin tank/c/t/f
        zfs send -t TOKEN:tank/c/t/f > rest
        zfs receive -s -u tank/c/t/f < rest
        zfs get -H -p -o value origin,receive_resume_token tank/c/t/f
        zfs mount tank/c/t/f
        show tank/c/t/f
        zfs unmount tank/c/t/f
        zfs receive -s -u tank/c/t/g < torn
        zfs receive -A tank/c/t/g
        zfs get -H type tank/c/t/g
        zfs destroy tank/c/t/b@1
        zfs promote tank/c/t/d
        zfs get -H -p -o name,value origin tank/c/t/b tank/c/t/d tank/c/t/f
        write tank/c/s/k g three
        zfs snapshot tank/c/s/k@4
        zfs send -i @3 tank/c/s/k@4 > s4
        zfs receive -s -u tank/c/t/d < s4
        zfs list -H -o name -t snapshot -r tank/c/t
        """,
    ),
    case(
        "a_clone_of_a_snapshot_that_is_named",
        "receive -o origin=NAME: of that one, also where another with its guid is nearer; of one that is gone or of "
        "another guid, of none at all.",
        """
        zfs create tank/c/s
        zfs create tank/c/s/a
        write tank/c/s/a f one
        zfs snapshot tank/c/s/a@1
        zfs send tank/c/s/a@1 > s1
        zfs create tank/c/t
        zfs receive -u tank/c/t/b < s1
        zfs receive -u tank/c/o < s1
        zfs snapshot tank/c/o@2
        zfs list -Hp -r -t snapshot -o guid,name tank/c/t tank/c/s
        zfs clone tank/c/s/a@1 tank/c/s/k
        write tank/c/s/k g two
        zfs snapshot tank/c/s/k@3
        zfs send -i tank/c/s/a@1 tank/c/s/k@3 > s3
        zfs receive -s -u -o origin=tank/c/o@1 tank/c/t/d < s3
        zfs get -H -p -o value origin tank/c/t/d
        zfs receive -s -u -o readonly=on -o origin=tank/c/t/b@1 tank/c/t/e < s3
        zfs get -H -p -o property,value,source origin,readonly tank/c/t/e
        zfs receive -s -u -o origin=tank/c/o@2 tank/c/t/f < s3
        zfs receive -s -u -o origin=tank/c/o@gone tank/c/t/g < s3
        zfs list -H -o name -t filesystem -r tank/c
        """,
    ),
    case(
        "a_clone_whose_origin_is_not_there",
        "It is no stream of a new filesystem then.",
        """
        zfs create small/c
        zfs create small/c/a
        zfs snapshot small/c/a@1
        zfs clone small/c/a@1 small/c/k
        zfs snapshot small/c/k@2
        zfs send -p -i small/c/a@1 small/c/k@2 > s2
        zfs receive -s -u tank/c/k < s2
        """,
    ),
]
