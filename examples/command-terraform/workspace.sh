#!/bin/sh
# One Terraform state per workspace. For the command provisioner of prebuild_tasks; needs terraform and jq. Not tested against a cloud.
set -eu
request=$(cat)
module=$(printf %s "$request" | jq -r .config.module)
export TF_DATA_DIR="$TMPDIR/data" TF_IN_AUTOMATION=1 TF_INPUT=0
tf() { terraform -chdir="$module" "$@"; }
tf init -lockfile=readonly \
    -backend-config="key=prebuild/$PREBUILD_INSTALLATION/$PREBUILD_WORKSPACE_ID.tfstate" >&2
owner=$(tf output -json | jq -r '.owner.value // "prebuilds"')
if [ "$1" != start ] && [ "$owner" != prebuilds ] && [ "$owner" != "$PREBUILD_OWNER" ]; then
    echo "it was claimed by $owner" >&2
    exit 1
fi
# In $TMPDIR, which only this user can read, and which is deleted when the script ends.
with_owner() {
    printf %s "$request" | jq --arg owner "$1" \
        '.parameters + {installation, workspace: .workspace_id, owner: $owner}' >"$TMPDIR/all.tfvars.json"
}
# The backend's lock serializes attempts; the second then finds nothing left to do.
apply() { tf apply -auto-approve -lock-timeout=10m -var-file="$TMPDIR/all.tfvars.json" >&2; }
case $1 in
start)
    with_owner "$owner"
    apply
    tf output -json | jq '{resource_id: .id.value, url: .url.value}'
    ;;
claim)
    with_owner "$PREBUILD_OWNER"
    apply
    ;;
delete)
    with_owner "$owner"
    tf destroy -auto-approve -lock-timeout=10m -var-file="$TMPDIR/all.tfvars.json" >&2
    ;;
esac
