#!/bin/sh
# Ten processes that need 0.3 s to finish their work when they are asked to stop: five of the command's group, five daemons
# in sessions of their own. Then the command ends (`ends`), or waits for TERM, at which it ends at once (`waits`).
#     leaves.sh DIR ends|waits
one='trap "sleep 0.3; echo done >$0.done; exit 0" TERM; echo up >$0.up; while :; do sleep 0.05; done'
for n in 1 2 3 4 5; do
    sh -c "$one" "$1/group$n" &
    setsid sh -c "$one" "$1/daemon$n" &
done
until [ "$(ls "$1" | grep -c up)" = 10 ]; do sleep 0.02; done
[ "$2" = waits ] || exit 0
echo >"$1/waits"
exec sleep 1000
