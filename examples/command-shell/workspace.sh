#!/bin/sh
# Workspaces as directories, for the `command` provisioner, in plain shell.
#
#   workspace.sh start|probe|claim|stop|delete|list BASE [WORK]
#
# The request comes as JSON on standard input. Its identifiers also come in PREBUILD_* variables, which is all this script
# needs. WORK is the shell code that `start` runs in the new directory. Exit codes: 0 done, 1 failed, 2 can never be built,
# 3 a later attempt has begun. Standard error is the build's log, standard output the answer.
set -eu
operation=$1 base=$2 work=${3:-true}
place=$base/$PREBUILD_INSTALLATION/${PREBUILD_WORKSPACE_ID:-none}

# Everything that checks and then acts holds this lock, which ends with its process.
lock() { exec 9>"$base/.lock" && flock 9; }
unlock() { exec 9>&-; }
log() { echo "$*" >&2; }
answer() { printf '{"resource_id": "%s", "directory": "%s"}\n' "$place" "$place/$(cat "$place/published")"; }
highest() { cat "$place/attempt" 2>/dev/null || echo 0; }
foreign() {
    for other in "$base"/*/"$PREBUILD_WORKSPACE_ID"; do
        if [ -d "$other" ] && [ "$other" != "$place" ]; then
            log "it belongs to another installation"
            exit 1
        fi
    done
}

case $operation in
start)
    lock
    foreign
    if [ -e "$place/published" ]; then
        rm -f "$place/stopped"
        answer
        exit 0
    fi
    if [ "$PREBUILD_WORKSPACE_ATTEMPT" -lt "$(highest)" ]; then exit 3; fi
    mkdir -p "$place"
    echo "$PREBUILD_WORKSPACE_ATTEMPT" >"$place/attempt"
    own=a$PREBUILD_WORKSPACE_ATTEMPT
    # A lower attempt that still writes on another host may leave files: it is refused when it ends.
    for old in "$place"/a[0-9]*; do rm -rf "$old" || [ "$old" != "$place/$own" ]; done
    mkdir "$place/$own"
    unlock
    if ! (cd "$place/$own" && sh -eu -c "$work" >&2); then exit 1; fi
    lock
    # A later attempt has begun, or the workspace was deleted: this directory is not the workspace.
    if [ "$(highest)" != "$PREBUILD_WORKSPACE_ATTEMPT" ] || [ ! -d "$place/$own" ]; then exit 3; fi
    echo "$own" >"$place/.published" && mv "$place/.published" "$place/published"
    answer
    ;;
probe)
    if [ ! -e "$place/published" ]; then
        echo '{"ready": false, "gone": true, "message": "the directory is gone"}'
    elif [ -e "$place/stopped" ]; then
        echo '{"ready": false, "message": "it is stopped"}'
    fi
    ;;
claim)
    lock
    if [ ! -e "$place/published" ]; then log "the directory is gone" && exit 1; fi
    owner=$(cat "$place/claimed" 2>/dev/null || true)
    if [ -n "$owner" ] && [ "$owner" != "$PREBUILD_OWNER" ]; then log "it was claimed by $owner" && exit 1; fi
    echo "$PREBUILD_OWNER" >"$place/.claimed" && mv "$place/.claimed" "$place/claimed"
    ;;
stop)
    if [ -d "$place" ]; then touch "$place/stopped"; fi
    ;;
delete)
    lock
    foreign
    # The pool may not delete a claimed workspace, which an older, restored database takes for a prebuild.
    if [ -e "$place/claimed" ] && [ "$PREBUILD_OWNER" = prebuilds ]; then
        log "it was claimed by $(cat "$place/claimed")"
        exit 1
    fi
    rm -rf "${place:?}"
    ;;
list)
    separator=
    printf '['
    for one in "$base/$PREBUILD_INSTALLATION"/*; do
        [ -d "$one" ] || continue
        claimed=false
        if [ -e "$one/claimed" ]; then claimed=true; fi
        printf '%s{"workspace_id": "%s", "resource_id": "%s", "claimed": %s}' "$separator" "${one##*/}" "$one" "$claimed"
        separator=,
    done
    printf ']\n'
    ;;
*)
    log "unknown operation $operation"
    exit 2
    ;;
esac
