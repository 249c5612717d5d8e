package enginetest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// decides reports whether a file is of what every replica decides alike, given the same log.
func (f *sourceFile) decides() bool {
	switch f.dir() {
	case "engine/internal/dict", "engine/internal/effect", "engine/internal/entry", "engine/internal/erasure", "engine/internal/record":
		return !f.test
	case "engine":
		name := path.Base(f.path)
		return !f.test && (strings.HasPrefix(name, "decide") || slices.Contains([]string{"cluster_version.go", "definition.go", "document.go", "narrow.go", "persist.go", "repeats.go", "replica_state.go", "rewrite.go"}, name))
	}
	return false
}

// checkReplicas forbids in what replicas decide whatever may differ between two machines, or
// between two runs on one: the clock, randomness, the order of a map, who is first, and the
// options that are a machine's own. What cannot make a difference says why: //tidy:same.
func checkReplicas(p *project) (complaints []string) {
	maps := map[string]*mapNames{}
	for _, f := range p.files {
		if f.decides() {
			if maps[f.dir()] == nil {
				maps[f.dir()] = &mapNames{fields: map[string]bool{}, returns: map[string]bool{}}
			}
			maps[f.dir()].add(f)
		}
	}
	for _, f := range p.files {
		if !f.decides() {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, imported string) {
			if slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand", "os", "runtime", "unsafe"}, imported) {
				complaints = append(complaints, f.complain(spec.Pos(), "replicas decide alike: not by %s", imported))
			}
		})
		for _, decl := range f.ast.Decls {
			names := maps[f.dir()]
			locals := names.locals(decl)
			ast.Inspect(decl, func(n ast.Node) bool {
				what := differs(n)
				if loop, ok := n.(*ast.RangeStmt); ok && loop.Key != nil && names.isMap(loop.X, locals) {
					what = "the order of a map"
				}
				if what != "" && !f.excused("//tidy:same", f.line(n.Pos()), f.line(n.Pos())) {
					complaints = append(complaints, f.complain(n.Pos(), "replicas decide alike: not by %s; if it makes no difference, say why with //tidy:same", what))
				}
				return true
			})
		}
	}
	return complaints
}

// checkClocks forbids the members of a cluster to take what a clock shows for what has passed:
// somebody may set it. What Go's time.Time compares and subtracts goes by a clock that nobody sets,
// unless it was made a number of.
func checkClocks(p *project) (complaints []string) {
	for _, f := range p.files {
		if f.test || !strings.HasPrefix(f.dir(), "server/internal/") && f.dir() != "server/cluster" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, made := s.X.(*ast.Ident); (!made || of.Name != "time") && slices.Contains([]string{"Unix", "UnixMilli", "UnixMicro", "UnixNano"}, s.Sel.Name) && !f.excused("//tidy:clock", f.line(n.Pos()), f.line(n.Pos())) {
				complaints = append(complaints, f.complain(n.Pos(), "members believe no clock: use time.Since; if it is no measure of time, say why with //tidy:clock"))
			}
			return true
		})
	}
	return complaints
}

// differs says what of a node may differ between replicas, or "".
func differs(n ast.Node) string {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Local"}, n.Sel.Name) {
			return "the clock"
		}
		if options, ok := n.X.(*ast.SelectorExpr); ok && options.Sel.Name == "opt" && slices.Contains([]string{"Clock", "Memory", "Parallelism", "ReadOnly", "Repair"}, n.Sel.Name) {
			return "the option " + n.Sel.Name
		}
		if n.Sel.Name == "Reserve" {
			return "the memory that is free"
		}
	case *ast.GoStmt:
		return "which goroutine is first"
	case *ast.SelectStmt:
		return "which channel is first"
	}
	return ""
}

// mapNames are the names of a package that are maps, as far as the text tells.
type mapNames struct {
	fields  map[string]bool // of structs
	returns map[string]bool // functions whose first result is one
}

func (m *mapNames) add(f *sourceFile) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, field := range n.Fields.List {
				for _, name := range field.Names {
					m.fields[name.Name] = m.fields[name.Name] || isMapType(field.Type)
				}
			}
		case *ast.FuncDecl:
			if n.Type.Results != nil && isMapType(n.Type.Results.List[0].Type) {
				m.returns[n.Name.Name] = true
			}
		}
		return true
	})
}

// locals returns the parameters and variables of a function, and whether each is a map.
func (m *mapNames) locals(decl ast.Decl) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			return false
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = isMapType(n.Type)
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				names[name.Name] = n.Type != nil && isMapType(n.Type) || i < len(n.Values) && m.isMap(n.Values[i], names)
			}
		case *ast.AssignStmt:
			for i := range min(len(n.Lhs), len(n.Rhs)) {
				if name, ok := n.Lhs[i].(*ast.Ident); ok && n.Tok == token.DEFINE {
					names[name.Name] = m.isMap(n.Rhs[i], names)
				}
			}
		}
		return true
	})
	return names
}

// isMap reports whether an expression is a map.
func (m *mapNames) isMap(e ast.Expr, locals map[string]bool) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return locals[e.Name]
	case *ast.SelectorExpr:
		return m.fields[e.Sel.Name]
	case *ast.CompositeLit:
		return isMapType(e.Type)
	case *ast.CallExpr:
		switch fn := e.Fun.(type) {
		case *ast.Ident:
			return m.returns[fn.Name] || fn.Name == "make" && isMapType(e.Args[0])
		case *ast.SelectorExpr:
			return m.returns[fn.Sel.Name]
		}
	}
	return false
}

func isMapType(e ast.Expr) bool {
	_, ok := e.(*ast.MapType)
	return ok
}
