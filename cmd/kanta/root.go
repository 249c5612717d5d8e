package main

import (
	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query/analysis"
)

const rootHelp = `Kanta is the database of a company's customers: it keeps what is known of each and
answers "who are the people such that ..." exactly, in milliseconds.

  kanta load profiles customers.csv --key id
  kanta count 'country in ["IT", "FI"] && plan != "free"'
  kanta breakdown 'age < 30' --by city
  kanta members 'has(p.email)' --columns email,city --limit 10

On a terminal commands print aligned tables; elsewhere one tab separated line per
record, without a header; with --json, JSON. Errors go to standard error.

`

// newRoot builds the whole command.
func newRoot(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:           "kanta",
		Short:         "The database of a company's customers",
		Long:          rootHelp + exitTable,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.started = true
			a.setDir()
			return nil
		},
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "db", "", "directory of the store, or kanta://HOST:PORT of a server, with commas of a cluster (default "+defaultDir+", or the environment variable KANTA_DB)")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.StringVar(&a.memory, "memory", "", "memory budget of the store, such as 512MB (default a quarter of the machine's)")
	a.caller.add(root)
	flags.BoolVar(&a.readOnly, "read-only", false, "open the store without changing anything in its directory")
	root.AddCommand(commands(a)...)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			group(c)
		}
	}
	return root
}

func commands(a *app) []*cobra.Command {
	all := []*cobra.Command{
		newSchema(a), newLoad(a),
		newCount(a), newMembers(a), newPlan(a), newExplain(a), newProfile(a), newWhy(a), newTimeline(a), newValues(a),
		newSegment(a), newList(a), newDefinition(a), newQuarantine(a), newErase(a),
		newStats(a), newCheck(a), newBackup(a), newRestore(a), newExport(a), newImport(a),
		newServe(a), newCluster(a), newRunning(a), newCert(a), newKey(a), newRole(a), newWhoami(a), newAudit(a), newDemo(a), newBench(a), newLicenses(a), newVersion(a),
	}
	for _, an := range analysis.All {
		all = append(all, newAnalysis(a, an))
	}
	return all
}

// setDir fills in the directory of who names none.
func (a *app) setDir() {
	if a.dir == "" {
		a.dir = a.env("KANTA_DB")
	}
	if a.dir == "" {
		a.dir = defaultDir
	}
}
