package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
)

func newKey(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "key",
		Short: "Keys of the callers of a server",
		Long: `Keys of the callers of a server. A program or a person shows one with each call: kanta and Go
programs take it from KANTA_KEY or client.Options, curl sends it as

  Authorization: Bearer kanta_...

As long as a store has no key, whoever is on the machine of the server may do everything. With
the first one each caller needs one, so begin with an admin:

  kanta key create --role admin --db DIR        # while no server has the directory open, or
  kanta key create --role admin --db kanta://127.0.0.1:7700

Whoever has the directory can always make another one.`,
	})
	c.AddCommand(newKeyCreate(a), newKeyList(a), newKeyRevoke(a))
	return c
}

// keyJSON is a key.
type keyJSON struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	State   string `json:"state"`
	Created string `json:"created"`
	Expires string `json:"expires,omitempty"`
	Revoked string `json:"revoked,omitempty"`
	By      string `json:"by,omitempty"`
	Key     string `json:"key,omitempty"`
}

// keyOf describes a key.
func (a *app) keyOf(k *access.Key) keyJSON {
	out := keyJSON{ID: k.ID, Name: k.Name, Role: k.Role, State: "valid", Created: someTime(k.Created), Expires: someTime(k.Expires), Revoked: someTime(k.Revoked), By: k.By}
	switch {
	case !k.Revoked.IsZero():
		out.State = "revoked"
	case k.Ended(a.now()):
		out.State = "expired"
	case k.Role == "":
		out.State = "unreadable"
	}
	return out
}

// someTime writes a time, "" if it is none.
func someTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func newKeyCreate(a *app) *cobra.Command {
	var name, role, expires filled
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a key, which is shown once",
		Long: `Make a key. It is shown once, here: the store keeps only its hash.

--json: {"id","name","role","state","created","expires","by","key"}`,
		Example: `  kanta key create --role admin --db ./kanta-data
  kanta key create --role writer --name "nightly load" --expires 90d`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			end, err := a.parseExpires(string(expires))
			if err != nil {
				return err
			}
			if role == "" {
				return usagef("--role is missing: kanta role list shows which there are")
			}
			return a.withKeeper(true, func(k keeper) error {
				key, text, err := k.CreateKey(c.Context(), cmp.Or(string(name), string(role)), string(role), end)
				if err != nil {
					return err
				}
				out := a.keyOf(&key)
				out.Key = text
				if a.json {
					return a.printJSON(out)
				}
				t := a.newTable("", "")
				t.add("key", text)
				t.add("id", out.ID)
				t.add("name", out.Name)
				t.add("role", out.Role)
				t.add("expires", cmp.Or(out.Expires, "never"))
				if err := t.write(a.out); err != nil {
					return err
				}
				fmt.Fprintln(a.err, "the key is shown only now")
				return nil
			})
		},
	}
	c.Flags().Var(&name, "name", "who or what has the key (default the role's name)")
	c.Flags().Var(&role, "role", "what its callers may do: admin, writer, marketer, analyst, support, reader, or one that was saved")
	c.Flags().Var(&expires, "expires", "when it ends: in 12h, 90d, or on a date or at a time in RFC 3339 (default never)")
	a.completeFlag(c, "role", a.roleNames)
	return c
}

// parseExpires reads when a key ends.
func (a *app) parseExpires(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if span, err := query.ParseSpan(text); err == nil {
		return a.now().Add(span), nil
	}
	return parseInstant("--expires", text)
}

func newKeyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "All keys, without their secrets",
		Long: `All keys, without their secrets; for a year also those that have ended.

--json: {"keys":[{"id","name","role","state","created","expires","revoked","by"}]}
state: "valid", "expired", "revoked" or, if a newer version wrote it, "unreadable".`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKeeper(false, func(k keeper) error {
				all, err := k.Keys(c.Context())
				if err != nil {
					return err
				}
				list := []keyJSON{}
				t := a.newTable("id", "name", "role", "state", "created", "expires")
				for i := range all {
					key := a.keyOf(&all[i])
					list = append(list, key)
					t.add(key.ID, key.Name, key.Role, key.State, key.Created, cmp.Or(key.Expires, "never"))
				}
				if a.json {
					return a.printJSON(map[string]any{"keys": list})
				}
				return t.write(a.out)
			})
		},
	}
}

func newKeyRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "End a key, at once",
		Long: `End a key, at once and for ever: calls under way with it end too. A name stands for the one valid
key that has it.

--json: {"id","name","role","state","created","expires","revoked","by"}`,
		Example: `  kanta key revoke "nightly load"`,
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKeeper(false, func(k keeper) error {
				id, err := a.findKey(c.Context(), k, args[0])
				if err != nil {
					return err
				}
				key, err := k.RevokeKey(c.Context(), id)
				if err != nil {
					return err
				}
				out := a.keyOf(&key)
				if a.json {
					return a.printJSON(out)
				}
				t := a.newTable("", "")
				t.add("id", out.ID)
				t.add("name", out.Name)
				t.add("revoked", out.Revoked)
				return t.write(a.out)
			})
		},
		ValidArgsFunction: a.completeFirst(a.keyNames),
	}
}

// findKey returns the id of a key that is named by its id, or by its name.
func (a *app) findKey(ctx context.Context, k keeper, text string) (string, error) {
	all, err := k.Keys(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for i := range all {
		if all[i].ID == text {
			return text, nil
		}
		if all[i].Name == text && !all[i].Ended(a.now()) {
			found = append(found, all[i].ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no valid key %q", text), Hint: "kanta key list shows them"}
	}
	return "", &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%d keys have the name %q", len(found), text), Hint: "name one by its id: " + shorten(found)}
}
