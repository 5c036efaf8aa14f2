# shellcheck shell=bash
# Sourced by the scripts of this folder: their settings, and the commands that act on a slice.
#
#   read_settings "$@"   takes the settings below out of the arguments; the others stay in `rest`
#   read_training        takes what pretraining needs out of `rest`, into `training` and `folder`
#   run COMMAND...       runs it; with --dry-run only prints it

settings_help="Settings, as flags or in the environment:
  --project ID            PROJECT           the Google Cloud project
  --zone ZONE             ZONE              such as us-central1-a
  --name NAME             NAME              yours to choose, for this slice
  --topology KIND:SHAPE   TOPOLOGY          as in bertjax plan: v4:2x2x2 v5e:4x4 v5p:2x2x2 v6e:4x4
  --runtime-version V     RUNTIME_VERSION   the image (default: Google's for this kind)
  --service-account MAIL  SERVICE_ACCOUNT   whose permissions the slice has (default: Compute
                                            Engine's default account)
  --spot                  SPOT=1            cheaper, and may be taken away at any time
  --direct                DIRECT=1          a TPU VM now or never, instead of a place in the queue
  --create-options WORDS  CREATE_OPTIONS    more for gcloud's create, in one argument, such as
                                            '--reservation=NAME --provisioning-model=reservation-bound'
  --ssh-options WORDS     SSH_OPTIONS       more for gcloud's ssh and scp, such as --internal-ip
  --track alpha|beta      TRACK             gcloud's, for options that the plain commands lack
  --dry-run               DRY_RUN=1         print the commands, run none
  --help"

rest=()
keep_alive="-o ServerAliveInterval=30"  # a connection that is dead ends after a minute and a half

fail() {
    echo "${0##*/}: $1 (see ${0##*/} --help)" >&2
    exit 2
}

usage() {  # the comment at the top of the script, and the settings
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    echo
    echo "$settings_help"
    exit 0
}

read_settings() {
    local name value
    while [[ $# -gt 0 ]]; do
        case $1 in
            --help) usage ;;
            --spot) SPOT=1 && shift && continue ;;
            --direct) DIRECT=1 && shift && continue ;;
            --dry-run) DRY_RUN=1 && shift && continue ;;
            --project | --zone | --name | --topology | --runtime-version | --service-account | \
                --create-options | --ssh-options | --track)
                [[ $# -gt 1 ]] || fail "$1 needs a value"
                name=$1 value=$2 && shift 2
                ;;
            --project=* | --zone=* | --name=* | --topology=* | --runtime-version=* | \
                --service-account=* | --create-options=* | --ssh-options=* | --track=*)
                name=${1%%=*} value=${1#*=} && shift
                ;;
            *) rest+=("$1") && shift && continue ;;
        esac
        name=$(tr '[:lower:]-' '[:upper:]_' <<< "${name#--}")
        printf -v "$name" %s "$value"
    done
    export PROJECT=${PROJECT:-} ZONE=${ZONE:-} NAME=${NAME:-} TOPOLOGY=${TOPOLOGY:-}
    export RUNTIME_VERSION=${RUNTIME_VERSION:-} SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-}
    export SPOT=${SPOT:-} DIRECT=${DIRECT:-} DRY_RUN=${DRY_RUN:-}
    export CREATE_OPTIONS=${CREATE_OPTIONS:-} SSH_OPTIONS=${SSH_OPTIONS:-} TRACK=${TRACK:-}
    for name in PROJECT ZONE NAME; do
        [[ -n ${!name} ]] || fail "--$(tr '[:upper:]' '[:lower:]' <<< "$name") is missing"
    done
    [[ $NAME =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] ||
        fail "--name $NAME: small letters, digits and dashes, a letter first"
    [[ $TRACK =~ ^(alpha|beta)?$ ]] || fail "--track $TRACK: alpha or beta"
    where=("--project=$PROJECT" "--zone=$ZONE")
    tpus=(gcloud ${TRACK:+"$TRACK"} compute tpus)
    read -ra ssh_options <<< "$SSH_OPTIONS"
    if [[ -z $DRY_RUN ]] && ! command -v gcloud >/dev/null; then
        fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
    fi
}

no_more_arguments() {
    [[ ${#rest[@]} -eq 0 ]] || fail "unknown argument ${rest[0]}"
}

show() {  # a command as one could type it
    local word line=""
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=$(printf %q "$word")
        line+=" $word"
    done
    echo "${line# }"
}

run() {
    if [[ -n $DRY_RUN ]]; then show "$@"; else "$@"; fi
}

on_workers() {  # WORKER|all COMMAND
    run "${tpus[@]}" tpu-vm ssh "$NAME" "${where[@]}" "--ssh-flag=$keep_alive" \
        ${ssh_options[@]+"${ssh_options[@]}"} "--worker=$1" "--command=$2"
}

read_training() {  # DATA, RUN, CONFIG and its settings as the words of a command, and RUN alone
    local data="" arguments=() word
    folder=""
    while [[ ${#rest[@]} -gt 0 ]]; do
        case ${rest[0]} in
            --data=*) data=${rest[0]#*=} ;;
            --run=*) folder=${rest[0]#*=} ;;
            --data | --run)
                [[ ${#rest[@]} -gt 1 ]] || fail "${rest[0]} needs a value"
                if [[ ${rest[0]} == --data ]]; then data=${rest[1]}; else folder=${rest[1]}; fi
                rest=("${rest[@]:1}")
                ;;
            *) arguments+=("${rest[0]}") ;;
        esac
        rest=("${rest[@]:1}")
    done
    [[ ${#arguments[@]} -gt 0 && ${arguments[0]} != -* ]] || fail "name a config first, such as configs/base_two_phase.py"
    [[ $data == gs://?* ]] || fail "--data ${data:-is missing}: DATA of prepare in a bucket, gs://..."
    [[ $folder == gs://?* ]] || fail "--run ${folder:-is missing}: a folder in a bucket, gs://...; the workers' disks do not outlive them"
    training=""
    for word in "$data" "$folder" "${arguments[@]}"; do
        training+=" $(printf %q "$word")"
    done
    folder=$(printf %q "$folder")
}

# shellcheck disable=SC2034  # STATE is what the others read
read_state() {  # [vm]: into STATE, of what create.sh made, or of the slice itself, whose place in
    # the queue may stay ACTIVE when it is taken away; MISSING where there is none, UNKNOWN if gcloud
    # cannot tell
    local command errors
    if [[ -n $DIRECT || ${1:-} == vm ]]; then
        command=("${tpus[@]}" tpu-vm describe "$NAME" "${where[@]}" "--format=value(state)")
    else
        command=("${tpus[@]}" queued-resources describe "$NAME" "${where[@]}"
            "--format=value(state.state)")
    fi
    STATE=MISSING
    if [[ -n $DRY_RUN ]]; then
        show "${command[@]}"
        return
    fi
    errors=$(mktemp)
    if ! STATE=$("${command[@]}" 2>"$errors"); then
        STATE=MISSING
        if ! grep -q NOT_FOUND "$errors"; then
            STATE=UNKNOWN
            cat "$errors" >&2
        fi
    fi
    rm -f "$errors"
}
