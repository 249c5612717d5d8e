package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/server/client"
)

// upgradeJSON is the cluster version in force.
type upgradeJSON struct {
	Version uint64 `json:"version"`
	Zones   string `json:"zones"`
	Held    bool   `json:"held"`
}

func newClusterUpgrade(a *app) *cobra.Command {
	var hold bool
	c := &cobra.Command{
		Use:   "upgrade [--hold]",
		Short: "Raise the cluster version, or hold it",
		Long: `The cluster version is by what rules the members decide what is written, and by which time zones. All go by
the same, whatever build each runs. Members are upgraded one after another: stop one, start it with the new build,
and wait until kanta cluster status shows it without lag. When the last of them knows a newer version, the cluster
goes by that within seconds, by itself. From then on builds that do not know it are refused; until then each member
can go back.

With --hold the version stays as it is, so that members can go back for longer, until kanta cluster upgrade is run
without it. That one also says which members keep the version from rising. --json: {"version","zones","held"}`,
		Example: `  kanta cluster upgrade --hold --db kanta://127.0.0.1:7700     # before the first member is upgraded
  kanta cluster upgrade --db kanta://127.0.0.1:7700            # when the new build has proven itself`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withServer("kanta cluster upgrade", func(s *client.Client) error {
				v, err := s.ClusterUpgrade(c.Context(), hold)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(upgradeJSON{v.Number, v.Zones, hold})
				}
				held := ""
				if hold {
					held = ", and stays so"
				}
				_, err = fmt.Fprintf(a.out, "the cluster goes by version %s%s\n", v, held)
				return err
			})
		},
	}
	c.Flags().BoolVar(&hold, "hold", false, "keep the version as it is")
	return c
}
