package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// The limits of a snapshot. What is above them is refused where it is made and where it is received.
const (
	MaxFiles     = 1 << 17  // a store of 5 TB has so many of 40 MB
	MaxFileBytes = 1 << 40  // Pebble's are some MB; a blob file may be larger
	MaxBytes     = 1 << 44  // so that no sum overflows
	MaxMeta      = 24 << 20 // bytes of the file META, of which some times as much is held in memory
	MaxName      = 120      // bytes of a file's name with its directories; the store's have 60 at most
	MaxDepth     = 4        // of a name; the store's have 2
	MaxServers   = 256      // of a configuration
	MaxServer    = 512      // bytes of a server's id, and of its address
)

const (
	formatVersion = 1
	metaMagic     = "kanta snapshot\n"
	sumLine       = "sha256 "
	sumBytes      = len(sumLine) + 2*sha256.Size + 1
)

// File is a file of a snapshot.
type File struct {
	Name string // with its directories, by slashes, from that of the snapshot
	Size int64  // in bytes
	Sum  [sha256.Size]byte
}

// Checkpoint says what the store in a snapshot has, as it says it itself. It has the fields
// of the engine's checkpoint.
type Checkpoint struct {
	Index, Term uint64 // of the last log entry that it was changed by; 0: by none
	Position    query.Position
	Chain       [16]byte // the chain hash there
}

// Meta says what a snapshot is: what the file META has.
type Meta struct {
	// Index and Term are those of the last log entry that the snapshot stands for, as raft has
	// it. Its store may say less, if the last entries have changed nothing, or more, if raft
	// gave it entries again that it had: see [Meta.HeldBy].
	Index, Term        uint64
	Configuration      raft.Configuration
	ConfigurationIndex uint64
	Checkpoint         Checkpoint
	Files              []File // by name
}

// HeldBy reports whether a store that was changed last by the log entry of this index has
// what the snapshot has, up to raft's index: there is then nothing to install. If the store
// in the snapshot says less than raft's index, the entries in between have changed nothing,
// at no replica, so a store that says as much lacks nothing either.
func (m *Meta) HeldBy(applied uint64) bool { return applied >= min(m.Index, m.Checkpoint.Index) }

// Bytes returns how many bytes the files have.
func (m *Meta) Bytes() (n int64) {
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// append appends the text of the file META.
func (m *Meta) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, metaMagic...)
	dst = fmt.Appendf(dst, "format %d\nindex %d\nterm %d\nconfiguration-index %d\n", formatVersion, m.Index, m.Term, m.ConfigurationIndex)
	for _, s := range m.Configuration.Servers {
		dst = fmt.Appendf(dst, "server %s %s %s\n", suffrage(s.Suffrage), strconv.QuoteToASCII(string(s.ID)), strconv.QuoteToASCII(string(s.Address)))
	}
	c := &m.Checkpoint
	dst = fmt.Appendf(dst, "applied-index %d\napplied-term %d\nposition %s\nchain %x\n", c.Index, c.Term, c.Position, c.Chain)
	for i := range m.Files {
		f := &m.Files[i]
		dst = fmt.Appendf(dst, "file %d %x %s\n", f.Size, f.Sum, f.Name)
	}
	return fmt.Appendf(dst, "%s%x\n", sumLine, sha256.Sum256(dst[start:]))
}

// suffrage is the word of it; raft's have upper case letters.
func suffrage(s raft.ServerSuffrage) string { return strings.ToLower(s.String()) }

// check returns an error if the snapshot is beyond the limits, or one that nobody makes.
func (m *Meta) check() error {
	switch {
	case m.Index == 0 || m.Term == 0:
		return corrupt("a snapshot has an index and a term from 1")
	case len(m.Configuration.Servers) > MaxServers:
		return limit("a configuration of %d servers, at most %d", len(m.Configuration.Servers), MaxServers)
	case len(m.Files) == 0:
		return corrupt("a snapshot without files")
	case len(m.Files) > MaxFiles:
		return limit("%d files, at most %d", len(m.Files), MaxFiles)
	}
	for _, s := range m.Configuration.Servers {
		if len(s.ID) > MaxServer || len(s.Address) > MaxServer {
			return limit("a server whose id or address has more than %d bytes", MaxServer)
		}
		if s.Suffrage != raft.Voter && s.Suffrage != raft.Nonvoter && s.Suffrage != raft.Staging {
			return corrupt("a server that neither votes nor does not")
		}
	}
	var bytes int64
	for i := range m.Files {
		f := &m.Files[i]
		if f.Size < 0 || f.Size > MaxFileBytes {
			return limit("file %s has %d bytes, at most %d", f.Name, f.Size, int64(MaxFileBytes))
		}
		if bytes += f.Size; bytes > MaxBytes {
			return limit("the files have more than %d bytes", int64(MaxBytes))
		}
	}
	return checkNames(m.Files)
}

// checkNames returns an error if files have names that are not plain, not in order, or not
// apart on every file system: some do not tell A from a.
func checkNames(files []File) error {
	taken := make(map[string]bool, 2*len(files)) // of files, and of directories: false
	for i := range files {
		name := files[i].Name
		if err := checkName(name); err != nil {
			return err
		}
		if i > 0 && files[i-1].Name >= name {
			return corrupt("the files are not in the order of their names")
		}
		folded := strings.ToLower(name)
		if _, is := taken[folded]; is {
			return corrupt("two files of one name: %s", name)
		}
		taken[folded] = true
		for at := strings.LastIndexByte(folded, '/'); at > 0; at = strings.LastIndexByte(folded[:at], '/') {
			if taken[folded[:at]] {
				return corrupt("%s is in a file", name)
			}
			taken[folded[:at]] = false
		}
	}
	return nil
}

// checkName returns an error if a name could mean anything but a file below a directory.
func checkName(name string) error {
	if len(name) > MaxName {
		return limit("a file's name of %d bytes, at most %d", len(name), MaxName)
	}
	parts := strings.Split(name, "/")
	if len(parts) > MaxDepth {
		return limit("a file %d directories deep, at most %d", len(parts), MaxDepth)
	}
	for _, part := range parts {
		if part == "" || part[0] == '.' || part[len(part)-1] == '.' {
			return corrupt("a file has the name %q", name)
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return corrupt("a file has the name %q", name)
			}
		}
	}
	return nil
}

// parseMeta reads the text of the file META.
func parseMeta(text []byte) (*Meta, error) {
	if len(text) > MaxMeta {
		return nil, limit("a description of %d bytes, at most %d", len(text), MaxMeta)
	}
	rest, ok := bytes.CutPrefix(text, []byte(metaMagic))
	if !ok {
		return nil, corrupt("it does not begin with %q", strings.TrimSpace(metaMagic))
	}
	first, _, _ := bytes.Cut(rest, []byte("\n"))
	if version, ok := bytes.CutPrefix(first, []byte("format ")); !ok {
		return nil, corrupt("it has no format")
	} else if n, err := strconv.ParseUint(string(version), 10, 32); err == nil && n > formatVersion {
		return nil, newer(n)
	}
	if len(text) < sumBytes {
		return nil, corrupt("it is cut short")
	}
	body, last := text[:len(text)-sumBytes], text[len(text)-sumBytes:]
	if want := sha256.Sum256(body); string(last) != fmt.Sprintf("%s%x\n", sumLine, want) {
		return nil, corrupt("it fails its checksum")
	}
	m, err := parseLines(string(rest[:len(rest)-sumBytes]))
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.append(make([]byte, 0, len(text))), text) { // what has two forms can be meant in two ways
		return nil, corrupt("it is not in the form that it is written in")
	}
	return m, nil
}

// parseLines reads the lines between the first and the last one. Whoever calls it compares
// what it makes of them with the text: it need not find every fault.
func parseLines(text string) (*Meta, error) {
	m := &Meta{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := m.parseLine(key, value); err != nil {
			return nil, fmt.Errorf("%w: line %q", err, line[:min(len(line), 2*MaxName)])
		}
	}
	return m, nil
}

// errLine is a line that cannot be read; parseLines says which.
var errLine = errors.New("it cannot be read")

func (m *Meta) parseLine(key, value string) (err error) {
	numbers := map[string]*uint64{"index": &m.Index, "term": &m.Term, "configuration-index": &m.ConfigurationIndex,
		"applied-index": &m.Checkpoint.Index, "applied-term": &m.Checkpoint.Term}
	switch key {
	case "format":
		return nil
	case "position":
		var ok bool
		if m.Checkpoint.Position, ok = query.ParsePosition(value); !ok {
			return corruptly(errLine)
		}
		return nil
	case "chain":
		return parseHash(m.Checkpoint.Chain[:], value)
	case "server":
		if len(m.Configuration.Servers) == MaxServers {
			return limit("a configuration of more than %d servers", MaxServers)
		}
		s, err := parseServer(value)
		m.Configuration.Servers = append(m.Configuration.Servers, s)
		return err
	case "file":
		if len(m.Files) == MaxFiles {
			return limit("more than %d files", MaxFiles)
		}
		f, err := parseFile(value)
		m.Files = append(m.Files, f)
		return err
	}
	to := numbers[key]
	if to == nil {
		return corruptly(errLine)
	}
	if *to, err = strconv.ParseUint(value, 10, 64); err != nil {
		return corruptly(errLine)
	}
	return nil
}

func parseHash(to []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return corruptly(errLine)
	}
	copy(to, b)
	return nil
}

func parseFile(text string) (f File, err error) {
	size, rest, _ := strings.Cut(text, " ")
	sum, name, _ := strings.Cut(rest, " ")
	if f.Size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return f, corruptly(errLine)
	}
	f.Name = strings.Clone(name) // not a part of the whole text
	return f, parseHash(f.Sum[:], sum)
}

func parseServer(text string) (s raft.Server, err error) {
	word, rest, _ := strings.Cut(text, " ")
	at := slices.IndexFunc([]raft.ServerSuffrage{raft.Voter, raft.Nonvoter, raft.Staging}, func(x raft.ServerSuffrage) bool { return suffrage(x) == word })
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil || at < 0 {
		return s, corruptly(errLine)
	}
	id, err := strconv.Unquote(quoted)
	address, err2 := strconv.Unquote(strings.TrimPrefix(rest[len(quoted):], " "))
	if err != nil || err2 != nil {
		return s, corruptly(errLine)
	}
	return raft.Server{Suffrage: raft.ServerSuffrage(at), ID: raft.ServerID(id), Address: raft.ServerAddress(address)}, nil
}
