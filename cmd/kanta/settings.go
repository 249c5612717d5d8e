package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setting is one thing of kanta serve that can be said in three places: as a flag, in the
// environment, and in a file. A secret is none: flags are seen by everybody on the machine.
type setting struct {
	name  string // of the flag, such as tls-cert: KANTA_TLS_CERT, and tls_cert in the file
	help  string
	value pflag.Value // nil: a flag that all commands have
	from  string      // where its value comes from
}

// The places, the first that says something holds.
const (
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromFile        = "file"
	fromDefault     = "default"
)

// settingsTable is what can be set. The flags, the environment and the file are made of it.
func (f *serveFlags) settingsTable() []*setting {
	return []*setting{
		{name: "db"}, {name: "memory"},
		{name: "question-memory", value: &f.questionMemory, help: "what one question may take of --memory, such as 256MiB; half of what there is for questions and caches by default, but 96MiB at least"},
		{name: "listen", value: newText(&f.listen, defaultListen), help: "address and port, of loopback without --tls-cert; port 0 is any that is free"},
		{name: "admin", value: newText(&f.admin, ""), help: "address and port, of loopback, for /metrics, /healthz, /readyz and /debug/pprof; none by default"},
		{name: "tls-cert", value: newText(&f.tls.Cert, ""), help: "file of the certificate for TLS, and of those that lead to its authority"},
		{name: "tls-key", value: newText(&f.tls.Key, ""), help: "file of the key of --tls-cert"},
		{name: "client-ca", value: newText(&f.tls.Authority, ""), help: "file of the authorities of clients' certificates: who shows none then shows a key"},
		{name: "node-cert", value: newText(&f.member.tls.Cert, ""), help: "of a member of a cluster: file of its certificate for the other members"},
		{name: "node-key", value: newText(&f.member.tls.Key, ""), help: "file of the key of --node-cert"},
		{name: "node-ca", value: newText(&f.member.tls.Authority, ""), help: "file of the authority of the members' certificates"},
		{name: "raft-listen", value: newText(&f.member.listen, ""), help: "address and port for other members; by default that at which they reach this one"},
		{name: "remove-dead", value: newDuration(&f.member.dead, 24*time.Hour), help: "after how long the leader removes a member with a vote that is not heard of, once three others have one; 0: never"},
		{name: "backups", value: (*texts)(&f.backups), help: "a target that clients may have backups written to, as --target of kanta backup; may be repeated"},
		{name: "audit", value: newText(&f.record.dir, ""), help: "record changes and reads of personal data in this directory, which is made if it is not there"},
		{name: "audit-days", value: (*settingCount)(&f.record.days), help: "keep the records for so many days, 0 for ever"},
		{name: "log", value: newText(&f.log, "text"), help: "what is told on standard error of calls that fail, are denied or slow: text, json, or off"},
		{name: "slow", value: newDuration(&f.slow, time.Second), help: "from when on a call is slow, and told; negative: none is"},
	}
}

func newText(p *string, value string) pflag.Value {
	*p = value
	return (*settingText)(p)
}

type settingText string

// String implements pflag.Value.
func (s *settingText) String() string { return string(*s) }

// Type implements pflag.Value.
func (s *settingText) Type() string { return "string" }

// Set implements pflag.Value.
func (s *settingText) Set(text string) error { *s = settingText(text); return nil }

type settingCount uint

// String implements pflag.Value.
func (s *settingCount) String() string { return strconv.FormatUint(uint64(*s), 10) }

// Type implements pflag.Value.
func (s *settingCount) Type() string { return "uint" }

// Set implements pflag.Value.
func (s *settingCount) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	*s = settingCount(n)
	return err
}

// settingSize is a number of bytes; "" is 0.
type settingSize struct {
	text  string
	bytes int64
}

// String implements pflag.Value.
func (s *settingSize) String() string { return s.text }

// Type implements pflag.Value.
func (s *settingSize) Type() string { return "size" }

// Set implements pflag.Value.
func (s *settingSize) Set(text string) error {
	if s.text, s.bytes = text, 0; text == "" { // as it is printed
		return nil
	}
	var err error
	s.bytes, err = parseSize(text)
	return err
}

func newDuration(p *time.Duration, value time.Duration) pflag.Value {
	*p = value
	return (*settingDuration)(p)
}

type settingDuration time.Duration

// String implements pflag.Value.
func (s *settingDuration) String() string { return time.Duration(*s).String() }

// Type implements pflag.Value.
func (s *settingDuration) Type() string { return "duration" }

// Set implements pflag.Value.
func (s *settingDuration) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("that is no duration; write 500ms, 1s or 1m30s")
	}
	*s = settingDuration(d)
	return nil
}

// texts is a flag that may be repeated; in the environment commas stand between them.
type texts []string

// String implements pflag.Value.
func (s *texts) String() string { return strings.Join(*s, ",") }

// Type implements pflag.Value.
func (s *texts) Type() string { return "stringArray" }

// Set implements pflag.Value: it appends.
func (s *texts) Set(text string) error { *s = append(*s, text); return nil }

// variable is the name of a setting in the environment.
func (s *setting) variable() string {
	return "KANTA_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// key is the name of a setting in the file.
func (s *setting) key() string { return strings.ReplaceAll(s.name, "-", "_") }

// addSettings makes the flags.
func addSettings(c *cobra.Command, table []*setting) {
	for _, s := range table {
		if s.value != nil {
			c.Flags().Var(s.value, s.name, s.help+" ("+s.variable()+")")
		}
	}
}

// fromOf says where the value of a setting comes from.
func fromOf(table []*setting, name string) string {
	for _, s := range table {
		if s.name == name {
			return s.from
		}
	}
	return fromDefault
}

// settle gives each setting its value: the flag's, else the environment's, else the file's.
func settle(c *cobra.Command, table []*setting, env func(string) string, file string) error {
	said, err := readSettings(file, table)
	if err != nil {
		return err
	}
	for _, s := range table {
		flag := c.Flags().Lookup(s.name)
		if s.value == nil {
			s.value = flag.Value
		}
		set := func(from string, values ...string) error {
			s.from = from
			for _, text := range values {
				if err := s.value.Set(text); err != nil {
					return usagef("%s: %s: %s: %s", from, s.name, text, err)
				}
			}
			return nil
		}
		err, inFile := error(nil), said[s.key()]
		switch text := env(s.variable()); {
		case flag.Changed:
			s.from = fromFlag
		case text != "":
			values := []string{text}
			if _, list := s.value.(*texts); list {
				values = strings.Split(text, ",")
			}
			err = set(fromEnvironment, values...)
		case inFile != nil:
			err = set(fromFile, inFile...)
		default:
			s.from = fromDefault
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxSettings bounds the file: all settings fit many times.
const maxSettings = 1 << 20

// readSettings reads the file of settings; "" is none. What it does not know is an error.
func readSettings(name string, table []*setting) (map[string][]string, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err == nil && len(text) > maxSettings {
		err = errors.New("it is larger than 1 MiB: is it a file of settings?")
	}
	if err != nil {
		return nil, usagef("--config %s: %w", name, err)
	}
	out, err := parseSettings(text, table)
	if err != nil {
		return nil, usagef("%s:%w", name, err)
	}
	return out, nil
}

// parseSettings reads the text of a file of settings. Its errors begin with the line.
func parseSettings(text []byte, table []*setting) (map[string][]string, error) {
	var doc map[string]any
	if err := toml.Unmarshal(text, &doc); err != nil {
		var bad toml.ParseError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("%d: %s", bad.Position.Line, bad.Message)
		}
		return nil, fmt.Errorf("1: %w", err)
	}
	out := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		i := slices.IndexFunc(table, func(s *setting) bool { return s.key() == key })
		if i < 0 {
			var known []string
			for _, s := range table {
				known = append(known, s.key())
			}
			return nil, fmt.Errorf("%d: there is no setting %q; there are %s", lineOf(text, key), key, strings.Join(known, ", "))
		}
		_, list := table[i].value.(*texts)
		values, ok := textsOf(doc[key], list)
		if !ok {
			want := `a text in quotes`
			if list {
				want = `a list of texts, such as ["a", "b"]`
			}
			return nil, fmt.Errorf("%d: %s is to be %s", lineOf(text, key), key, want)
		}
		out[key] = values
	}
	return out, nil
}

// textsOf returns the texts of a value of the file.
func textsOf(v any, list bool) ([]string, bool) {
	if !list {
		text, ok := v.(string)
		return []string{text}, ok
	}
	all, ok := v.([]any)
	out := []string{}
	for _, one := range all {
		text, isText := one.(string)
		out, ok = append(out, text), ok && isText
	}
	return out, ok
}

// lineOf returns the line on which a key stands, 1 if it is not found.
func lineOf(text []byte, key string) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		name := strings.TrimLeft(string(line), " \t[\"'")
		if rest, ok := strings.CutPrefix(name, key); ok && strings.TrimLeft(rest, " \t\"'") != rest || ok && strings.HasPrefix(rest, "=") || ok && strings.HasPrefix(rest, "]") || ok && strings.HasPrefix(rest, ".") {
			return n
		}
	}
	return 1
}

// printSettings writes what holds and where it comes from, as a file of settings.
func (a *app) printSettings(table []*setting) error {
	type shown struct {
		Setting string `json:"setting"`
		Value   any    `json:"value"`
		From    string `json:"from"`
	}
	var all []shown
	for _, s := range table {
		var value any = s.value.String()
		if list, ok := s.value.(*texts); ok {
			value = append([]string{}, *list...)
		}
		all = append(all, shown{s.key(), value, s.from})
	}
	if a.json {
		return a.printJSON(map[string]any{"settings": all})
	}
	for _, s := range all {
		value, err := json.Marshal(s.Value) // which TOML reads as well
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.out, "%s = %s # %s\n", s.Setting, value, s.From); err != nil {
			return err
		}
	}
	return nil
}
