package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/client"
)

// keeper keeps keys and roles: a server, or who has the directory of the store.
type keeper interface {
	Whoami(ctx context.Context) (client.Identity, error)
	Keys(ctx context.Context) ([]access.Key, error)
	CreateKey(ctx context.Context, name, role string, expires time.Time) (access.Key, string, error)
	RevokeKey(ctx context.Context, id string) (access.Key, error)
	Roles(ctx context.Context) ([]*access.Role, error)
	SaveRole(ctx context.Context, name, text string) (query.Position, error)
	DropRole(ctx context.Context, name string) (query.Position, error)
}

// owner keeps those of a store whose directory he has.
type owner struct{ *access.Register }

// Whoami implements keeper.
func (o owner) Whoami(context.Context) (client.Identity, error) {
	return client.Identity{Role: o.Owner().Role}, nil
}

// CreateKey implements keeper.
func (o owner) CreateKey(ctx context.Context, name, role string, expires time.Time) (access.Key, string, error) {
	return o.Register.CreateKey(ctx, name, role, expires, "")
}

// keeperOf returns who keeps the keys and roles of what --db names.
func (a *app) keeperOf(s store) (keeper, error) {
	switch s := s.(type) {
	case *client.Client:
		return s, nil
	case *engine.DB:
		r, err := access.NewRegister(s, a.clock)
		return owner{r}, err
	}
	return nil, query.Errorf(query.CodeInternal, "a store of type %T keeps no keys", s)
}

// withKeeper runs do with who keeps the keys and roles; create makes a store where there is none.
func (a *app) withKeeper(create bool, do func(keeper) error) error {
	return a.with(create, func(s store) error {
		k, err := a.keeperOf(s)
		if err != nil {
			return err
		}
		return do(k)
	})
}

// roleNames are those of the roles.
func (a *app) roleNames(ctx context.Context, s store) (names []string) {
	k, err := a.keeperOf(s)
	if err != nil {
		return nil
	}
	all, err := k.Roles(ctx)
	if err != nil {
		return nil
	}
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names
}

// keyNames are the ids of keys that have not ended.
func (a *app) keyNames(ctx context.Context, s store) (ids []string) {
	k, err := a.keeperOf(s)
	if err != nil {
		return nil
	}
	all, err := k.Keys(ctx)
	if err != nil {
		return nil
	}
	for i := range all {
		if !all[i].Ended(a.now()) {
			ids = append(ids, all[i].ID)
		}
	}
	return ids
}

// now is the clock's time.
func (a *app) now() time.Time {
	if a.clock != nil {
		return a.clock()
	}
	return time.Now()
}

func newWhoami(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Who you are to the store, and what you may do",
		Long: `Who you are to the store of --db: the name of your key or certificate, your role, and its
rights. Whoever has the directory of a store may do everything, and so may whoever is on
the machine of a server whose store has no key.

--json: {"name","key","role","rights":["..."],"whole":BOOL,"min_group":N,"queries_per_minute":N}
whole: nothing is hidden from the role. What is hidden from another is not told.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKeeper(false, func(k keeper) error {
				me, err := k.Whoami(c.Context())
				if err != nil {
					return err
				}
				return a.printIdentity(&me)
			})
		},
	}
}

// identityJSON is who somebody is.
type identityJSON struct {
	Name             string   `json:"name"`
	Key              string   `json:"key"`
	Role             string   `json:"role"`
	Rights           []string `json:"rights"`
	Whole            bool     `json:"whole"`
	MinGroup         int      `json:"min_group"`
	QueriesPerMinute int      `json:"queries_per_minute"`
}

func (a *app) printIdentity(me *client.Identity) error {
	out := identityJSON{me.Name, me.Key, me.Role.Name, append([]string{}, me.Role.Rights.Words()...), me.Role.Rights&access.Whole != 0, 0, me.Role.QueriesPerMinute}
	if me.Role.Policy != nil {
		out.MinGroup = me.Role.Policy.MinGroup
	}
	if a.json {
		return a.printJSON(out)
	}
	t := a.newTable("", "")
	if out.Name != "" {
		t.add("name", out.Name)
	}
	if out.Key != "" {
		t.add("key", out.Key)
	}
	t.add("role", out.Role)
	for _, right := range out.Rights {
		t.add("right", right)
	}
	if out.MinGroup > 1 {
		t.add("smallest group", out.MinGroup)
	}
	if out.QueriesPerMinute > 0 {
		t.add("questions a minute", out.QueriesPerMinute)
	}
	return t.write(a.out)
}

func newRole(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "role",
		Short: "Roles: what callers of a server may do and see",
		Long: `Roles: what callers of a server may do and see. A key has one, and so has a certificate. Some
are built in; "kanta role show analyst" prints a text to begin with:

  rights = ["numbers", "lists"]       # numbers lists person write define schema erase operate access cluster
  rows = 'country == "IT"'            # who exists for the role
  pii = "hidden"                      # what is personal: visible, masked or hidden
  min_group = 10                      # the smallest group that a number is told of
  queries_per_minute = 60

  [classes]                           # by data class
  correspondence = "hidden"

  [[rule]]                            # by name: attribute, event, property of an event, segment, list
  attribute = "phone"
  access = "masked"

The rights write, schema, erase, operate, access and cluster are for roles from which nothing is hidden.
Who has access can give himself all others.`,
	})
	c.AddCommand(newRoleList(a), newRoleShow(a), newRoleSave(a), newRoleDrop(a))
	return c
}

// roleJSON is a role.
type roleJSON struct {
	Name    string   `json:"name"`
	BuiltIn bool     `json:"built_in"`
	Rights  []string `json:"rights"`
	Whole   bool     `json:"whole"`
	TOML    string   `json:"toml,omitempty"`
}

func roleOf(r *access.Role, text bool) roleJSON {
	out := roleJSON{Name: r.Name, BuiltIn: r.BuiltIn, Rights: append([]string{}, r.Rights.Words()...), Whole: r.Rights&access.Whole != 0}
	if text {
		out.TOML = r.Text
	}
	return out
}

func newRoleList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "All roles",
		Long: `All roles, those that are built in too.

--json: {"roles":[{"name","built_in","rights":["..."],"whole":BOOL}]}`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKeeper(false, func(k keeper) error {
				all, err := k.Roles(c.Context())
				if err != nil {
					return err
				}
				if a.json {
					list := []roleJSON{}
					for _, r := range all {
						list = append(list, roleOf(r, false))
					}
					return a.printJSON(map[string]any{"roles": list})
				}
				t := a.newTable("role", "is", "sees", "rights")
				for _, r := range all {
					is, sees := "saved", "a part"
					if r.BuiltIn {
						is = "built in"
					}
					if r.Rights&access.Whole != 0 {
						sees = "everything"
					}
					if r.Rights == 0 {
						sees = "nothing: it cannot be read"
					}
					t.add(r.Name, is, sees, strings.Join(r.Rights.Words(), " "))
				}
				return t.write(a.out)
			})
		},
	}
}

func newRoleShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "The text of a role, as kanta role save takes it",
		Long: `The text of a role, as kanta role save takes it.

--json: {"name","built_in","rights":["..."],"whole":BOOL,"toml"}`,
		Example: "  kanta role show analyst > ours.toml",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKeeper(false, func(k keeper) error {
				all, err := k.Roles(c.Context())
				if err != nil {
					return err
				}
				var names []string
				for _, r := range all {
					if r.Name == args[0] && a.json {
						return a.printJSON(roleOf(r, true))
					} else if r.Name == args[0] {
						return a.printText(r.Text)
					}
					names = append(names, r.Name)
				}
				return &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no role %q", args[0]), Hint: "there are " + shorten(names)}
			})
		},
		ValidArgsFunction: a.completeFirst(a.roleNames),
	}
}

// printText writes a text of several lines; what could move the cursor is written as escapes.
func (a *app) printText(text string) error {
	for line := range strings.Lines(text) {
		if _, err := fmt.Fprintln(a.out, printable(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}

func newRoleSave(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "save NAME FILE",
		Short: "Save a role, or change it for all who have it",
		Long: `Save a role of a file, - for standard input. If there is one of that name it is changed for all
who have it, at once: their calls under way end. What it names must be there.

--json: {"role","position"}`,
		Example: "  kanta role save italy italy.toml",
		Args:    exactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.readRole(args[1])
			if err != nil {
				return err
			}
			return a.withKeeper(true, func(k keeper) error {
				position, err := k.SaveRole(c.Context(), args[0], text)
				if err != nil {
					return err
				}
				return a.printRoleChange(args[0], position)
			})
		},
	}
}

func (a *app) printRoleChange(role string, at query.Position) error {
	if a.json {
		return a.printJSON(map[string]string{"role": role, "position": at.String()})
	}
	t := a.newTable("", "")
	t.add("role", role)
	t.add("position", at.String())
	return t.write(a.out)
}

// readRole reads the text of a role.
func (a *app) readRole(name string) (string, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", &usageError{err}
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, access.MaxRoleText+1))
	return string(text), err
}

func newRoleDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drop NAME",
		Short: "Drop a role that no valid key has",
		Long: `Drop a role that no valid key has. Who has a certificate with it is not known any more.

--json: {"role","position"}`,
		Example: "  kanta role drop italy",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withKeeper(false, func(k keeper) error {
				position, err := k.DropRole(c.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printRoleChange(args[0], position)
			})
		},
		ValidArgsFunction: a.completeFirst(a.roleNames),
	}
}
