package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/cluster"
)

const clusterHelp = `A cluster is three or five servers with one store: each has all of it, one leads and takes what is
written, and a write is acknowledged when most of them have it on their disks. All answer questions.
While most of them can reach each other nothing that was acknowledged is lost and the cluster goes on
by itself; else nothing is written.

  kanta cert ca --dir certs                                     # once; keep ca.key elsewhere
  kanta cert node --dir certs --name n1 --cluster shop --host a.example.com
  kanta cluster init n1 --cluster shop --id n1 \
      --address a.example.com:7700 --raft-address a.example.com:7710
  kanta serve --db n1 --node-cert certs/node-n1.crt --node-key certs/node-n1.key \
      --node-ca certs/ca.crt --tls-cert certs/server.crt --tls-key certs/server.key

and on each further machine, with a certificate of its own,

  kanta cluster join n2 --to kanta://a.example.com:7700 --id n2 \
      --address b.example.com:7700 --raft-address b.example.com:7710
  kanta serve --db n2 --node-cert certs/node-n2.crt ...

In the place of one that is lost for good another one joins, under the old name or a new one:

  kanta cluster remove n2
  kanta cluster join n4 --to kanta://a.example.com:7700 --id n4 ...

Clients name all of them: --db kanta://a.example.com:7700,b.example.com:7700,c.example.com:7700.`

func newCluster(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "cluster", Short: "Several servers with one store, of which one may fail", Long: clusterHelp})
	c.AddCommand(newClusterInit(a), newClusterJoin(a), newClusterStatus(a), newClusterRemove(a), newClusterTransfer(a), newClusterUpgrade(a), newClusterRecover(a), newClusterDemo(a))
	return c
}

// seatFlags say who a member is.
type seatFlags struct{ id, address, raft filled }

func (f *seatFlags) add(c *cobra.Command) {
	c.Flags().Var(&f.id, "id", "the name of the member: lower case letters, digits and hyphens")
	c.Flags().Var(&f.address, "address", "HOST:PORT where clients reach it")
	c.Flags().Var(&f.raft, "raft-address", "HOST:PORT where the other members reach it")
}

func (f *seatFlags) check() error {
	if f.id == "" || f.address == "" || f.raft == "" {
		return usagef("--id, --address and --raft-address are needed: who the member is, and where clients and other members reach it")
	}
	return nil
}

// seatJSON is a directory of a member that was made.
type seatJSON struct {
	Directory   string `json:"directory"`
	Cluster     string `json:"cluster"`
	ID          string `json:"id"`
	Address     string `json:"address"`
	RaftAddress string `json:"raft_address"`
	Store       string `json:"store"`
}

// printSeat tells of the directory of a member.
func (a *app) printSeat(dir string, id cluster.Identity) error {
	if a.json {
		return a.printJSON(seatJSON{dir, id.Cluster, id.ID, id.Address, id.RaftAddress, id.Store})
	}
	t := a.newTable("", "")
	t.add("directory", dir)
	t.add("cluster", id.Cluster)
	t.add("member", id.ID)
	t.add("for clients", id.Address)
	t.add("for members", id.RaftAddress)
	t.add("store", id.Store)
	return t.write(a.out)
}

func newClusterInit(a *app) *cobra.Command {
	var f seatFlags
	var name, from filled
	c := &cobra.Command{
		Use:   "init DIR --cluster NAME --id ID --address HOST:PORT --raft-address HOST:PORT",
		Short: "Make the directory of a cluster's first member",
		Long: `Make the directory of a cluster's first member, with an empty store, or with that of --from, which
is moved into it. By itself it is a cluster of one, which serves when kanta serve --db DIR runs; others
join it. The names are those of the members' certificates (kanta cert node).

--json: {"directory","cluster","id","address","raft_address","store"}`,
		Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := errors.Join(f.check(), notAServer(args[0])); err != nil {
				return err
			}
			if name == "" {
				return usagef("--cluster is missing: the name of the cluster, as in the certificates of its members")
			}
			if _, err := os.Stat(string(from)); from != "" && err != nil {
				return &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("there is no Kanta store in %s", from), Hint: "name the directory of one, or leave --from out", Err: err}
			}
			engineOptions, err := a.options(args[0], true)
			if err != nil {
				return err
			}
			if err := cluster.Init(args[0], &cluster.InitOptions{Cluster: string(name), ID: string(f.id), Address: string(f.address), RaftAddress: string(f.raft),
				From: string(from), Engine: engineOptions}); err != nil {
				return err
			}
			id, err := cluster.IdentityOf(args[0])
			if err != nil {
				return err
			}
			return a.printSeat(args[0], id)
		},
	}
	f.add(c)
	c.Flags().Var(&name, "cluster", "the name of the cluster: lower case letters, digits and hyphens")
	c.Flags().Var(&from, "from", "the directory of a store that nobody has open, which becomes the cluster's and is moved")
	return c
}

// notAServer refuses the address of a server where a directory is meant.
func notAServer(dir string) error {
	if (&app{dir: dir}).isRemote() {
		return usagef("%s: name the directory of the member, on its machine", dir)
	}
	return nil
}

func newClusterJoin(a *app) *cobra.Command {
	var f seatFlags
	var to filled
	c := &cobra.Command{
		Use:   "join DIR --to kanta://HOST:PORT --id ID --address HOST:PORT --raft-address HOST:PORT",
		Short: "Have a cluster take in a member, and make its directory",
		Long: `Have a cluster take in a member, and make its directory. Any member of the cluster may be named; the key or
certificate is that of a role with the right cluster (admin has it). Then kanta serve --db DIR runs it: it is
sent the store, and has a vote when it has caught up.

With --read-only it never has a vote: it answers questions, such as analyses that the others are to be spared, counts
in no majority, and never leads. To have it vote after all remove it and let it join with a new directory.

A member that has lost its disk comes back so under its old name, once it is not heard of any more.
--json: {"directory","cluster","id","address","raft_address","store"}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(f.check(), notAServer(args[0])); err != nil {
				return err
			}
			if to == "" {
				return usagef("--to is missing: the address of a member, such as %s127.0.0.1:%s", serverScheme, client.DefaultPort)
			}
			if entries, err := os.ReadDir(args[0]); err == nil && len(entries) > 0 {
				return &query.Error{Code: query.CodeConflict, Message: args[0] + " is not empty", Hint: "name a new directory"}
			}
			at, err := a.openMember(string(to))
			if err != nil {
				return err
			}
			defer at.Close()
			id, err := cluster.Join(c.Context(), args[0], at, &cluster.JoinOptions{ID: string(f.id), Address: string(f.address), RaftAddress: string(f.raft), ReadOnly: a.readOnly})
			if err != nil {
				return err
			}
			return a.printSeat(args[0], id)
		},
	}
	f.add(c)
	c.Flags().Var(&to, "to", "the address of a member, or of several: kanta://HOST:PORT,HOST:PORT")
	return c
}

// openMember asks a server that the command line names otherwise than by --db.
func (a *app) openMember(address string) (*client.Client, error) {
	o, err := a.caller.options(a)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	return client.Open(ctx, address, o)
}

// clusterJSON is what a member knows of its cluster.
type clusterJSON struct {
	Cluster       string        `json:"cluster"`
	Node          string        `json:"node"`
	Leader        string        `json:"leader"`
	Term          uint64        `json:"term"`
	LeaderSince   string        `json:"leader_since,omitempty"`
	LeaderChanges uint64        `json:"leader_changes"`
	Purge         string        `json:"purge,omitempty"`
	Version       uint64        `json:"version,omitempty"`
	Zones         string        `json:"zones,omitempty"`
	VersionHeld   bool          `json:"version_held"`
	Members       []memberJSON  `json:"members"`
	Removed       []removedJSON `json:"removed,omitempty"`
}

// removedJSON is a member that was removed because it was not heard of.
type removedJSON struct {
	ID     string  `json:"id"`
	At     string  `json:"at"`
	Silent float64 `json:"silent_seconds"`
}

type memberJSON struct {
	ID            string   `json:"id"`
	State         string   `json:"state"` // leader, voter, learner or read-only
	Address       string   `json:"address"`
	RaftAddress   string   `json:"raft_address"`
	Contact       *float64 `json:"contact_seconds"` // null: not known
	Position      string   `json:"position,omitempty"`
	Lag           *uint64  `json:"lag"` // null: not known
	SnapshotBytes uint64   `json:"snapshot_bytes,omitempty"`
	SnapshotTotal uint64   `json:"snapshot_total,omitempty"`
	Purged        string   `json:"purged,omitempty"`
	LowestVersion uint64   `json:"lowest_version,omitempty"`
	NewestVersion uint64   `json:"newest_version,omitempty"`
	Problem       string   `json:"problem,omitempty"`
}

// somePosition writes a position, "" for none.
func somePosition(p query.Position) string {
	if p == (query.Position{}) {
		return ""
	}
	return p.String()
}

// clusterOf describes a cluster.
func clusterOf(s *query.ClusterStatus) clusterJSON {
	out := clusterJSON{Cluster: s.Cluster, Node: s.Node, Leader: s.Leader, Term: s.Term, LeaderSince: someTime(s.LeaderSince), LeaderChanges: s.LeaderChanges, Purge: somePosition(s.Purge),
		Version: s.Version.Number, Zones: s.Version.Zones, VersionHeld: s.VersionHeld, Members: []memberJSON{}}
	for i := range s.Members {
		m := &s.Members[i]
		j := memberJSON{ID: m.ID, State: "learner", Address: m.Address, RaftAddress: m.RaftAddress, SnapshotBytes: m.SnapshotBytes, SnapshotTotal: m.SnapshotTotal,
			LowestVersion: m.LowestVersion, NewestVersion: m.NewestVersion, Purged: somePosition(m.Purged), Problem: m.Problem}
		switch {
		case m.Voter:
			j.State = "voter"
		case m.ReadOnly:
			j.State = "read-only"
		}
		if m.ID == s.Leader {
			j.State = "leader"
		}
		if m.LastContact >= 0 {
			seconds := m.LastContact.Round(time.Millisecond).Seconds()
			j.Contact, j.Lag = &seconds, &m.Lag
		}
		j.Position = somePosition(m.Position)
		out.Members = append(out.Members, j)
	}
	for _, r := range s.Removed {
		out.Removed = append(out.Removed, removedJSON{r.ID, someTime(r.At), r.Silent.Seconds()})
	}
	return out
}

func newClusterStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Who the members of a cluster are, who leads, and how far each is",
		Long: `Who the members of a cluster are, who leads, and how far each is. The leader is asked, if it can be reached; else a
member that knows who leads, or any, and it is said who: how far others are, and when they were heard of, only the
leader knows. contact is how many seconds ago the leader has heard of a member, lag how many entries of the log it
is behind, both empty (null) where that is not known. A learner has no vote yet: it is being sent what it lacks. A
member that is read-only never has one. purge is up to where all are to have removed from their files what they hold
of people who were erased (kanta erase purge), purged up to where each has. The version is by what rules all members
decide what is written (kanta cluster upgrade), versions are those that the build of a member knows.

--json: {"cluster","node","leader","term","leader_since","leader_changes","purge","version","zones","version_held",
"members":[{"id","state","address","raft_address","contact_seconds","position","lag","snapshot_bytes",
"snapshot_total","purged","lowest_version","newest_version","problem"}],"removed":[{"id","at","silent_seconds"}]};
removed are those that the leader removed because they were not heard of (kanta serve --remove-dead), until they join
again or are removed by name.`,
		Example: `  kanta cluster status --db kanta://127.0.0.1:7700`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withServer("kanta cluster status", func(s *client.Client) error {
				status, err := s.ClusterStatus(c.Context())
				if err != nil {
					return err
				}
				return a.printCluster(&status)
			})
		},
	}
}

func (a *app) printCluster(s *query.ClusterStatus) error {
	out := clusterOf(s)
	if a.json {
		return a.printJSON(out)
	}
	t := a.newTable("member", "state", "address", "for members", "#contact", "#lag", "position", "versions", "")
	for i := range out.Members {
		m := &out.Members[i]
		contact, lag := "", ""
		if m.Contact != nil {
			contact, lag = fmt.Sprintf("%.1f", *m.Contact), fmt.Sprint(*m.Lag)
		}
		note := m.Problem
		if m.SnapshotTotal > 0 {
			note = cmp.Or(note, fmt.Sprintf("snapshot: %s of %s", shortBytes(int64(m.SnapshotBytes)), shortBytes(int64(m.SnapshotTotal))))
		}
		if knows := out.Node == out.Leader || m.ID == out.Node; knows && m.Purged != out.Purge {
			note = cmp.Or(note, "it has not purged yet what was erased up to "+out.Purge)
		}
		t.add(m.ID, m.State, m.Address, m.RaftAddress, contact, lag, m.Position, m.versions(), note)
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	if s.Node != s.Leader {
		fmt.Fprintf(a.err, "this is what %s knows, which does not lead: how far others are only the leader knows\n", s.Node)
	}
	for _, r := range s.Removed {
		fmt.Fprintf(a.err, "%s was removed at %s, because it had not been heard of for %v\n", r.ID, someTime(r.At), r.Silent)
	}
	if !a.outTerminal {
		return nil
	}
	leader := "nobody leads, as far as " + s.Node + " knows"
	if s.Leader != "" {
		leader = s.Leader + " leads"
	}
	version := ""
	if out.Version > 0 {
		version = ", version " + s.Version.String()
	}
	if s.VersionHeld {
		version += ", which is held"
	}
	_, err := fmt.Fprintf(a.out, "\ncluster %s: %s (term %d)%s\n", s.Cluster, leader, s.Term, version)
	return err
}

// versions are the cluster versions that a member knows, such as 1-2.
func (m *memberJSON) versions() string {
	switch {
	case m.NewestVersion == 0:
		return ""
	case m.LowestVersion == m.NewestVersion:
		return fmt.Sprint(m.NewestVersion)
	}
	return fmt.Sprintf("%d-%d", m.LowestVersion, m.NewestVersion)
}

// memberNames are the members of the cluster that --db is a member of.
func (a *app) memberNames(ctx context.Context, s store) (names []string) {
	c, ok := s.(*client.Client)
	if !ok {
		return nil
	}
	status, err := c.ClusterStatus(ctx)
	if err != nil {
		return nil
	}
	for i := range status.Members {
		names = append(names, status.Members[i].ID)
	}
	return names
}

func newClusterRemove(a *app) *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.completeFirst(a.memberNames),
		Use:               "remove ID",
		Short:             "End the membership of a member",
		Long: `End the membership of a member, which may be dead; the one that leads hands over first (kanta cluster
transfer). Its directory is not touched, and is of no use any more: delete it. --json: {"removed"}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer("kanta cluster remove", func(s *client.Client) error {
				if err := s.ClusterRemove(c.Context(), args[0]); err != nil || !a.json {
					return err
				}
				return a.printJSON(map[string]string{"removed": args[0]})
			})
		},
	}
}

func newClusterTransfer(a *app) *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.completeFirst(a.memberNames),
		Use:               "transfer [ID]",
		Short:             "Have another member lead",
		Long: `Have another member lead: ID, or whichever has most of the log. Whoever writes meanwhile goes on at that one by
itself. A member that is stopped hands over by itself. --json: {"to"}`,
		Args: rangeArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.withServer("kanta cluster transfer", func(s *client.Client) error {
				if err := s.ClusterTransfer(c.Context(), id); err != nil || !a.json {
					return err
				}
				return a.printJSON(map[string]string{"to": id})
			})
		},
	}
}
