package replica

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// What the NODE file is called, and its first line. The package comment specifies it.
const (
	nodeFile    = "NODE"
	newSuffix   = ".new"
	nodeMagic   = "kanta node"
	nodeVersion = "1"
)

// maxNodeFile is more than the lines can have together.
const maxNodeFile = 2048

// Limits of what a NODE file has. A name is a part of a certificate's URI and of a document's
// name, so it has no character that would have to be escaped in either.
const (
	maxName    = 40  // of a cluster or a member, in bytes
	maxAddress = 260 // a host name of 253, a colon, a port
)

var hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?$`) //tidy:constant

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`) //tidy:constant

// Identity is what the NODE file of a directory says: whose directory it is.
type Identity struct {
	Cluster     string // the name of the cluster, as in the certificates of its members
	Store       string // the id of the store that all members have, 32 hexadecimal digits
	ID          string // the name of the member
	Incarnation string // 16 hexadecimal digits, drawn when the directory was made
	Raft        string // HOST:PORT where the other members reach it
	Client      string // HOST:PORT where clients do
}

// server is how Raft calls the member: with its incarnation. So a directory that was made anew
// under an old name is somebody else, who has never voted and of whom nobody counts what the
// old one has acknowledged.
func (id *Identity) server() raft.ServerID { return serverOf(id.ID, id.Incarnation) }

func serverOf(id, incarnation string) raft.ServerID {
	return raft.ServerID(id + "." + incarnation)
}

// memberOf is the inverse of serverOf.
func memberOf(s raft.ServerID) (id, incarnation string) {
	id, incarnation, _ = strings.Cut(string(s), ".")
	return id, incarnation
}

// newIncarnation draws an incarnation.
func newIncarnation() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("draw an incarnation: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// CheckName reports a name of a cluster or a member that is none: 1 to 40 lower case letters,
// digits and hyphens, with a letter or a digit at both ends.
func CheckName(what, name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%s %q is no name", what, name),
			Hint: fmt.Sprintf("a name has 1 to %d lower case letters, digits and hyphens, and begins and ends with no hyphen", maxName)}
	}
	return nil
}

// CheckAddress reports what is no HOST:PORT.
func CheckAddress(what, address string) error {
	host, port, err := net.SplitHostPort(address)
	number, noNumber := strconv.ParseUint(port, 10, 16)
	ip, noIP := netip.ParseAddr(host)
	if err != nil || noNumber != nil || number == 0 || len(address) > maxAddress || noIP != nil && !hostForm.MatchString(host) {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%s %q is no address", what, address),
			Hint: "HOST:PORT, as others reach it, such as 10.0.0.1:7701"}
	}
	if ip.IsUnspecified() || ip.IsMulticast() {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%s nobody is reached at %q", what, address),
			Hint: "HOST:PORT, as others reach it, such as 10.0.0.1:7701; where it listens kanta serve is told (--listen, --raft-listen)"}
	}
	return nil
}

func (id *Identity) check() error {
	err := errors.Join(CheckName("the cluster", id.Cluster), CheckName("the member", id.ID),
		CheckAddress("for members,", id.Raft), CheckAddress("for clients,", id.Client))
	if err == nil && id.Raft == id.Client {
		err = &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("clients and members would both come to %s", id.Raft), Hint: "these are two ports: give each its own"}
	}
	if err == nil && (!isHex(id.Store, 32) || !isHex(id.Incarnation, 16)) {
		err = query.Errorf(query.CodeInvalid, "the store's id %q or the incarnation %q is none", id.Store, id.Incarnation)
	}
	return err
}

func isHex(s string, digits int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b)*2 == digits && hex.EncodeToString(b) == s
}

// text is the NODE file.
func (id *Identity) text() string {
	text := fmt.Sprintf("%s %s\ncluster %s\nstore %s\nid %s\nincarnation %s\nraft %s\nclient %s\n",
		nodeMagic, nodeVersion, id.Cluster, id.Store, id.ID, id.Incarnation, id.Raft, id.Client)
	return text + fmt.Sprintf("sum %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// parseIdentity reads a NODE file. where names it in errors.
func parseIdentity(where, text string) (*Identity, error) {
	lines := strings.Split(text, "\n")
	version, ours := strings.CutPrefix(lines[0], nodeMagic+" ")
	switch {
	case !ours:
		return nil, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("%s is not of a member of a cluster: it begins with something else", where)}
	case version != nodeVersion:
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s is of version %q; this program reads version %s", where, version, nodeVersion),
			Hint: "use a newer version of Kanta"}
	}
	fields := map[string]string{}
	for _, l := range lines[1:] {
		if k, v, ok := strings.Cut(l, " "); ok {
			fields[k] = v
		}
	}
	id := &Identity{Cluster: fields["cluster"], Store: fields["store"], ID: fields["id"], Incarnation: fields["incarnation"],
		Raft: fields["raft"], Client: fields["client"]}
	if id.check() != nil || id.text() != text {
		return nil, &query.Error{Code: query.CodeCorrupt, Message: where + " is damaged", Hint: "remove the member from the cluster, delete its directory, and join anew"}
	}
	return id, nil
}

// ReadIdentity reads the NODE file of a directory. Without one the error's code is
// [query.CodeNotAStore].
func ReadIdentity(files vfs.FS, dir string) (*Identity, error) {
	name := files.PathJoin(dir, nodeFile)
	f, err := files.Open(name)
	if isNotExist(err) {
		return nil, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("%s is no directory of a member: it has no file %s", dir, nodeFile),
			Hint: "kanta cluster init or kanta cluster join make one", Err: err}
	}
	if err != nil {
		return nil, diskError("read "+name, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxNodeFile))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, diskError("read "+name, err)
	}
	return parseIdentity(name, string(text))
}

// write makes the NODE file of a directory, or replaces it: a crash leaves the one or the other.
func (id *Identity) write(files vfs.FS, dir string) error {
	if err := id.check(); err != nil {
		return err
	}
	return writeFile(files, dir, nodeFile, id.text())
}

// writeFile makes a file, or replaces it: a crash leaves the one or the other.
func writeFile(files vfs.FS, dir, name, text string) error {
	made := files.PathJoin(dir, name+newSuffix)
	f, err := files.Create(made, vfs.WriteCategoryUnspecified)
	if err != nil {
		return diskError("write "+made, err)
	}
	_, err = f.Write([]byte(text))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return diskError("write "+made, err)
	}
	if err := errors.Join(files.Rename(made, files.PathJoin(dir, name)), syncDir(files, dir)); err != nil {
		return diskError("write "+name, err)
	}
	return nil
}

func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
