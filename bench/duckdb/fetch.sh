#!/bin/sh
# Puts DuckDB's shared library, out of its package for Node, into .build/duckdb.
set -eu
cd "$(dirname "$0")/../.."
package=@duckdb/node-bindings-linux-x64@1.5.6-r.1
sha256=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff
into=.build/duckdb

fail() {
	echo "fetch.sh: $1" >&2
	exit 1
}

[ -e "$into/libduckdb.so" ] && exit 0
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "the pinned library is for Linux on x86-64, this is $(uname -sm)"
command -v npm >/dev/null || fail 'npm is missing, it fetches the package'
rm -rf "$into"
mkdir -p "$into/new"
file=$into/new/$(npm pack --silent --pack-destination "$into/new" "$package") || fail "npm cannot fetch $package"
echo "$sha256  $file" | sha256sum -c --status - || fail "$file is not the pinned package"
tar -xzf "$file" -C "$into/new" package/libduckdb.so package/LICENSE
mv "$into/new/package/LICENSE" "$into/new/package/libduckdb.so" "$into"
rm -r "$into/new"
