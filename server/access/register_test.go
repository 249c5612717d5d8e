package access_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
)

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// office is a store with its register, and a clock that is set by hand.
type office struct {
	*access.Register
	t   *testing.T
	db  *engine.DB
	now time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	db, err := engine.Open("", &engine.Options{PurgeAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o := &office{t: t, db: db, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if o.Register, err = access.NewRegister(db, func() time.Time { return o.now }); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) apply(do func(b *batch.Builder)) {
	o.t.Helper()
	b := batch.New()
	do(b)
	encoded, err := b.Encode()
	if err == nil {
		_, err = o.db.Apply(o.t.Context(), encoded)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// key makes a key that lasts a while, 0 is for ever.
func (o *office) key(role string, lasts time.Duration) (access.Key, string) {
	o.t.Helper()
	expires := time.Time{}
	if lasts > 0 {
		expires = o.now.Add(lasts)
	}
	k, text, err := o.CreateKey(o.t.Context(), "of "+role, role, expires, "the test")
	if err != nil {
		o.t.Fatal(err)
	}
	return k, text
}

const address = "192.0.2.1:5000"

// TestRegister makes keys and ends them in all ways; whoever shows one that is not valid hears
// one and the same.
func TestRegister(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	if open, err := o.Open(ctx); err != nil || !open {
		t.Error(open, err)
	}
	here, err := o.Anybody(ctx, true)
	if err != nil || here.Role.Name != "admin" || here.ID != "" {
		t.Errorf("%+v, %v", here, err)
	}
	if _, err := o.Anybody(ctx, false); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("from elsewhere: %v", err)
	}
	first, text := o.key("writer", 0)
	_, expiring := o.key("reader", time.Hour)
	if _, err := o.Anybody(ctx, true); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("with a key in the store: %v", err)
	}
	if err := o.Still(ctx, here); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("who was here before: %v", err)
	}
	c, err := o.ByKey(ctx, address, text)
	if err != nil || c.Key != first.ID || c.Name != "of writer" || c.Role.Rights != access.Known|access.Write|access.Whole {
		t.Fatalf("%+v, %v", c, err)
	}
	reader, err := o.ByKey(ctx, address, expiring)
	if err != nil || o.Still(ctx, reader) != nil || reader.Same(c) || !c.Same(c) {
		t.Fatal(reader, err)
	}
	o.now = o.now.Add(time.Hour)
	want := o.Still(ctx, reader)
	if _, err := o.RevokeKey(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	again, err := o.RevokeKey(ctx, first.ID)
	if err != nil || !again.Revoked.Equal(o.now) {
		t.Errorf("revoked twice: %+v, %v", again, err)
	}
	for name, key := range map[string]string{"expired": expiring, "revoked": text, "unknown": strings.Replace(text, first.ID, "AAAAAAAAAAAAAAAA", 1), "other secret": text[:60] + "AAAAAAAAAAAAAAA", "none": ""} {
		if _, err := o.ByKey(ctx, address, key); !isCode(err, query.CodeUnauthenticated) || err.Error() != want.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := o.Still(ctx, c); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("who has called with a key that is revoked: %v", err)
	}
	if _, err := o.RevokeKey(ctx, "nothing"); !isCode(err, query.CodeUnknownName) {
		t.Error(err)
	}
	keys, err := o.Keys(ctx)
	if err != nil || len(keys) != 2 || !keys[0].Ended(o.now) || !keys[1].Ended(o.now) {
		t.Errorf("%+v, %v", keys, err)
	}
	for i, given := range []struct{ name, role string }{{"", "reader"}, {strings.Repeat("n", access.MaxKeyName+1), "reader"}, {"a\nb", "reader"}, {"\xff", "reader"}} {
		if _, _, err := o.CreateKey(ctx, given.name, given.role, time.Time{}, ""); !isCode(err, query.CodeInvalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, _, err := o.CreateKey(ctx, strings.Repeat("n", access.MaxKeyName), "readr", time.Time{}, ""); !isCode(err, query.CodeUnknownName) || !strings.Contains(err.Error(), `"reader"`) {
		t.Error(err)
	}
	if _, _, err := o.CreateKey(ctx, "n", "reader", o.now, ""); !isCode(err, query.CodeInvalid) {
		t.Error(err)
	}
}

// TestSecretsAreNotStored looks for secrets in all that stands in the store.
func TestSecretsAreNotStored(t *testing.T) {
	o := newOffice(t)
	_, text := o.key("admin", 0)
	all, err := o.db.Documents(t.Context(), "")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if secret := text[strings.LastIndexByte(text, '_')+1:]; strings.Contains(string(all[0].Value), secret) || len(secret) != 52 {
		t.Errorf("%q is in %s", secret, all[0].Value)
	}
}

// TestKeysThatCannotBeRead let nobody in, and are keys all the same.
func TestKeysThatCannotBeRead(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.apply(func(b *batch.Builder) {
		b.PutDocument("key/MFRGGZDFMZTWQ2LK", []byte(`{"format":2}`))
		b.PutDocument("role/newer", []byte(`future = true`))
		b.PutDocument("role/admin", []byte(`rights = []`))
	})
	if _, err := o.Anybody(ctx, true); !isCode(err, query.CodeUnauthenticated) {
		t.Error(err)
	}
	if _, err := o.ByKey(ctx, address, "kanta_MFRGGZDFMZTWQ2LK_GAYTEMZUGU3DOOBZMFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3A"); !isCode(err, query.CodeUnauthenticated) {
		t.Error(err)
	}
	if keys, err := o.Keys(ctx); err != nil || len(keys) != 1 {
		t.Errorf("%+v, %v", keys, err)
	}
	if _, err := o.RevokeKey(ctx, "MFRGGZDFMZTWQ2LK"); !isCode(err, query.CodeNewerFormat) {
		t.Error(err)
	}
	if _, _, err := o.CreateKey(ctx, "n", "newer", time.Time{}, ""); !isCode(err, query.CodeInvalid) {
		t.Errorf("a role that cannot be read: %v", err)
	}
	if r, err := o.Role(ctx, "admin"); err != nil || !r.BuiltIn || r.Rights&access.Access == 0 {
		t.Errorf("the role that is built in: %+v, %v", r, err)
	}
	roles, err := o.Roles(ctx)
	if err != nil || len(roles) != 7 {
		t.Fatal(roles, err)
	}
	if _, err := o.DropRole(ctx, "newer"); err != nil {
		t.Errorf("it cannot be dropped: %v", err)
	}
}

func TestRoles(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	o.apply(func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "country", Kind: schema.String}})
	})
	const italy = "rights = [\"numbers\"]\nrows = 'country == \"IT\"'"
	if _, err := o.SaveRole(ctx, "italy", italy); err != nil {
		t.Fatal(err)
	}
	for text, code := range map[string]query.Code{
		"rows = 'cuntry == \"IT\"'": query.CodeUnknownName, "rows = 'country =='": query.CodeSyntax, "rows = 'country'": query.CodeType,
		"[[rule]]\nattribute = \"phone\"\naccess = \"hidden\"": query.CodeUnknownName, "rihgts = []": query.CodeInvalid,
	} {
		if _, err := o.SaveRole(ctx, "italy", text); !isCode(err, code) || !strings.Contains(err.Error(), `the role "italy"`) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := o.SaveRole(ctx, "admin", ""); !isCode(err, query.CodeConflict) {
		t.Error(err)
	}
	k, text := o.key("italy", 0)
	c, err := o.ByKey(ctx, address, text)
	if err != nil || c.Role.Policy.Rows != `country == "IT"` {
		t.Fatal(c, err)
	}
	if _, err := o.DropRole(ctx, "italy"); !isCode(err, query.CodeConflict) || !strings.Contains(err.Error(), k.ID) {
		t.Error(err)
	}
	if _, err := o.SaveRole(ctx, "italy", italy); err != nil || o.Still(ctx, c) != nil {
		t.Errorf("saved again as it was: %v, %v", err, o.Still(ctx, c))
	}
	if _, err := o.SaveRole(ctx, "italy", italy+"\nmin_group = 5"); err != nil {
		t.Fatal(err)
	}
	if err := o.Still(ctx, c); !isCode(err, query.CodeDenied) {
		t.Errorf("a role that has changed: %v", err)
	}
	if now, err := o.ByKey(ctx, address, text); err != nil || now.Role.Policy.MinGroup != 5 || now.Same(c) {
		t.Error(now, err)
	}
	if _, err := o.RevokeKey(ctx, k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.DropRole(ctx, "italy"); err != nil {
		t.Error(err)
	}
	for name, code := range map[string]query.Code{"italy": query.CodeUnknownName, "admin": query.CodeConflict} {
		if _, err := o.DropRole(ctx, name); !isCode(err, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	o := newOffice(t)
	certificate := func(uris ...string) *x509.Certificate {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "office"}, NotAfter: o.now.Add(time.Hour)}
		for _, text := range uris {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		return c
	}
	c, err := o.ByCertificate(t.Context(), certificate("https://example.com", "kanta:role/reader"))
	if err != nil || c.Name != "office" || c.Role.Name != "reader" || c.Key != "" || o.Still(t.Context(), c) != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	o.now = o.now.Add(time.Hour)
	if err := o.Still(t.Context(), c); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("a certificate that has expired: %v", err)
	}
	for _, uris := range [][]string{nil, {"kanta:node/a"}, {"kanta:role/nothing"}, {"kanta:role/"}, {"kanta:role/reader", "kanta:role/admin"}, {"kanta:role/reader", "kanta:role/nothing"}, {"kanta://role/admin"}, {"other:role/admin"}} {
		if c, err := o.ByCertificate(t.Context(), certificate(uris...)); !isCode(err, query.CodeUnauthenticated) && !isCode(err, query.CodeDenied) {
			t.Errorf("%v: %+v, %v", uris, c, err)
		}
	}
}

// TestWrongKeys shows as many as may be and one more; then not even a valid one is looked at.
func TestWrongKeys(t *testing.T) {
	o := newOffice(t)
	_, valid := o.key("reader", 0)
	for i := range 100 {
		if _, err := o.ByKey(t.Context(), address, fmt.Sprint("kanta_", i)); !isCode(err, query.CodeUnauthenticated) {
			t.Fatal(err)
		}
	}
	var e *query.Error
	if _, err := o.ByKey(t.Context(), "192.0.2.1:6000", valid); !isCode(err, query.CodeLimit) || !errors.As(err, &e) || e.RetryAfter != time.Minute {
		t.Error(err)
	}
	if _, err := o.ByKey(t.Context(), "192.0.2.2:6000", valid); err != nil {
		t.Errorf("from another address: %v", err)
	}
	o.now = o.now.Add(time.Minute)
	if _, err := o.ByKey(t.Context(), address, valid); err != nil {
		t.Error(err)
	}
}

// TestForgottenKeys: what ended long ago goes when another key is made; one key is always left.
func TestForgottenKeys(t *testing.T) {
	o := newOffice(t)
	revoked, _ := o.key("reader", 0)
	o.key("reader", time.Hour)
	kept, _ := o.key("reader", 0)
	if _, err := o.RevokeKey(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	o.now = o.now.Add(401 * 24 * time.Hour)
	made, _ := o.key("reader", 0)
	keys, err := o.Keys(t.Context())
	if err != nil || len(keys) != 2 || keys[0].ID != kept.ID || keys[1].ID != made.ID {
		t.Errorf("%+v, %v", keys, err)
	}
}

// TestTwoRegisters change one store at a time, as two servers would.
func TestTwoRegisters(t *testing.T) {
	o := newOffice(t)
	other, err := access.NewRegister(o.db, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, text := o.key("reader", 0)
	c, err := other.ByKey(t.Context(), address, text)
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for _, r := range []*access.Register{o.Register, other} {
		both.Go(func() {
			for range 20 {
				if _, err := r.RevokeKey(context.Background(), k.ID); err != nil {
					t.Error(err)
				}
				if _, _, err := r.CreateKey(context.Background(), "n", "reader", time.Time{}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	if err := other.Still(t.Context(), c); !isCode(err, query.CodeUnauthenticated) {
		t.Errorf("revoked at another server: %v", err)
	}
	if keys, err := other.Keys(t.Context()); err != nil || len(keys) != 41 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}
