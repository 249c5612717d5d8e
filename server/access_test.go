package server

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/client"
)

// TestFirstKey: whoever is on the machine may do everything until there is a key.
func TestFirstKey(t *testing.T) {
	db, s, _ := callersStore(t)
	address := "kanta://" + listen(t, s).Addr().String()
	c := dial(t, address, nil)
	me, err := c.Whoami(t.Context())
	if err != nil || me.Role.Name != "admin" || me.Name != "" || me.Key != "" {
		t.Errorf("%+v, %v", me, err)
	}
	if _, err := client.Open(t.Context(), address, &client.Options{Key: "kanta_no"}); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("a key where there are none: %v", err)
	}
	k, text, err := c.CreateKey(t.Context(), "the boss", "admin", time.Time{})
	if err != nil || k.Name != "the boss" || k.Role != "admin" || k.By != "" || !k.Expires.IsZero() {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("without the key that there is now: %v", err)
	}
	boss := dial(t, address, &client.Options{Key: text})
	if me, err = boss.Whoami(t.Context()); err != nil || me.Name != "the boss" || me.Key != k.ID {
		t.Errorf("%+v, %v", me, err)
	}
	second, _, err := boss.CreateKey(t.Context(), "n", "italy", s.limits.clock().Add(time.Hour))
	if err != nil || second.By != "the boss (key "+k.ID+")" || second.Expires.IsZero() {
		t.Errorf("%+v, %v", second, err)
	}
	if keys, err := boss.Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Error(keys, err)
	}
	if own, err := boss.RevokeKey(t.Context(), k.ID); err != nil || own.Revoked.IsZero() {
		t.Errorf("who revokes his own key is told %+v, %v", own, err)
	}
	if _, err := boss.Keys(t.Context()); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("and then %v", err)
	}
	if n, err := inProcess(t, s).Count(t.Context(), "true", nil); err != nil || n.Count != 40 {
		t.Errorf("the embedding program counts %d, %v", n.Count, err)
	}
	if stats, err := db.Stats(t.Context()); err != nil || stats.Profiles != 40 {
		t.Error(stats, err)
	}
}

// TestRevokedMeanwhile revokes a key while its caller reads a listing, and while he writes.
func TestRevokedMeanwhile(t *testing.T) {
	db, s, _ := callersStore(t)
	address := "kanta://" + listen(t, s).Addr().String()
	long := strings.Repeat("x", 2000)
	const people = 8000 // more than what is on its way
	for from := 0; from < people; from += 1000 {
		b := batch.New()
		for i := range 1000 {
			b.Upsert(fmt.Sprint("q", from+i)).Set("phone", schema.StringValue(fmt.Sprint(from+i, long)))
		}
		if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(text string) {
		if _, err := s.register.RevokeKey(t.Context(), text[len("kanta_"):][:16]); err != nil {
			t.Fatal(err)
		}
	}
	reader := key(t, s, "reader")
	m, err := dial(t, address, &client.Options{Key: reader}).Members(t.Context(), "true", &query.MembersOptions{Attributes: []string{"phone"}})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, err = range m.Rows {
		if err != nil {
			break
		}
		if rows++; rows == 1 {
			revoke(reader)
		}
	}
	if !isCode(err, query.CodeUnauthenticated) || rows == 0 || rows == people {
		t.Errorf("after %d rows: %v", rows, err)
	}

	writer := key(t, s, "writer")
	c := dial(t, address, &client.Options{Key: writer})
	wait, err := c.Submit(t.Context(), increment(t, "a", 1))
	if err == nil {
		_, err = wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	revoke(writer)
	if wait, err = c.Submit(t.Context(), increment(t, "a", 2)); err == nil {
		_, err = wait()
	}
	if !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("a batch of who is not known any more: %v", err)
	}
	if n, err := db.Count(t.Context(), "n == 1 && !has(p.country)", nil); err != nil || n.Count != 1 {
		t.Errorf("%d, %v: the second batch is there", n.Count, err)
	}
}

// TestWhatItalySees asks over the wire as a role that sees a part.
func TestWhatItalySees(t *testing.T) {
	_, s, _ := callersStore(t)
	address := "kanta://" + listen(t, s).Addr().String()
	boss, c := dial(t, address, &client.Options{Key: key(t, s, "admin")}), dial(t, address, &client.Options{Key: key(t, s, "italy")})
	if n, err := c.Count(t.Context(), "true", nil); err != nil || n.Count != 20 {
		t.Errorf("%+v, %v", n, err)
	}
	p, err := c.Profile(t.Context(), "p02", nil)
	if text := fmt.Sprint(p.Values); err != nil || !strings.Contains(text, query.Mask) || strings.Contains(text, "example.com") || strings.Contains(text, "+39") {
		t.Errorf("%s, %v", text, err)
	}
	m, err := c.Members(t.Context(), "true", &query.MembersOptions{Attributes: []string{"phone", "n"}})
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range m.Rows {
		if err != nil || row.Values[0].String() != query.Mask {
			t.Fatalf("%+v, %v", row, err)
		}
	}
	sch, err := c.Schema(t.Context())
	if err != nil || slices.Contains(sch.Names(), "email") || slices.Contains(sch.Names(), "phone") {
		t.Errorf("%v, %v", sch.Names(), err)
	}
	// A cursor that another caller gives away says nothing more than he could.
	all, err := boss.Members(t.Context(), "true", &query.MembersOptions{OrderBy: "email", Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range all.Rows {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, hidden := c.Members(t.Context(), "true", &query.MembersOptions{OrderBy: "email", After: all.Next()})
	_, absent := c.Members(t.Context(), "true", &query.MembersOptions{OrderBy: "nothing", After: all.Next()})
	if !isCode(hidden, query.CodeUnknownName) || withoutNames(hidden) != withoutNames(absent) {
		t.Errorf("%v, but of nothing %v", hidden, absent)
	}
	me, err := c.Whoami(t.Context())
	if err != nil || me.Role.Name != "italy" || strings.Contains(me.Role.Text, "phone") || strings.Contains(me.Role.Text, "country") {
		t.Errorf("%+v, %v", me, err)
	}
	n, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if held, err := n.Count(t.Context(), "true", nil); err != nil || held.Count != 20 {
		t.Error(held, err)
	}
	if _, err := boss.SaveRole(t.Context(), "italy", italyRole+"[[rule]]\nattribute = \"n\"\naccess = \"hidden\"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Count(t.Context(), "n > 3", nil); !isCode(err, query.CodeSnapshotGone) {
		t.Errorf("a snapshot of before the role changed: %v", err)
	}
	if _, err := c.Count(t.Context(), "n > 3", nil); !isCode(err, query.CodeUnknownName) {
		t.Errorf("what is hidden now: %v", err)
	}
}

// TestAnalyst has groups of ten people at least, and so many questions a minute.
func TestAnalyst(t *testing.T) {
	_, s, clock := callersStore(t)
	address := "kanta://" + listen(t, s).Addr().String()
	c := dial(t, address, &client.Options{Key: key(t, s, "analyst")})
	if _, err := c.Count(t.Context(), "n < 9", nil); !isCode(err, query.CodeDenied) {
		t.Errorf("nine people: %v", err)
	}
	if n, err := c.Count(t.Context(), "n < 10", nil); err != nil || n.Count != 10 {
		t.Errorf("ten people: %+v, %v", n, err)
	}
	for range 58 {
		if _, err := c.Count(t.Context(), "true", nil); err != nil {
			t.Fatal(err)
		}
	}
	var e *query.Error
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeLimit) || !errors.As(err, &e) || e.RetryAfter != time.Second {
		t.Errorf("question 61: %v", err)
	}
	if _, err := c.Schema(t.Context()); err != nil {
		t.Errorf("what is no question: %v", err)
	}
	if _, err := dial(t, address, &client.Options{Key: key(t, s, "analyst")}).Count(t.Context(), "true", nil); err != nil {
		t.Errorf("another caller's question: %v", err)
	}
	clock.pass(time.Second)
	if _, err := c.Count(t.Context(), "true", nil); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// TestRoleUnfit renames what a role names: who has it is let in no more, and is not told why.
func TestRoleUnfit(t *testing.T) {
	db, s, _ := callersStore(t)
	var failed []string
	s.opt.Hooks.Failed = func(call string, err error) { failed = append(failed, call+": "+err.Error()) }
	c := dial(t, "kanta://"+listen(t, s).Addr().String(), &client.Options{Key: key(t, s, "italy")})
	b := batch.New()
	b.Change(schema.Change{Op: schema.Rename, Name: "phone", To: "telephone"})
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Count(t.Context(), "true", nil); !isCode(err, query.CodeDenied) || strings.Contains(err.Error(), "phone") {
		t.Error(err)
	}
	if len(failed) != 1 || !strings.Contains(failed[0], "phone") {
		t.Errorf("the operator is told %q", failed)
	}
}

// TestDefining saves and drops as a role from which something is hidden.
func TestDefining(t *testing.T) {
	db, s, _ := callersStore(t)
	if _, err := s.register.SaveRole(t.Context(), "maker", "rights = [\"numbers\", \"define\"]\npii = \"hidden\"\n[[rule]]\nsegment = \"secret\"\naccess = \"hidden\"\n[[rule]]\nlist = \"friends\"\naccess = \"hidden\"\n"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, "kanta://"+listen(t, s).Addr().String(), &client.Options{Key: key(t, s, "maker")})
	for name, test := range map[string]struct {
		do   func(b *batch.Builder)
		code query.Code
	}{
		"a segment":                      {func(b *batch.Builder) { b.SaveSegment("mine", "n > 3 && in_segment(\"plain\")") }, 0},
		"a segment and one that uses it": {func(b *batch.Builder) { b.SaveSegment("x", "n > 3"); b.SaveSegment("y", "n > 4") }, 0},
		"of what is hidden":              {func(b *batch.Builder) { b.SaveSegment("mine2", `email == "a"`) }, query.CodeUnknownName},
		"of a hidden segment":            {func(b *batch.Builder) { b.SaveSegment("mine2", `in_segment("secret")`) }, query.CodeUnknownName},
		"that reads what is hidden":      {func(b *batch.Builder) { b.SaveSegment("mine2", `in_segment("mail")`) }, query.CodeUnknownName},
		"in place of a hidden one":       {func(b *batch.Builder) { b.SaveSegment("secret", "n > 3") }, query.CodeConflict},
		"in place of an unreadable one":  {func(b *batch.Builder) { b.SaveSegment("mail", "n > 3") }, query.CodeConflict},
		"in place of one that is shared": {func(b *batch.Builder) { b.SaveSegment("lent", "n > 3") }, query.CodeConflict},
		"of one that is shared":          {func(b *batch.Builder) { b.SaveSegment("mine3", `in_segment("lent")`) }, 0},
		"drop of one that is shared":     {func(b *batch.Builder) { b.DropSegment("lent") }, query.CodeDenied},
		"to share one's own":             {func(b *batch.Builder) { b.SaveSegment("mine4", "n > 3"); b.ShareSegment("mine4") }, 0},
		"to share what was saved before": {func(b *batch.Builder) { b.ShareSegment("plain") }, query.CodeDenied},
		"to share a hidden one":          {func(b *batch.Builder) { b.ShareSegment("mail") }, query.CodeUnknownName},
		"drop of what hidden uses":       {func(b *batch.Builder) { b.DropSegment("plain") }, query.CodeConflict},
		"drop of a hidden one":           {func(b *batch.Builder) { b.DropSegment("secret") }, query.CodeUnknownName},
		"drop of none":                   {func(b *batch.Builder) { b.DropSegment("nothing") }, query.CodeUnknownName},
		"a list":                         {func(b *batch.Builder) { b.ListPut("ours", "p00") }, 0},
		"into a hidden list":             {func(b *batch.Builder) { b.ListAdd("friends", "p05") }, query.CodeConflict},
		"out of a hidden list":           {func(b *batch.Builder) { b.ListRemove("friends", "p00") }, query.CodeUnknownName},
		"a note of a visible list":       {func(b *batch.Builder) { b.ListNote("others", "hm") }, 0},
		"an analysis": {func(b *batch.Builder) {
			b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "d", Arguments: query.Arguments{"event": {"buy"}}})
		}, 0},
		"an analysis of what is hidden": {func(b *batch.Builder) {
			b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "e", Who: `email == "a"`, Arguments: query.Arguments{"event": {"buy"}}})
		}, query.CodeUnknownName},
		"people":               {func(b *batch.Builder) { b.Upsert("new") }, query.CodeDenied},
		"nothing, of a source": {func(b *batch.Builder) { b.Source("s", 1, 1) }, query.CodeDenied},
	} {
		b := batch.New()
		test.do(b)
		encoded := encode(t, b)
		before, err := db.Digests(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Apply(t.Context(), encoded)
		if test.code == 0 && err != nil || test.code != 0 && !isCode(err, test.code) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := db.Digests(t.Context()); err != nil || test.code != 0 && after != before {
			t.Errorf("%s: something has changed, %v", name, err)
		}
	}
	segments, err := c.Segments(t.Context())
	if err != nil || slices.ContainsFunc(segments, func(s query.SavedSegment) bool { return s.Name == "secret" || s.Name == "mail" }) || len(segments) != 7 {
		t.Errorf("%+v, %v", segments, err)
	}
	lists, err := c.Lists(t.Context())
	if err != nil || slices.ContainsFunc(lists, func(l query.SavedList) bool { return l.Name == "friends" }) || len(lists) != 2 {
		t.Errorf("%+v, %v", lists, err)
	}
}

// TestOwners: a segment is of who saved it last, whatever door he came through, and is shared by
// him, or by who may say who may do what. Without keys nobody is known.
func TestOwners(t *testing.T) {
	db, s, _ := callersStore(t)
	address := "kanta://" + listen(t, s).Addr().String()
	open := dial(t, address, nil)
	if _, err := open.Apply(t.Context(), segmentOp(t, "free", true, false)); err != nil { // as long as there is no key
		t.Fatal(err)
	}
	if _, err := s.register.SaveRole(t.Context(), "maker", `rights = ["numbers", "define"]`); err != nil {
		t.Fatal(err)
	}
	as := map[string]*client.Client{}
	for _, who := range []string{"anna", "bert", "root"} {
		role := map[string]string{"root": "admin"}[who]
		_, text, err := s.register.CreateKey(t.Context(), who, cmp.Or(role, "maker"), time.Time{}, "")
		if err != nil {
			t.Fatal(err)
		}
		as[who] = dial(t, address, &client.Options{Key: text})
	}
	process := inProcess(t, s)
	for i, c := range []struct {
		by          *client.Client
		segment     string
		save, share bool
		ingest      bool
		code        query.Code
	}{
		{by: as["anna"], segment: "hers", save: true},
		{by: as["bert"], segment: "hers", share: true, code: query.CodeDenied},
		{by: as["bert"], segment: "free", share: true, code: query.CodeDenied},
		{by: as["bert"], segment: "hers", share: true, ingest: true, code: query.CodeDenied},
		{by: as["anna"], segment: "hers", share: true, ingest: true},
		{by: as["bert"], segment: "his", save: true, share: true, ingest: true},
		{by: as["root"], segment: "free", share: true},
		{by: as["bert"], segment: "other", save: true},
		{by: process, segment: "other", share: true},
		{by: process, segment: "own", save: true},
	} {
		b := segmentOp(t, c.segment, c.save, c.share)
		_, err := c.by.DryRun(t.Context(), b)
		if c.code == 0 && err != nil || c.code != 0 && !isCode(err, c.code) {
			t.Errorf("%d, dry: %v", i, err)
		}
		if !c.ingest {
			_, err = c.by.Apply(t.Context(), b)
		} else if wait, failed := c.by.Submit(t.Context(), b); failed != nil {
			err = failed
		} else {
			_, err = wait()
		}
		if c.code == 0 && err != nil || c.code != 0 && !isCode(err, c.code) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for name, of := range map[string]query.Asker{"the store": db, "a client": as["anna"]} {
		all, err := of.Segments(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, x := range all {
			who, _, _ := strings.Cut(x.Owner.String(), " (key ")
			got[x.Name] = fmt.Sprint(who, " ", x.Owner.Role, " ", x.Shared)
		}
		for segment, want := range map[string]string{"hers": "anna maker true", "his": "bert maker true", "other": "bert maker true",
			"free": "nobody who is known  true", "own": "nobody who is known  false", "plain": "nobody who is known  false"} {
			if got[segment] != want {
				t.Errorf("%s: %s is of %s, not of %s", name, segment, got[segment], want)
			}
		}
	}
}

// segmentOp is a batch that saves or shares a segment, or both.
func segmentOp(t *testing.T, name string, save, share bool) batch.Batch {
	t.Helper()
	b := batch.New()
	if save {
		b.SaveSegment(name, "n > 3")
	}
	if share {
		b.ShareSegment(name)
	}
	return encode(t, b)
}

// TestMayServe: beyond loopback callers are told apart, or nobody is served.
func TestMayServe(t *testing.T) {
	_, s, _ := callersStore(t)
	here, beyond := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4zero, Port: 1}
	mutual := &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	check := func(name string, at net.Addr, config *tls.Config, code query.Code) {
		t.Helper()
		s.tls = config
		if err := s.MayServe(at); code == 0 && err != nil || code != 0 && !isCode(err, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("loopback in plain text", here, nil, 0)
	check("beyond in plain text", beyond, nil, query.CodeInvalid)
	check("beyond without anything", beyond, &tls.Config{}, query.CodeInvalid)
	check("beyond without verifying", beyond, &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: mutual.ClientCAs}, query.CodeInvalid)
	check("beyond with certificates", beyond, mutual, 0)
	key(t, s, "admin")
	check("beyond with a key", beyond, &tls.Config{}, 0)
	check("beyond with a key in plain text", beyond, nil, query.CodeInvalid)
}

// TestOwnLeases opens as many snapshots as one caller may have, one more, and one of another.
func TestOwnLeases(t *testing.T) {
	_, s, _ := callersStore(t)
	s.limits.ownLeases = 3
	address := "kanta://" + listen(t, s).Addr().String()
	c := dial(t, address, &client.Options{Key: key(t, s, "reader")})
	for range 3 {
		n, err := c.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
	}
	if _, err := c.Snapshot(t.Context()); !isCode(err, query.CodeLimit) {
		t.Errorf("the fourth of three: %v", err)
	}
	n, err := dial(t, address, &client.Options{Key: key(t, s, "reader")}).Snapshot(t.Context())
	if err != nil {
		t.Fatalf("another's: %v", err)
	}
	defer n.Close()
}

// TestWithheld wants what is not told to be said over the wire as the engine says it.
func TestWithheld(t *testing.T) {
	db, s, _ := callersStore(t)
	b := batch.New()
	b.Upsert("without")
	if _, err := db.Apply(t.Context(), encode(t, b)); err != nil {
		t.Fatal(err)
	}
	c := dial(t, "kanta://"+listen(t, s).Addr().String(), &client.Options{Key: key(t, s, "analyst")})
	roles, err := access.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.SnapshotWith(t.Context(), &query.SnapshotOptions{Policy: roles["analyst"].Policy})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	o := &query.Options{Now: time.Unix(1_800_000_000, 0)}
	want, err := n.Count(t.Context(), "n < 30", o)
	got, gotErr := c.Count(t.Context(), "n < 30", o)
	if want.Elapsed = got.Elapsed; err != nil || gotErr != nil || !reflect.DeepEqual(want, got) || !got.Withheld {
		t.Errorf("%+v, %v; over the wire %+v, %v", want, err, got, gotErr)
	}
	by, err := n.Breakdown(t.Context(), "true", "country", &query.BreakdownOptions{Options: *o})
	gotBy, gotErr := c.Breakdown(t.Context(), "true", "country", &query.BreakdownOptions{Options: *o})
	if by.Elapsed = gotBy.Elapsed; err != nil || gotErr != nil || !reflect.DeepEqual(by, gotBy) || gotBy.Withheld != 2 {
		t.Errorf("%+v, %v; over the wire %+v, %v", by, err, gotBy, gotErr)
	}
	lists, err := n.Lists(t.Context())
	gotLists, gotErr := c.Lists(t.Context())
	if err != nil || gotErr != nil || !reflect.DeepEqual(lists, gotLists) || !gotLists[0].Withheld {
		t.Errorf("%+v, %v; over the wire %+v, %v", lists, err, gotLists, gotErr)
	}
}
