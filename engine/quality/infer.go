package quality

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/kantadb/kanta/index/schema"
)

// InferRows is how many rows inference reads unless told otherwise.
const InferRows = 100_000

// Thresholds of inference.
const (
	nearUniqueRows = 1000 // below as many values nothing is called near-unique
	setShare       = 10   // a set when one cell in so many has a separator
	maxPlaces      = 4    // decimals of more places are measurements, not money
	maxDistinct    = 1 << 16
	maxExamples    = 3
	almostShare    = 20 // a kind "but for" at most one cell in so many is worth a word: real columns have a few percent of N/A
)

// InferReport says what inference saw.
type InferReport struct {
	Rows    int // rows read, good and bad
	Bad     int // rows that could not be read
	BadRow  *RowError
	Columns []InferColumn // all but the key, in order
}

// InferColumn says what was seen of one column and why it became what it became.
type InferColumn struct {
	Attribute schema.Attribute
	Seen      int          // cells with a text
	Absent    int          // empty cells
	Distinct  int          // different texts; at most 65,536 are counted
	More      bool         // there are more of them
	Examples  []string     // the first different texts, at most 3, cut to 64 bytes
	Min, Max  schema.Value // of ordered kinds but bool
	Why       string       // for people
}

// Infer reads up to limit rows (0: [InferRows]) and proposes an attribute for each column but
// the key's, ready to be added to a schema. Bounds, allowed values and formats are never
// inferred, for a later row would be refused for what a sample did not have. The rules,
// in this order:
//
//   - a kind that the file says itself: that one, but for texts, of which the rules about
//     texts hold, and but for what is personal by its name;
//   - nothing seen: a dictionary string;
//   - a personal name (e-mail, phone, given name, street, ...): an inline string, pii;
//   - a name of codes (zip, postcode): a string, also where it looks like a number;
//   - bool: true, false, yes, no; also 1 and 0 if the name starts with is_, has_ or opt
//     or ends in _opt_in or _flag;
//   - int; decimal, if all cells have the same 1 to 4 places; float; date; timestamp.
//     A number with a leading zero makes the column a string;
//   - set, if it came from JSON arrays or one cell in ten has a "|";
//   - a string: inline if more than half of over 1,000 values differ, else dictionary.
//
// It fails when there is no column of that key, and as rows.Next does.
func Infer(rows Rows, key string, limit int) ([]schema.Attribute, *InferReport, error) {
	report := &InferReport{}
	var columns []*column
	err := report.read(rows, limit, func(cells [][]byte, line int) error {
		for i, cell := range cells {
			if i == len(columns) {
				columns = append(columns, newColumn(rows.Columns()[i], report.Rows-1-report.Bad))
			}
			columns[i].add(cell, line)
		}
		return nil
	})
	names := rows.Columns()
	if err == nil {
		err = hasColumn(names, key, "for the key")
	}
	if err != nil {
		return nil, nil, err
	}
	for i := len(columns); i < len(names); i++ {
		columns = append(columns, newColumn(names[i], report.Rows-report.Bad))
	}
	var attributes []schema.Attribute
	for i, c := range columns {
		if names[i] == key {
			continue
		}
		found := c.conclude(declared(rows, i))
		attributes = append(attributes, found.Attribute)
		report.Columns = append(report.Columns, found)
	}
	return attributes, report, nil
}

// read reads up to limit rows and gives the good ones to use.
func (r *InferReport) read(rows Rows, limit int, use func(cells [][]byte, line int) error) error {
	if limit <= 0 {
		limit = InferRows
	}
	for r.Rows < limit {
		cells, line, err := rows.Next()
		if err == io.EOF {
			return nil
		}
		var bad *RowError
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		r.Rows++
		if bad != nil {
			if r.Bad++; r.Bad == 1 {
				r.BadRow = bad
			}
			continue
		}
		if err := use(cells, line); err != nil {
			return err
		}
	}
	return nil
}

func hasColumn(columns []string, name, what string) error {
	switch {
	case slices.Contains(columns, name):
		return nil
	case len(columns) == 0:
		return errors.New("it is empty: there is not even a header")
	}
	return fmt.Errorf("there is no column %q %s: the columns are %s", name, what, strings.Join(columns, ", "))
}

// declared returns what is known of a column, beside its texts: a kind, or Absent.
func declared(rows Rows, column int) (a schema.Attribute) {
	if known, ok := rows.(knownRows); ok {
		a.Kind, a.Scale = known.declared(column)
	}
	return a
}

// words splits a column's name at everything that is no letter or digit, and at a
// capital after a small letter, into lower case words.
func words(name string) []string {
	var out []string
	start, before := true, ' '
	for _, r := range name {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if letter && (start || unicode.IsUpper(r) && unicode.IsLower(before)) {
			out = append(out, "")
		}
		start, before = !letter, r
		if letter {
			out[len(out)-1] += string(unicode.ToLower(r))
		}
	}
	return out
}

// personal reports whether a column's name says that its texts identify a person.
func personal(name string) bool {
	list := words(name)
	if len(list) == 0 || aboutPersonal(list) {
		return false
	}
	switch strings.Join(list, "") {
	case "name", "customername", "username", "nickname", "fname", "lname", "mail", "ip", "socsecid", "mobile":
		return true
	}
	for i, word := range list {
		pair := ""
		if i+1 < len(list) {
			pair = word + list[i+1]
		}
		for _, w := range [...]string{word, pair} {
			switch w {
			case "email", "phone", "telephone", "phonenumber", "mobilenumber", "mobileno", "msisdn", "fax", "surname", "forename",
				"firstname", "lastname", "fullname", "givenname", "familyname", "middlename", "maidenname", "ssn", "iban",
				"passport", "street", "address":
				return true
			}
		}
	}
	return false
}

// aboutPersonal reports whether a name speaks of a fact about a personal thing, such as
// email_opt_in, has_email, emails_count or address.city, not of the thing.
func aboutPersonal(list []string) bool {
	return list[0] == "is" || list[0] == "has" || slices.ContainsFunc(list, func(w string) bool {
		switch w {
		case "opt", "optin", "optout", "flag", "count", "consent", "verified", "domain", "type", "sent", "opened", "clicked", "status",
			"city", "region", "state", "province", "country":
			return true
		}
		return false
	})
}

// codes reports whether a column's name says that its numbers are codes.
func codes(name string) bool {
	return slices.ContainsFunc(words(name), func(w string) bool {
		return w == "zip" || w == "postcode" || w == "postal" || w == "zipcode" || w == "postalcode"
	})
}

// flag reports whether a column's name says that its 1 and 0 are true and false.
func flag(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "is_") || strings.HasPrefix(name, "has_") || strings.HasPrefix(name, "opt") ||
		strings.HasSuffix(name, "_opt_in") || strings.HasSuffix(name, "_flag")
}
