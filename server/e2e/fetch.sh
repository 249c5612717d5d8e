#!/bin/sh
# Puts CRoaring, compiled to WebAssembly, out of its package for Node into .build/roaring.
set -eu
cd "$(dirname "$0")/../.."
package=roaring-wasm@1.1.0
sha256=ef3a3e83e31d6ea716add573b9f93985557342122bba67a6b07c300898cdacf1
into=.build/roaring

fail() {
	echo "fetch.sh: $1" >&2
	exit 1
}

[ -e "$into/package/index.js" ] && exit 0
command -v node >/dev/null || fail 'node is missing, it runs the package'
command -v npm >/dev/null || fail 'npm is missing, it fetches the package'
rm -rf "$into"
mkdir -p "$into"
file=$into/$(npm pack --silent --pack-destination "$into" "$package") || fail "npm cannot fetch $package"
echo "$sha256  $file" | sha256sum -c --status - || fail "$file is not the pinned package"
tar -xzf "$file" -C "$into"
