//go:build ignore

// This program writes licenses.txt: the licence and notice files of Go and of every
// module that the command links on any of the platforms it is built for.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := generate("licenses.txt"); err != nil {
		log.Fatal(err)
	}
}

func generate(name string) error {
	modules := map[string]string{} // path and version -> directory
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"} {
		goos, goarch, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", "list", "-e", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", ".")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("go list for %s: %w", platform, err)
		}
		for line := range strings.Lines(string(out)) {
			if id, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				modules[id] = dir
			}
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	modules["Go and its standard library"] = strings.TrimSpace(string(root))
	holders := map[string][]string{} // text -> who is under it: many share one
	for id, dir := range modules {
		text, err := notices(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		holders[text] = append(holders[text], id)
	}
	var parts []string
	for text, ids := range holders {
		slices.Sort(ids)
		parts = append(parts, fmt.Sprintf("\n%s\n%s\n\n%s", strings.Repeat("=", 80), strings.Join(ids, "\n"), text))
	}
	slices.Sort(parts)
	var b bytes.Buffer
	b.WriteString("Kanta contains the software listed here, under the licences that follow the names.\n")
	for _, part := range parts {
		b.WriteString(part)
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// notices returns the licence files of a module's top directory.
func notices(dir string) (string, error) {
	wanted := regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents)([.-].*)?$`)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() || !wanted.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		out = append(out, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))+"\n")
	}
	if len(out) == 0 {
		return "", errors.New("no licence file")
	}
	return strings.Join(out, "\n"), nil
}
