#!/bin/sh
# A workspace is a pod. For the command provisioner of prebuild_tasks; needs kubectl and jq. Not tested against a cluster.
set -eu
request=$(cat)
ask() { printf %s "$request" | jq -r "$1"; }
namespace=$(ask '.config.namespace')
# A question without an answer tells nothing (exit code 4).
look() { kubectl --namespace "$namespace" get "$@" || exit 4; }
# A change that fails has failed (exit code 1), unless kubectl says that the API was away, or it is away now. It may also
# have been away for a moment only.
k() {
    kubectl --namespace "$namespace" "$@" 2>"$HOME/said" || failed
    cat "$HOME/said" >&2
}
away='^(Unable to connect to the server|The connection to the server )'
away="$away|"'^Error from server( \((InternalError|ServerTimeout|ServiceUnavailable|Timeout|TooManyRequests)\))?: '
away="$away|"'(Get|Post|Put|Patch|Delete) "https?://|connection reset by peer|client connection lost|unexpected EOF'
failed() {
    cat "$HOME/said" >&2
    if grep -qE "$away" "$HOME/said"; then exit 4; fi
    kubectl get --raw /readyz >/dev/null 2>&1 && exit 1 || exit 4
}
mine="prebuild-installation=$PREBUILD_INSTALLATION"
this="$mine,prebuild-workspace=${PREBUILD_WORKSPACE_ID:-}"
pod=ws-${PREBUILD_WORKSPACE_ID:-}
# Answers are first stored: in a pipe, the exit code of kubectl would be lost.
refuse_if_claimed() {
    pods=$(look pods -l "$this" -o json)
    owner=$(printf %s "$pods" | jq -r '.items[].metadata.annotations["prebuild-owner"] // empty')
    if [ -n "$owner" ] && [ "$owner" != "$PREBUILD_OWNER" ]; then
        echo "it was claimed by $owner" >&2
        exit 1
    fi
}
case $1 in
start)
    # One name for all attempts, and apply: every attempt finds or makes the same pod, never a second. It does not wait:
    # `probe` is asked until the pod is ready, and shows what it waits for. A container that ends is not restarted.
    printf %s "$request" | jq '
        {name: ("ws-" + .workspace_id),
         labels: {"prebuild-installation": .installation, "prebuild-workspace": .workspace_id}} as $meta
        | {apiVersion: "v1", kind: "List", items: [
            {apiVersion: "v1", kind: "Secret", metadata: $meta, stringData: .parameters},
            {apiVersion: "v1", kind: "Service", metadata: $meta, spec: {
                selector: {"prebuild-workspace": .workspace_id}, ports: [{port: 8080}]}},
            {apiVersion: "v1", kind: "Pod", metadata: $meta, spec: {restartPolicy: "Never", containers: [
                {name: "workspace", image: .config.image, envFrom: [{secretRef: {name: $meta.name}}]}]}}]}' |
        k apply -f - >&2
    jq -n --arg namespace "$namespace" --arg pod "$pod" \
        '{resource_id: ($namespace + "/" + $pod), url: ("http://" + $pod + "." + $namespace + ".svc:8080")}'
    ;;
probe)
    found=$(look pod "$pod" --ignore-not-found -o json)
    if [ -z "$found" ]; then
        echo '{"ready": false, "gone": true, "message": "the pod is gone"}'
        exit
    fi
    # What a container that ended said last; it is lost with the pod.
    said=$(kubectl --namespace "$namespace" logs --tail=20 "$pod" 2>/dev/null || true)
    printf %s "$found" | jq --arg said "$said" '
        ([.status.containerStatuses[]?.state.waiting | select(. != null) | .message // .reason] | first) as $waits
        | (.status.phase | . == "Failed" or . == "Succeeded") as $ended
        | {ready: any(.status.conditions[]?; .type == "Ready" and .status == "True"), gone: $ended,
           message: (.status.phase + (if $waits then ": " + $waits elif $ended then ": " + $said else "" end))}'
    ;;
claim)
    refuse_if_claimed
    k annotate --overwrite pod "$pod" "prebuild-owner=$PREBUILD_OWNER" >&2
    k exec "$pod" -- git config --global user.name "$PREBUILD_OWNER" >&2
    ;;
delete)
    refuse_if_claimed
    k delete pods,secrets,services -l "$this" --wait >&2
    ;;
list)
    # A list without items is [], and no answer at all is not a list.
    found=$(look pods,secrets,services -l "$mine" -o json)
    printf %s "$found" | jq '[.items | group_by(.metadata.labels["prebuild-workspace"])[] |
        {workspace_id: .[0].metadata.labels["prebuild-workspace"], resource_id: .[0].metadata.name,
         owner: ([.[].metadata.annotations["prebuild-owner"] // empty] | first // ""),
         claimed: any(.[]; .metadata.annotations["prebuild-owner"] != null)}]'
    ;;
esac
