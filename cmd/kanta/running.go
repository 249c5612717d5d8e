package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// runningJSON is a call under way.
type runningJSON struct {
	ID      string  `json:"id"`
	Call    string  `json:"call"`
	Caller  string  `json:"caller"`
	Role    string  `json:"role"`
	Address string  `json:"address"`
	Began   string  `json:"began"`
	Seconds float64 `json:"seconds"`
	Waiting bool    `json:"waiting"`
	What    string  `json:"what"`
}

func newRunning(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "running",
		Short: "The calls that a server is at",
		Long: `The calls that a server is at, the oldest first: whose, since when, and about what. One
that is said to wait has not begun, because the server has as much to do as it can. Whoever may not
see everybody sees the expressions of others without their values.

--json: {"calls":[{"id","call","caller","role","address","began","seconds","waiting","what"}]}`,
		Example: `  kanta running --db kanta://127.0.0.1:7700
  kanta running cancel 17 --db kanta://127.0.0.1:7700`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withServer("kanta running", func(s *client.Client) error { return a.printRunning(c.Context(), s) })
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "cancel ID",
		Short: "End a call that a server is at",
		Long: `End a call that a server is at. It ends soon and not at once; whoever made it is told. What a
batch has begun is done nevertheless. --json: {"found":true}`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withServer("kanta running cancel", func(s *client.Client) error {
				found, err := s.CancelRunning(c.Context(), args[0])
				switch {
				case err != nil:
					return err
				case !found:
					return &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no call %s any more", args[0]), Hint: "kanta running lists those that there are"}
				case a.json:
					return a.printJSON(map[string]bool{"found": true})
				}
				return nil
			})
		},
	})
	return c
}

// withServer runs do with a server; a directory has no calls.
func (a *app) withServer(what string, do func(*client.Client) error) error {
	return a.withStore(func(s store) error {
		c, ok := s.(*client.Client)
		if !ok {
			return usagef("%s is about a server: name it with --db %sHOST:PORT", what, serverScheme)
		}
		return do(c)
	})
}

func (a *app) printRunning(ctx context.Context, s *client.Client) error {
	calls, err := s.Running(ctx)
	if err != nil {
		return err
	}
	if a.json {
		list := []runningJSON{}
		for _, r := range calls {
			list = append(list, runningJSON{r.ID, r.Call, r.Caller, r.Role, r.Address, rfc3339(r.Began), r.Elapsed.Round(time.Millisecond).Seconds(), r.Waiting, r.What})
		}
		return a.printJSON(map[string]any{"calls": list})
	}
	t := a.newTable("#id", "call", "caller", "role", "address", "#seconds", "state", "what")
	for _, r := range calls {
		state := "running"
		if r.Waiting {
			state = "waiting"
		}
		t.add(r.ID, r.Call, r.Caller, r.Role, r.Address, fmt.Sprintf("%.3f", r.Elapsed.Seconds()), state, r.What)
	}
	return t.write(a.out)
}
