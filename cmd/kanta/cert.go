package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
)

// defaultCerts is where certificates are kept of who names no directory.
const defaultCerts = "./kanta-certs"

// The files of an authority and of a server, and what begins those of clients and nodes.
const (
	caFile     = "ca"
	serverFile = "server"
	clientFile = "client-"
	nodeFile   = "node-"
)

func newCert(a *app) *cobra.Command {
	var dir string
	c := group(&cobra.Command{
		Use:   "cert",
		Short: "Make and look at the certificates of servers, their clients, and the nodes of a cluster",
		Long: `Make a private authority, and certificates of a server, its clients, and the nodes of a cluster
(ECDSA P-256). Files are PEM: NAME.crt may be seen by everybody, NAME.key by its owner only. Nothing is ever written
over. Keep ca.key off the machines that need only what it has issued.

A client's certificate says who it is and which role it has, until it ends.`,
		Example: `  kanta cert ca
  kanta cert server --host db.example.com --host 10.0.0.7
  kanta cert client --name anna --role analyst
  kanta serve --listen :7700 --tls-cert kanta-certs/server.crt --tls-key kanta-certs/server.key \
      --client-ca kanta-certs/ca.crt
  kanta count true --db kanta://db.example.com --ca kanta-certs/ca.crt \
      --cert kanta-certs/client-anna.crt --cert-key kanta-certs/client-anna.key`,
	})
	c.PersistentFlags().StringVar(&dir, "dir", defaultCerts, "directory of the authority and of what it issues")
	c.AddCommand(newCertCA(a, &dir), newCertServer(a, &dir), newCertClient(a, &dir), newCertNode(a, &dir), newCertShow(a, &dir))
	return c
}

func newCertCA(a *app, dir *string) *cobra.Command {
	var name string
	var days int
	c := &cobra.Command{
		Use:   "ca",
		Short: "Make an authority",
		Long:  `Make an authority, ca.crt and ca.key. --json: {"certificate","key","until"}`,
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := certs.NewAuthority(name, days, time.Now()) // the clock of who will look at it
			return a.keepPair(p, err, *dir, caFile)
		},
	}
	c.Flags().StringVar(&name, "name", "kanta-ca", "what the authority is called")
	c.Flags().IntVar(&days, "days", certs.AuthorityDays, "how long it is good for; a new one has to be given to every client")
	return c
}

func newCertServer(a *app, dir *string) *cobra.Command {
	var hosts []string
	var days int
	c := &cobra.Command{
		Use:   "server --host NAME...",
		Short: "Issue a certificate to a server",
		Long: `Issue a certificate to a server, server.crt and server.key, for the host names and addresses by
which clients reach it. A server reads its files anew when they change: to renew them, move the
old ones away, or use another --dir with the same authority, and put the new ones into their
place. --json: {"certificate","key","until"}`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(hosts) == 0 {
				return usagef("--host is missing: the names and addresses by which clients reach the server")
			}
			return a.issue(*dir, serverFile, func(ca *certs.Authority) (certs.Pair, error) { return ca.Server(hosts, days, time.Now()) })
		},
	}
	c.Flags().StringArrayVar(&hosts, "host", nil, "a host name or address; may be repeated")
	c.Flags().IntVar(&days, "days", certs.LeafDays, "how long it is good for")
	return c
}

func newCertClient(a *app, dir *string) *cobra.Command {
	var name, role string
	var days int
	c := &cobra.Command{
		Use:   "client --name NAME --role ROLE",
		Short: "Issue a certificate to a client",
		Long: `Issue a certificate to a client, client-NAME.crt and client-NAME.key: whoever has both is NAME,
with that role, until it ends. --json: {"certificate","key","until"}`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || role == "" {
				return usagef("--name and --role are needed: who the client is, and what it may do")
			}
			return a.issue(*dir, clientFile+name, func(ca *certs.Authority) (certs.Pair, error) { return ca.Client(name, role, days, time.Now()) })
		},
	}
	c.Flags().StringVar(&name, "name", "", "who it is: letters, digits, and . _ @ -")
	c.Flags().StringVar(&role, "role", "", "what it may do")
	c.Flags().IntVar(&days, "days", certs.LeafDays, "how long it is good for")
	return c
}

func newCertNode(a *app, dir *string) *cobra.Command {
	var name, cluster string
	var hosts []string
	var days int
	c := &cobra.Command{
		Use:   "node --name NODE --cluster NAME --host NAME...",
		Short: "Issue a certificate to a node of a cluster",
		Long: `Issue a certificate to a node of a cluster, node-NODE.crt and node-NODE.key, for the host names and
addresses by which the other nodes reach it. Nodes speak with those only whose certificate is of the
same cluster and authority; it is not good for asking a server as a client. Nodes read their files
anew when they change. --json: {"certificate","key","until"}`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || cluster == "" || len(hosts) == 0 {
				return usagef("--name, --cluster and --host are needed: which node it is, of which cluster, and how the others reach it")
			}
			return a.issue(*dir, nodeFile+name, func(ca *certs.Authority) (certs.Pair, error) {
				return ca.Node(name, cluster, hosts, days, time.Now())
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "which node it is: letters, digits, and . _ @ -")
	c.Flags().StringVar(&cluster, "cluster", "", "the name of the cluster")
	c.Flags().StringArrayVar(&hosts, "host", nil, "a host name or address; may be repeated")
	c.Flags().IntVar(&days, "days", certs.LeafDays, "how long it is good for")
	return c
}

// issue has the authority of a directory make a certificate there.
func (a *app) issue(dir, file string, make func(*certs.Authority) (certs.Pair, error)) error {
	p, err := certs.Load(dir, caFile)
	if err != nil {
		return &query.Error{Code: query.CodeInvalid, Message: "the authority cannot be read: " + err.Error(), Hint: "kanta cert ca makes one; --dir names its directory", Err: err}
	}
	ca, err := certs.ReadAuthority(p)
	if err != nil {
		return query.Errorf(query.CodeInvalid, "%s: %w", filepath.Join(dir, caFile), err)
	}
	p, err = make(ca)
	return a.keepPair(p, err, dir, file)
}

// keepPair writes a certificate and its key, and says where they are.
func (a *app) keepPair(p certs.Pair, err error, dir, file string) error {
	if err == nil {
		err = p.Save(dir, file)
	}
	if err != nil {
		return err
	}
	all, err := certs.Parse(p.Cert)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, file)
	until := all[0].NotAfter.Format(time.RFC3339)
	if a.json {
		return a.printJSON(map[string]string{"certificate": name + ".crt", "key": name + ".key", "until": until})
	}
	t := a.newTable("", "")
	t.add("certificate", name+".crt")
	t.add("key", name+".key")
	t.add("until", until)
	return t.write(a.out)
}

// certJSON is what a certificate says.
type certJSON struct {
	File    string   `json:"file"`
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // authority, server, client, node, or other
	Role    string   `json:"role,omitempty"`
	Cluster string   `json:"cluster,omitempty"`
	Hosts   []string `json:"hosts,omitempty"`
	Issuer  string   `json:"issuer"`
	From    string   `json:"from"`
	Until   string   `json:"until"`
	Expired bool     `json:"expired"`
	SHA256  string   `json:"sha256"`
}

func newCertShow(a *app, dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE...]",
		Short: "What certificates say",
		Long: `What certificates say, of the files or of all in --dir: for whom they are, who has issued them and
how long they are good. It verifies nothing.
--json: {"certificates":[{"file","name","kind","role","cluster","hosts","issuer","from","until","expired","sha256"}]}`,
		Args: rangeArgs(0, many),
		RunE: func(_ *cobra.Command, files []string) error {
			if len(files) == 0 {
				files, _ = filepath.Glob(filepath.Join(*dir, "*.crt")) // fails for a pattern that is none: then it finds nothing
			}
			if len(files) == 0 {
				return &query.Error{Code: query.CodeInvalid, Message: "there is no certificate in " + *dir, Hint: "name files, or their directory with --dir"}
			}
			all := []certJSON{}
			for _, f := range files {
				read, err := certs.ReadFile(f)
				if err != nil {
					return err
				}
				for _, c := range read {
					all = append(all, certOf(f, c, time.Now()))
				}
			}
			if a.json {
				return a.printJSON(map[string]any{"certificates": all})
			}
			t := a.newTable("file", "kind", "name", "for", "until", "issuer", "sha256")
			for _, c := range all {
				until := c.Until
				if c.Expired {
					until += " (expired)"
				}
				t.add(c.File, c.Kind, c.Name, strings.TrimSpace(c.Role+c.Cluster+" "+strings.Join(c.Hosts, " ")), until, c.Issuer, c.SHA256)
			}
			return t.write(a.out)
		},
	}
}

func certOf(file string, c *x509.Certificate, now time.Time) certJSON {
	sum := sha256.Sum256(c.Raw)
	out := certJSON{File: file, Name: c.Subject.CommonName, Kind: "other", Issuer: c.Issuer.CommonName, Hosts: slices.Clone(c.DNSNames),
		From: c.NotBefore.UTC().Format(time.RFC3339), Until: c.NotAfter.UTC().Format(time.RFC3339),
		Expired: now.After(c.NotAfter), SHA256: hex.EncodeToString(sum[:])}
	for _, ip := range c.IPAddresses {
		out.Hosts = append(out.Hosts, ip.String())
	}
	switch id, err := certs.IdentityOf(c); {
	case c.IsCA:
		out.Kind = "authority"
	case err == nil && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		out.Kind, out.Role = "client", id.Role
	case certs.ForNode(c):
		if n, err := certs.NodeOf(c); err == nil {
			out.Kind, out.Cluster = "node", n.Cluster
		}
	case slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		out.Kind = "server"
	}
	return out
}
