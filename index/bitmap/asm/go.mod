// The generator of the assembly in index/bitmap. It is a module of its own so that the
// engine does not depend on avo.
module github.com/kantadb/kanta/index/bitmap/asm

go 1.26.8

require github.com/mmcloughlin/avo v0.5.0

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
)
