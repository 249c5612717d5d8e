#!/bin/sh
# Puts DuckDB's shared library, as its package for Node has it, into .build/duckdb.
set -eu
cd "$(dirname "$0")/../.."
package=@duckdb/node-bindings-linux-x64@1.5.6-r.1
sha256=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff
into=.build/duckdb

[ -e "$into/libduckdb.so" ] && exit 0
[ "$(uname -sm)" = 'Linux x86_64' ] || { echo "fetch.sh: the pinned library is for Linux on x86-64, this is $(uname -sm)" >&2; exit 1; }
command -v npm >/dev/null || { echo 'fetch.sh: npm is missing; it fetches DuckDB' >&2; exit 1; }
mkdir -p "$into"
file=$into/$(npm pack --silent --pack-destination "$into" "$package")
echo "$sha256  $file" | sha256sum -c --quiet - || { rm -f "$file"; echo 'fetch.sh: this is not the pinned package' >&2; exit 1; }
tar -xzf "$file" -C "$into" --strip-components 1 package/libduckdb.so package/LICENSE
rm "$file"
