package backup

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

const ledgerRoot = "00112233445566778899aabbccddeeff"

// TestLedgerFormat compares with the example in the package comment.
func TestLedgerFormat(t *testing.T) {
	e := LedgerEntry{}
	if _, err := hex.Decode(e.Name[:], []byte("ce766c104824a4b44505fefde7597c9d")); err != nil {
		t.Fatal(err)
	}
	e.Entry, _ = hex.DecodeString("01015c9f3cc580909282e733010900542d31378e3e25c5")
	text := string(appendLedger(nil, ledgerRoot, []LedgerEntry{e}))
	doc, err := os.ReadFile("doc.go")
	if err != nil || !strings.Contains(string(doc), "//\t"+strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n//\t")+"\n") {
		t.Errorf("the package comment has another ledger than\n%s%v", text, err)
	}
	for _, bad := range []string{"", text[:len(text)-1], text + "x", text + "\n", strings.ToUpper(text), strings.Replace(text, " 01", "  01", 1), strings.Replace(text, "root 00", "root 01", 1), strings.Replace(text, "ce76", "ce7", 1)} {
		if _, err := parseLedger([]byte(bad), ledgerRoot); err == nil {
			t.Errorf("%q is a ledger", bad)
		}
	}
}

// FuzzLedger: what is read is what is written.
func FuzzLedger(f *testing.F) {
	f.Add(string(appendLedger(nil, ledgerRoot, []LedgerEntry{{Entry: []byte{1, 2}}, {Name: [16]byte{1}}})))
	f.Add(string(appendLedger(nil, ledgerRoot, nil)))
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseLedger([]byte(text), ledgerRoot)
		if err == nil && string(appendLedger(nil, ledgerRoot, entries)) != text {
			t.Errorf("%q is read as %+v", text, entries)
		}
	})
}
