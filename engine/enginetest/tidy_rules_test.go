package enginetest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Sizes. Long files and functions are read by nobody; wide structs are two things.
const (
	maxFileLines     = 800
	maxFunctionLines = 70
	maxFields        = 22
)

type rule struct {
	name  string
	check func(*project) []string
}

func rules() []rule {
	return []rule{
		{"import directions", checkDirections},
		{"index/schema imports the standard library only", checkVocabulary},
		{"Pebble stays inside", checkPebble},
		{"the wire is apart", checkWire},
		{"analyses are apart", checkAnalyses},
		{"dependencies have a reason", checkDependencies},
		{"top level", checkTop},
		{"package comments", checkPackageDocs},
		{"names", checkNames},
		{"file size", checkFileSize},
		{"function size", checkFunctionSize},
		{"struct size", checkStructSize},
		{"no package-level state", checkState},
		{"nothing unfinished", checkUnfinished},
		{"tests do not sleep", checkSleep},
		{"libraries do not exit, log or panic", checkLibraries},
		{"replicas decide alike", checkReplicas},
		{"members believe no clock", checkClocks},
	}
}

func checkNames(p *project) (complaints []string) {
	banned := strings.Fields("util utils common types model helpers misc hack")
	seen := map[string]bool{}
	for _, f := range p.files {
		words := strings.Split(strings.TrimSuffix(path.Base(f.path), ".go"), "_")
		if last := words[len(words)-1]; slices.Contains(banned, last) && !f.test { // a model is what a test compares with
			complaints = append(complaints, f.path+": a file named "+last+" is about nothing")
		}
		pkg := strings.TrimSuffix(f.ast.Name.Name, "_test")
		for _, name := range []string{pkg, path.Base(f.dir())} {
			if slices.Contains(banned, name) && !seen[f.dir()] {
				seen[f.dir()] = true
				complaints = append(complaints, f.dir()+": a package named "+name+" is about nothing")
			}
		}
	}
	return complaints
}

// tableLines returns, by line, what is inside a composite literal: tables are data and
// do not count as code. Functions of several lines inside them do.
func (f *sourceFile) tableLines(root ast.Node) map[int]bool {
	table := map[int]bool{}
	mark := func(from, to int, value bool) {
		for line := from; line <= to; line++ {
			table[line] = value
		}
	}
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			mark(f.line(n.Pos())+1, f.line(n.End()), true)
		case *ast.FuncLit:
			if from, to := f.line(n.Pos()), f.line(n.End()); to > from {
				mark(from, to, false)
			}
		}
		return true
	})
	return table
}

// size returns the lines from one to another that are no table.
func size(from, to int, table map[int]bool) (n int) {
	for line := from; line <= to; line++ {
		if !table[line] {
			n++
		}
	}
	return n
}

func checkFileSize(p *project) (complaints []string) {
	for _, f := range p.files {
		if n := size(1, len(f.lines)-1, f.tableLines(f.ast)); n > maxFileLines && !f.generated {
			complaints = append(complaints, fmt.Sprintf("%s: %d lines, at most %d", f.path, n, maxFileLines))
		}
	}
	return complaints
}

func checkFunctionSize(p *project) (complaints []string) {
	for _, f := range p.files {
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || f.generated {
				continue
			}
			if n := size(f.line(fn.Type.Func), f.line(fn.End()), f.tableLines(fn)); n > maxFunctionLines {
				complaints = append(complaints, f.complain(fn.Pos(), "%s has %d lines, at most %d", fn.Name.Name, n, maxFunctionLines))
			}
		}
	}
	return complaints
}

func checkStructSize(p *project) (complaints []string) {
	for _, f := range p.files {
		if f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok && s.Fields.NumFields() > maxFields {
				complaints = append(complaints, f.complain(s.Pos(), "a struct of %d fields, at most %d", s.Fields.NumFields(), maxFields))
			}
			return true
		})
	}
	return complaints
}

// excused reports whether a comment excuses the code from line from to line to: it
// stands on one of the two, or alone on the line before.
func (f *sourceFile) excused(comment string, from, to int) bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if !strings.HasPrefix(c.Text, comment) {
				continue
			}
			line := f.line(c.Pos())
			alone := strings.HasPrefix(strings.TrimSpace(f.lines[line-1]), comment)
			if line == from || line == to || alone && line == from-1 {
				return true
			}
		}
	}
	return false
}

func checkState(p *project) (complaints []string) {
	for _, f := range p.files {
		for _, decl := range f.ast.Decls {
			block, ok := decl.(*ast.GenDecl)
			if !ok || block.Tok != token.VAR || f.test || f.generated || f.excused("//tidy:constant", f.line(block.Pos()), f.line(block.Pos())) {
				continue
			}
			for _, spec := range block.Specs {
				v := spec.(*ast.ValueSpec)
				embedded := strings.Contains(rawText(v.Doc)+rawText(block.Doc), "//go:embed ")
				if embedded || f.excused("//tidy:constant", f.line(v.Pos()), f.line(v.End())) {
					continue
				}
				for i, name := range v.Names {
					if !constantByForm(name.Name, i, v) {
						complaints = append(complaints, f.complain(name.Pos(), "%s is package-level state; if it is never written, say so with //tidy:constant", name.Name))
					}
				}
			}
		}
	}
	return complaints
}

func rawText(g *ast.CommentGroup) (text string) {
	if g != nil {
		for _, c := range g.List {
			text += c.Text + "\n"
		}
	}
	return text
}

// constantByForm reports whether a variable is one that nobody writes by convention:
// the blank one, an error that callers compare with, a table in an array.
func constantByForm(name string, i int, v *ast.ValueSpec) bool {
	if name == "_" {
		return true
	}
	if i >= len(v.Values) {
		return false
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(name[:1])+name[1:], "err"); ok && rest != "" && strings.ToUpper(rest[:1]) == rest[:1] {
		return true
	}
	literal, ok := v.Values[i].(*ast.CompositeLit)
	if !ok {
		return false
	}
	array, ok := literal.Type.(*ast.ArrayType)
	return ok && array.Len != nil
}

// unfinished are the marks of work left undone, put together so that this file has none.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func checkUnfinished(p *project) (complaints []string) {
	for _, f := range p.files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if m := unfinished.FindString(c.Text); m != "" {
					complaints = append(complaints, f.complain(c.Pos(), "%s: finish it or leave it out", m))
				}
			}
		}
	}
	for name, text := range p.texts {
		if m := unfinished.FindString(text); m != "" {
			complaints = append(complaints, name+": "+m+": finish it or leave it out")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// calls calls do for each call in a file, with the function's name as written, such as
// "panic" or "os.Exit".
func (f *sourceFile) calls(do func(call *ast.CallExpr, name string)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fn := call.Fun.(type) {
		case *ast.Ident:
			do(call, fn.Name)
		case *ast.SelectorExpr:
			if pkg, ok := fn.X.(*ast.Ident); ok {
				do(call, pkg.Name+"."+fn.Sel.Name)
			}
		}
		return true
	})
}

func checkSleep(p *project) (complaints []string) {
	for _, f := range p.files {
		f.calls(func(call *ast.CallExpr, name string) {
			if f.test && name == "time.Sleep" {
				complaints = append(complaints, f.complain(call.Pos(), "wait for what is awaited, not for time"))
			}
		})
	}
	return complaints
}

// mayLog are the folders that may tell a logger they are given what happens: a server, and a member of a cluster,
// which go on by themselves when nobody waits for an answer, so there is nobody to return an error to.
var mayLog = []string{"server", "server/cluster", "server/internal/replica"} //tidy:constant

// ownLogger are the calls of package slog that tell the process's logger.
var ownLogger = []string{"slog.Default", "slog.SetDefault", "slog.Debug", "slog.Info", "slog.Warn", "slog.Error", "slog.Log", "slog.LogAttrs",
	"slog.DebugContext", "slog.InfoContext", "slog.WarnContext", "slog.ErrorContext"}

func checkLibraries(p *project) (complaints []string) {
	for _, f := range p.files {
		if !f.library() {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, imported string) {
			// A server tells the logger that it was given, and never the process's own.
			if imported == "log" || imported == "log/slog" && !slices.Contains(mayLog, path.Dir(f.path)) {
				complaints = append(complaints, f.complain(spec.Pos(), "libraries do not log: return an error or call a hook"))
			}
		})
		f.calls(func(call *ast.CallExpr, name string) {
			switch {
			case slices.Contains(ownLogger, name):
				complaints = append(complaints, f.complain(call.Pos(), "libraries do not log: tell the logger that was given"))
			case name == "os.Exit", name == "print", name == "println", strings.HasPrefix(name, "fmt.Print"):
				complaints = append(complaints, f.complain(call.Pos(), "libraries do not exit or print"))
			case name == "panic" && !f.excused("//tidy:invariant", f.line(call.Pos()), f.line(call.End())):
				complaints = append(complaints, f.complain(call.Pos(), "libraries return errors; a broken invariant says so with //tidy:invariant"))
			}
		})
	}
	return complaints
}
