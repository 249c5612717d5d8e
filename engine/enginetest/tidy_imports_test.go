package enginetest

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// layers are the houses, the lowest first: imports go down only.
const houses = "index query engine server bench cmd"

// layer returns the height of a package, given by its path in the module; -1 is none of ours.
func layer(pkg string) int {
	first, _, _ := strings.Cut(pkg, "/")
	return slices.Index(strings.Fields(houses), first)
}

// eachImport calls do for each import of a package of this module, or of another if
// ours is false, in the files that are no tests.
func (p *project) eachImport(ours bool, do func(f *sourceFile, spec *ast.ImportSpec, path string)) {
	for _, f := range p.files {
		if f.test {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, imported string) {
			short, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs == ours {
				do(f, spec, short)
			}
		})
	}
}

func checkDirections(p *project) (complaints []string) {
	p.eachImport(true, func(f *sourceFile, spec *ast.ImportSpec, imported string) {
		if from, to := layer(f.dir()), layer(imported); to > from || to < 0 {
			complaints = append(complaints, f.complain(spec.Pos(), "%s imports %s: imports go cmd -> bench -> server -> engine -> query -> index", f.dir(), imported))
		}
	})
	return complaints
}

func checkVocabulary(p *project) (complaints []string) {
	complain := func(f *sourceFile, spec *ast.ImportSpec, imported string) {
		first, _, _ := strings.Cut(imported, "/")
		if f.dir() == "index/schema" && (strings.Contains(first, ".") || layer(imported) >= 0) {
			complaints = append(complaints, f.complain(spec.Pos(), "index/schema imports %s: it is the vocabulary and imports the standard library only", imported))
		}
	}
	p.eachImport(true, complain)
	p.eachImport(false, complain)
	return complaints
}

func checkPebble(p *project) (complaints []string) {
	const pebble, vfs = "github.com/cockroachdb/pebble", "github.com/cockroachdb/pebble/v2/vfs"
	within := func(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }
	p.eachImport(false, func(f *sourceFile, spec *ast.ImportSpec, imported string) {
		if !within(imported, pebble) || within(imported, vfs) {
			return
		}
		if !strings.HasPrefix(f.dir(), "engine/internal/") && !within(f.dir(), "server/internal/replica") && !within(f.dir(), "server/internal/raftlog") {
			complaints = append(complaints, f.complain(spec.Pos(), "%s imports %s: Pebble is for engine/internal/*, server/internal/replica and server/internal/raftlog", f.dir(), imported))
		}
	})
	return complaints
}

func checkWire(p *project) (complaints []string) {
	complain := func(f *sourceFile, spec *ast.ImportSpec, imported string) {
		within := f.dir() == "server/wire" || strings.HasPrefix(f.dir(), "server/wire/")
		foreign := strings.HasPrefix(imported, "github.com/cockroachdb/") || strings.HasPrefix(imported, "github.com/hashicorp/")
		if within && (foreign || layer(imported) > layer("query")) {
			complaints = append(complaints, f.complain(spec.Pos(), "%s imports %s: the wire knows neither the service nor the store", f.dir(), imported))
		}
	}
	p.eachImport(true, complain)
	p.eachImport(false, complain)
	return complaints
}

func checkAnalyses(p *project) (complaints []string) {
	analysis := func(pkg string) (name string, ok bool) {
		name, ok = strings.CutPrefix(pkg, "query/")
		name, _, _ = strings.Cut(name, "/")
		return name, ok && name != "syntax" && name != "analysis" && name != "internal"
	}
	p.eachImport(true, func(f *sourceFile, spec *ast.ImportSpec, imported string) {
		from, isAnalysis := analysis(f.dir())
		if to, ok := analysis(imported); ok && isAnalysis && to != from {
			complaints = append(complaints, f.complain(spec.Pos(), "%s imports %s: analyses do not know each other", f.dir(), imported))
		}
	})
	return complaints
}

func checkTop(p *project) (complaints []string) {
	ignored := strings.Fields(p.texts[".gitignore"])
	allowed := strings.Fields("engine index query server cmd bench go.mod go.sum Makefile README.md LICENSE")
	for _, name := range p.top {
		if strings.HasPrefix(name, ".") || slices.Contains(allowed, name) || slices.Contains(ignored, "/"+name+"/") {
			continue
		}
		complaints = append(complaints, name+": the top level is fixed")
	}
	return complaints
}

func checkPackageDocs(p *project) (complaints []string) {
	documented := map[string]bool{}
	for _, f := range p.files {
		if !f.test && !f.generated {
			documented[f.dir()] = documented[f.dir()] || f.ast.Doc.Text() != ""
		}
	}
	for dir, ok := range documented {
		if !ok {
			complaints = append(complaints, dir+": the package has no doc comment")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// requirement is a line of go.mod that requires a module.
var requirement = regexp.MustCompile(`^(?:require\s+)?([\w.-]+\.[\w-]+/\S+) v\S+(\s*// indirect)?$`)

func checkDependencies(p *project) (complaints []string) {
	var designs strings.Builder
	for name, text := range p.texts {
		if path.Base(name) == "DESIGN.md" {
			designs.WriteString(text)
		}
	}
	for line := range strings.Lines(p.texts["go.mod"]) {
		m := requirement.FindStringSubmatch(strings.TrimSpace(line))
		if m != nil && m[2] == "" && !strings.Contains(designs.String(), m[1]) {
			complaints = append(complaints, "go.mod: no DESIGN.md says why "+m[1]+" is needed")
		}
	}
	return complaints
}
