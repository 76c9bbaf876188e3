#!/bin/sh
# Serve the reference plugins of a build folder and ask `ask` a question about
# the documents of this tree: demo.sh BUILD [QUESTION]. On a terminal, keep
# serving until Ctrl-C.
set -eu
build=$(cd "$1" && pwd)
question=${2:-How is a plugin registered?}
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
log=$folder/log

# The operators' commands of another terminal mean the reader's own server, not this one.
"$build/sluice" serve --listen 127.0.0.1:0 --plugins "$build/plugins/.libs" \
    --set "host.admin=$folder/admin.sock" --set plugin.ask.documents=README.md:docs:sdk 2>"$log" &
server=$!
stop() {
    kill "$server" 2>/dev/null || :
    wait "$server" || :
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

until address=$(sed -n 's/^sluice: listening on //p' "$log") && [ -n "$address" ]; do
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.05
done

body=$(python3 -c 'import json, sys; print(json.dumps({"question": sys.argv[1]}))' "$question")
printf '$ curl -N --json '\''%s'\'' %s/agents/ask/runs\n\n' "$body" "$address"
curl --silent --show-error --fail --no-buffer --json "$body" "$address/agents/ask/runs"

if [ -t 0 ] && [ -t 1 ]; then
    echo "Still serving on $address; ask from another terminal. Ctrl-C stops it."
    wait "$server"
fi
