package peer

import (
	"fmt"
	"io"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
)

// alpn is what is spoken, in the handshake of TLS. It is no name that the clients' port knows.
const alpn = "kanta/node"

// magic is what both sides begin with; the high byte keeps texts apart from it.
const magic = "\xcbKNC"

// The versions of the preamble that this program speaks.
const (
	oldest = 1
	newest = 1
)

// purpose is what a connection is for.
type purpose uint8

const forRaft purpose = 1

// code is an answer.
type code uint8

const (
	codeWelcome code = iota
	codeVersion
	codePurpose
	codeCertificate
	codeCluster
	codeNode
)

// greeting is what a caller says.
type greeting struct {
	oldest, newest uint8
	purpose        purpose
	id             [16]byte
	cluster        string // 1 to 64 bytes
}

func (g *greeting) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, g.oldest, g.newest, byte(g.purpose), byte(len(g.cluster)))
	b = append(b, g.id[:]...)
	return append(b, g.cluster...)
}

// errForeign says that the other side speaks something else.
var errForeign = query.Errorf(query.CodeCorrupt, "what the other side said is no preamble of a node")

// readGreeting reads what a caller says. Of one with which there is no common version, no more than
// the versions is read.
func readGreeting(r io.Reader) (g greeting, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:6]); err != nil {
		return g, err
	}
	g.oldest, g.newest = head[4], head[5]
	if string(head[:4]) != magic || g.oldest == 0 || g.oldest > g.newest {
		return g, errForeign
	}
	if g.version() == 0 {
		return g, nil
	}
	if _, err := io.ReadFull(r, head[6:]); err != nil {
		return g, err
	}
	g.purpose = purpose(head[6])
	if _, err := io.ReadFull(r, g.id[:]); err != nil {
		return g, err
	}
	name := make([]byte, head[7])
	if _, err := io.ReadFull(r, name); err != nil {
		return g, err
	}
	if g.cluster = string(name); !certs.IsName(g.cluster) {
		return g, errForeign
	}
	return g, nil
}

// version returns the newest version that both speak, or 0.
func (g *greeting) version() uint8 {
	if v := min(g.newest, newest); v >= oldest && v >= g.oldest {
		return v
	}
	return 0
}

// maxWhy bounds the text of an answer: a line.
const maxWhy = 200

// answer is what a caller is told.
type answer struct {
	version uint8
	code    code
	why     string
}

func (a *answer) append(b []byte) []byte {
	why := a.why[:min(len(a.why), maxWhy)]
	b = append(b, magic...)
	b = append(b, a.version, byte(a.code), byte(len(why)))
	return append(b, why...)
}

// readAnswer reads what a caller is told. The text has printable characters of ASCII only, since
// it goes into errors and logs.
func readAnswer(r io.Reader) (a answer, err error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return a, err
	}
	if string(head[:4]) != magic || head[6] > maxWhy {
		return a, errForeign
	}
	a.version, a.code = head[4], code(head[5])
	why := make([]byte, head[6])
	if _, err := io.ReadFull(r, why); err != nil {
		return a, err
	}
	for i, c := range why {
		if c < ' ' || c > '~' {
			why[i] = '?'
		}
	}
	a.why = string(why)
	return a, nil
}

// err returns what an answer of the node at an address means. nil: come in.
func (a *answer) err(address string) error {
	if a.code == codeWelcome && a.version >= oldest && a.version <= newest {
		return nil
	}
	why, hint := a.why, ""
	switch a.code {
	case codeWelcome, codeVersion:
		why = fmt.Sprintf("it speaks version %d of the nodes' protocol, this one %d to %d", a.version, oldest, newest)
		hint = "bring both to versions of the program that know each other"
	case codeCertificate:
		hint = "kanta cert node makes a certificate of a node of its cluster"
	case codeCluster:
		hint = "the two nodes are of different clusters of the same name: look at their directories and addresses"
	case codeNode:
		hint = "let it join (again), or look which two nodes have the same name"
	}
	return &query.Error{Code: query.CodeDenied, Message: "the node at " + address + " refused this one: " + why, Hint: hint}
}
