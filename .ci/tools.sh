# Puts the tools of .ci/requirements.txt on the path. They live in a cache outside the tree, and are installed once for
# each content of that file. For `source` in the project's folder, by .ci/run and ./package.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/agent-trigger-ci
mkdir -p "$cache"

export PIP_DISABLE_PIP_VERSION_CHECK=1 SAM_CLI_TELEMETRY=0

# Prints the environment of a file of Python requirements, and makes it if there is none yet.
environment() {
    local folder
    folder=$cache/$1-$(sha256sum "$2" | cut -c1-16)
    # Joined with &&, because `set -e` does not hold in the command substitution that calls this.
    [[ -e $folder/complete ]] || {
        rm -rf "$folder" &&
            python3 -m venv "$folder" >&2 &&
            "$folder/bin/pip" install --quiet --requirement "$2" >&2 &&
            touch "$folder/complete"
    } && printf '%s\n' "$folder"
}

venv=$(environment venv .ci/requirements.txt)
export PATH=$venv/bin:$PATH
# The shell remembers where it found python3, which was not in the environment then.
hash -r

# Prints the folder of Node.js packages of a package-lock.json, and installs them if they are not there yet.
node_packages() {
    local folder
    folder=$cache/node-$(sha256sum "$1/package-lock.json" | cut -c1-16)
    [[ -e $folder/complete ]] || {
        rm -rf "$folder" &&
            mkdir -p "$folder" &&
            cp "$1/package.json" "$1/package-lock.json" "$1/.npmrc" "$folder" &&
            npm ci --prefix "$folder" --no-audit --no-fund --silent >&2 &&
            touch "$folder/complete"
    } && printf '%s\n' "$folder/node_modules"
}
