package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what is printed into the sessions of testdata")

// TestSessions runs the sessions in testdata. A session makes files and runs command
// lines, each followed by what it prints:
//
//	file NAME       the lines up to a line "end" are a file
//	$ kanta ...     a command line, in the shell's quotes; < NAME gives it a file as standard input
//	$tty kanta ...  the same on a terminal
//	./NAME          in a command line, is in the session's directory
//	2> ...          a line on standard error
//	exit N          the exit code, if it is not 0
//	# ...           a remark
//
// What differs from run to run (durations, ids, digests, bytes of files) is written as N.
func TestSessions(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(text), "\r\n", "\n")
			got := replay(newCLI(t), want)
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareLines(t, name, got, want)
		})
	}
}

func compareLines(t *testing.T, name, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			t.Fatalf("%s:%d:\n got  %s\n want %s\n(all of it:\n%s)", name, i+1, g, w, got)
		}
	}
}

// replay runs the command lines of a session and returns the session with what they print.
func replay(c *cli, session string) string {
	var out strings.Builder
	lines := strings.SplitAfter(session, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(lines[i], "\n")
		name, isFile := strings.CutPrefix(line, "file ")
		command, isCommand := strings.CutPrefix(line, "$ kanta ")
		terminal, onTerminal := strings.CutPrefix(line, "$tty kanta ")
		switch {
		case isFile:
			var content strings.Builder
			out.WriteString(lines[i])
			for i++; lines[i] != "end\n"; i++ {
				content.WriteString(lines[i])
				out.WriteString(lines[i])
			}
			out.WriteString(lines[i])
			c.file(name, content.String())
		case isCommand || onTerminal:
			if c.terminal = onTerminal; onTerminal {
				command = terminal
			}
			out.WriteString(lines[i] + c.transcript(command))
		case strings.HasPrefix(line, "#"), line == "" && i+1 < len(lines) && directive.MatchString(lines[i+1]):
			out.WriteString(lines[i])
		}
	}
	return out.String()
}

// directive matches the lines of a session that are not output.
var directive = regexp.MustCompile(`^(#|\$|file )`)

// transcript runs a command line and returns what it prints.
func (c *cli) transcript(command string) string {
	args := shellWords(command)
	c.stdin = ""
	for i, arg := range args {
		if arg == "<" {
			text, err := os.ReadFile(c.path(args[i+1]))
			if err != nil {
				c.t.Fatal(err)
			}
			c.stdin, args = string(text), args[:i]
			break
		}
	}
	for i, arg := range args { // files of the session stand in its directory, and so does ./NAME
		if name, ok := strings.CutPrefix(arg, "./"); ok {
			args[i] = c.path(name)
			continue
		}
		if _, err := os.Stat(c.path(arg)); err == nil && filepath.IsLocal(arg) && arg != "db" {
			args[i] = c.path(arg)
		}
	}
	stdout, stderr, code := c.run(args...)
	var out strings.Builder
	out.WriteString(steady(stdout))
	for line := range strings.Lines(steady(stderr)) {
		out.WriteString("2> " + line)
	}
	if code != exitOK {
		fmt.Fprintf(&out, "exit %d\n", code)
	}
	return out.String()
}

// steady replaces what differs from run to run.
func steady(text string) string {
	for _, r := range []struct{ from, to string }{
		{`(elapsed_us"?[\t:])\d+`, "${1}N"},
		{`kanta_[A-Z2-7]{16}_[A-Z2-7]{52}`, "kanta_N"},
		{`(?m)(^|[\t "])[A-Z2-7]{16}\b`, "${1}N"},
		{`(rows_per_second":|rows per second[\t ]+)[\d,]+`, "${1}N"},
		{`(?m)^(time +)[\d.]+ (ms|s)$`, "time  N ms"},
		{`\b([0-9a-f]{32}|[0-9a-f]{64})\b`, "N"},
		{`(files looked through|bytes of these)\t[\d,]+`, "${1}\tN"},
		{`("files":)\d+(,"bytes":)\d+`, "${1}N${2}N"},
		{`("next":")[^"]+"`, `${1}N"`},
		{`("(?:files|objects)":)\d+,"bytes":\d+`, `${1}N,"bytes":N`},
		{`("(?:sent_objects|sent_bytes|sent_raw_bytes|fetched_bytes|paused_us)":)\d+`, "${1}N"},
		{`(?m)^(files|bytes|of these new|sent|fetched|bytes freed|objects|objects deleted|paused_us)\t\d+$`, "${1}\tN"},
		{`(?m)^(files|bytes|of these new|sent|writers waited) +[\d.,]+( \w+)?$`, "${1}  N"},
		{`(Z\t)\d+\t\d+\t`, "${1}N\tN\t"},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return text
}

// shellWords splits a command line as a shell does: single and double quotes, no escapes.
func shellWords(line string) (words []string) {
	var word strings.Builder
	quote, inside := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inside = r, true
		case quote == 0 && r == ' ':
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}
