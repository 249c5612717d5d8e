package enginetest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kantadb/kanta"

// sourceFile is one Go file.
type sourceFile struct {
	path      string // from the root, with slashes
	fset      *token.FileSet
	ast       *ast.File
	lines     []string
	test      bool
	generated bool
}

func (f *sourceFile) dir() string { return path.Dir(f.path) }

func (f *sourceFile) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f *sourceFile) complain(p token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.line(p), fmt.Sprintf(format, args...))
}

// library reports whether the file is of a package that others import.
func (f *sourceFile) library() bool {
	return !f.test && !strings.HasPrefix(f.path, "cmd/") && f.ast.Name.Name != "main"
}

// imports calls do for each import, with its path.
func (f *sourceFile) imports(do func(spec *ast.ImportSpec, path string)) {
	for _, spec := range f.ast.Imports {
		do(spec, strings.Trim(spec.Path.Value, "`\""))
	}
}

// project is what the rules look at.
type project struct {
	files []*sourceFile     // all Go files
	texts map[string]string // the other texts, by path
	top   []string          // names at the top level
}

// newProject parses files, given by path; the top level is what their paths begin with.
func newProject(files map[string]string) (*project, error) {
	p := &project{texts: map[string]string{}}
	fset := token.NewFileSet()
	for name, text := range files {
		if first, _, _ := strings.Cut(name, "/"); !slices.Contains(p.top, first) {
			p.top = append(p.top, first)
		}
		if path.Ext(name) != ".go" {
			p.texts[name] = text
			continue
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, &sourceFile{path: name, fset: fset, ast: file, lines: strings.Split(text, "\n"),
			test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(file)})
	}
	slices.SortFunc(p.files, func(a, b *sourceFile) int { return strings.Compare(a.path, b.path) })
	slices.Sort(p.top)
	return p, nil
}

// root returns the folder of go.mod above the working directory.
func root(t *testing.T) string {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("no go.mod above the working directory (%v)", err)
	return ""
}

// readProject reads the repository.
func readProject(t *testing.T) *project {
	top := root(t)
	files := map[string]string{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && rel != "." && rel != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		text := slices.Contains([]string{".go", ".md", ".mod", ".s", ".toml"}, path.Ext(rel))
		if !text && !slices.Contains([]string{"Makefile", ".ci/run", ".gitignore"}, rel) {
			return nil
		}
		content, err := os.ReadFile(name)
		files[rel] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProject(files)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	p.top = nil
	for _, e := range entries {
		p.top = append(p.top, e.Name())
	}
	return p
}

// TestTidy checks the repository.
func TestTidy(t *testing.T) {
	p := readProject(t)
	if len(p.files) < 20 {
		t.Fatalf("only %d Go files found: the rules would hold of nothing", len(p.files))
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, complaint := range r.check(p) {
				t.Error(complaint)
			}
		})
	}
}

// TestTidyClient checks what a client of a server links: see forbiddenForClient.
func TestTidyClient(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./query/...", "./index/schema", "./engine/batch", "./server/client")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	for _, must := range []string{module + "/query", module + "/engine/batch", module + "/index/schema", module + "/server/client"} {
		if !slices.Contains(deps, must) {
			t.Errorf("go list does not say %s: the rule would hold of nothing", must)
		}
	}
	for _, d := range forbiddenForClient(deps) {
		t.Errorf("query, index/schema, engine/batch or server/client reaches %s", d)
	}
	planted := []string{"fmt", module + "/query/syntax", module + "/engine/batch", module + "/index/bitmap", "github.com/RoaringBitmap/roaring/v2",
		module + "/server/client", module + "/server/internal/message", module + "/server/internal/proto/kanta/v1",
		module + "/engine", module + "/engine/internal/head", module + "/server", module + "/server/internal/replica", "github.com/cockroachdb/pebble/v2/vfs", "github.com/hashicorp/raft"}
	if got := forbiddenForClient(planted); !slices.Equal(got, planted[8:]) {
		t.Errorf("of %v these are refused: %v", planted, got)
	}
}

// forbiddenForClient returns those packages out of deps that a client must not link:
// it speaks in the words of query, index/schema and engine/batch, and links neither
// the store nor the engine; of the server only what both sides say.
func forbiddenForClient(deps []string) (refused []string) {
	for _, d := range deps {
		ours, isOurs := strings.CutPrefix(d, module+"/")
		switch {
		case isOurs && layer(ours) <= layer("query"), ours == "engine/batch":
		case ours == "server/client", ours == "server/wire", ours == "server/access", ours == "server/certs", ours == "server/internal/message", strings.HasPrefix(ours, "server/internal/proto/"):
		case isOurs, strings.HasPrefix(d, "github.com/cockroachdb/"), strings.HasPrefix(d, "github.com/hashicorp/"):
			refused = append(refused, d)
		}
	}
	return refused
}

// TestTidyCanaries plants the faults of each rule in a small project and wants exactly
// those complaints, and none about a project that is in order.
func TestTidyCanaries(t *testing.T) {
	good, err := newProject(goodProject())
	if err != nil {
		t.Fatal(err)
	}
	planted := canaries()
	for _, r := range rules() {
		for _, complaint := range r.check(good) {
			t.Errorf("%s complains about a project that is in order: %s", r.name, complaint)
		}
		cases := planted[r.name]
		delete(planted, r.name)
		if len(cases) == 0 {
			t.Errorf("%s has no planted fault", r.name)
		}
		for _, c := range cases {
			files := goodProject()
			for name, text := range c.files {
				files[name] = text
			}
			p, err := newProject(files)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			got := r.check(p)
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("%s: planted a fault, want one complaint about %q, got %q", r.name, c.want, got)
			}
		}
	}
	for name := range planted {
		t.Errorf("faults are planted for %q, which is no rule", name)
	}
}
