package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/server/cluster"
)

// recoveredJSON is a cluster that was begun anew.
type recoveredJSON struct {
	seatJSON
	Position string `json:"position"`
	Received string `json:"received,omitempty"`
	Entries  uint64 `json:"entries"`
}

func newClusterRecover(a *app) *cobra.Command {
	var o cluster.RecoverOptions
	c := &cobra.Command{
		Use:   "recover DIR --into NEWDIR",
		Short: "Begin a cluster anew with what one member has, when most are lost for good",
		Long: `Begin a cluster anew with what one member has, when most of its members are lost for good and nothing can
be written any more. DIR is the directory of a member that does not run, and stays as it is; NEWDIR becomes that of the
new cluster's first member, which others join with new directories.

What may be lost: whatever was acknowledged and had not reached this member. Take the one that has most
(kanta stats --db DIR/store --read-only says where a store is). What may be there although nobody was told so:
entries of its log of which it is not known whether most members had them; it says how many. A new epoch begins, so
positions, cursors and bitmaps of the old cluster are refused. Never run a member of the old cluster again.

--json: {"directory","cluster","id","address","raft_address","store","position","received","entries"}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := notAServer(args[0]); err != nil {
				return err
			}
			if o.Into == "" {
				return usagef("--into is missing: the directory of the new cluster's first member")
			}
			var err error
			if o.Engine, err = a.options(args[0], true); err != nil {
				return err
			}
			r, err := cluster.Recover(c.Context(), args[0], &o)
			if err != nil {
				return err
			}
			id := r.Identity
			if a.json {
				return a.printJSON(recoveredJSON{seatJSON{o.Into, id.Cluster, id.ID, id.Address, id.RaftAddress, id.Store}, r.Position.String(), someTime(r.Received), r.Entries})
			}
			if err := a.printSeat(o.Into, id); err != nil {
				return err
			}
			t := a.newTable("", "")
			t.add("position", r.Position.String())
			t.add("last received", someTime(r.Received))
			t.add("entries of the log that may never have been acknowledged", fmt.Sprint(r.Entries))
			if err := t.write(a.out); err != nil {
				return err
			}
			fmt.Fprintln(a.err, "what others had acknowledged and had not reached this member is lost; never run a member of the old cluster again")
			return nil
		},
	}
	c.Flags().StringVar(&o.Into, "into", "", "the directory of the new cluster's first member, which must not be there or be empty")
	c.Flags().StringVar(&o.Address, "address", "", "HOST:PORT where clients reach it; by default as before")
	c.Flags().StringVar(&o.RaftAddress, "raft-address", "", "HOST:PORT where other members reach it; by default as before")
	c.Flags().BoolVar(&o.WithoutLog, "without-log", false, "take the store as it is, because the log cannot be opened: what it had not applied is lost")
	return c
}
