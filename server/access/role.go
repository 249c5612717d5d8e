package access

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// rightWords are the words for rights in roles, in the order of their bits. Known has none:
// it is everybody's. Neither has Whole, which follows from the rest of the role.
var rightWords = [...]string{"", "numbers", "lists", "person", "write", "define", "schema", "erase", "operate", "access", "cluster"}

// unrestricted are the rights of who sees everything only. A write tells what there is by what
// becomes of it; what is told of the store as a whole is told of everybody.
const unrestricted = Write | Schema | Erase | Operate | Access | Cluster

// Words returns the words for the rights of a set.
func (r Right) Words() (words []string) {
	for i, word := range rightWords {
		if word != "" && r&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return words
}

// MaxRoleName bounds the name of a role in bytes: it stands in certificates.
const MaxRoleName = 64

// MaxRoleText bounds the text of a role in bytes: it is a document of the store.
const MaxRoleText = batch.MaxDocument

// defaultQueries is how many questions a minute a role with a smallest group has that does not
// say it: more than a person asks, fewer than it takes to find many out by subtracting.
const defaultQueries = 60

// maxQueries bounds queries_per_minute: beyond, no machine asks so many.
const maxQueries = 1_000_000

// Role is what callers may do. It never changes.
type Role struct {
	Name    string
	Text    string // in TOML; the package comment says how
	BuiltIn bool

	Rights           Right         // with Known, and with Whole if Policy is nil
	Policy           *query.Policy // nil: everything is visible
	QueriesPerMinute int           // of each caller; 0: any number
}

// May reports what a role lacks for something, as [query.CodeDenied].
func (r *Role) May(needs Right) error {
	missing := needs &^ r.Rights
	if missing == 0 {
		return nil
	}
	if words := missing.Words(); len(words) > 0 {
		return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("the role %q does not have the right %s", r.Name, strings.Join(words, ", ")),
			Hint: "ask with a key of another role"}
	}
	return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("this is for roles that see everything, and %q does not", r.Name),
		Hint: "ask with a key of another role"}
}

// Told is the text of a role for whoever has it: what is hidden from him is named in the whole.
func (r *Role) Told() string {
	if r.BuiltIn || r.Rights&Whole != 0 {
		return r.Text
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rights = [%s]\n", quotedWords(r.Rights.Words()))
	if r.Policy.MinGroup > 1 {
		fmt.Fprintf(&b, "min_group = %d\n", r.Policy.MinGroup)
	}
	if r.QueriesPerMinute > 0 {
		fmt.Fprintf(&b, "queries_per_minute = %d\n", r.QueriesPerMinute)
	}
	return b.String()
}

func quotedWords(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return `"` + strings.Join(words, `", "`) + `"`
}

//go:embed roles
var roleFiles embed.FS

// BuiltIn returns the roles that are always there, by name. They cannot be changed.
func BuiltIn() (map[string]*Role, error) {
	files, err := roleFiles.ReadDir("roles")
	if err != nil {
		return nil, fmt.Errorf("the built-in roles: %w", err)
	}
	out := make(map[string]*Role, len(files))
	for _, f := range files {
		text, err := roleFiles.ReadFile("roles/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("the built-in roles: %w", err)
		}
		r, err := ParseRole(strings.TrimSuffix(f.Name(), ".toml"), string(text))
		if err != nil {
			return nil, err
		}
		r.BuiltIn = true
		out[r.Name] = r
	}
	return out, nil
}

// checkRoleName reports a name that no role may have.
func checkRoleName(name string) error {
	ok := name != "" && len(name) <= MaxRoleName
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0)
	}
	if !ok {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%.100q cannot be the name of a role", name),
			Hint: fmt.Sprintf("1 to %d letters, digits, dots, dashes and underscores: it stands in certificates", MaxRoleName)}
	}
	return nil
}

// ParseRole reads the text of a role. Whether its names and its rows are those of a store is
// for the store to say. It fails with [query.CodeInvalid], the line first.
func ParseRole(name, text string) (*Role, error) {
	if err := checkRoleName(name); err != nil {
		return nil, err
	}
	if len(text) > MaxRoleText {
		return nil, query.Errorf(query.CodeLimit, "the role %q has %d bytes, at most %d", name, len(text), MaxRoleText)
	}
	f := roleFile{role: Role{Name: name, Text: text, Rights: Known}, lines: strings.Split(text, "\n")}
	var doc map[string]any
	if _, err := toml.Decode(text, &doc); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return nil, f.wrong(parse.Position.Line, "", "%s", parse.Message)
		}
		return nil, f.wrong(0, "", "%v", err)
	}
	if err := f.read(doc); err != nil {
		return nil, err
	}
	return &f.role, nil
}

// roleFile is the text of a role that is read.
type roleFile struct {
	role  Role
	lines []string

	table string // that is read, as its header names it; "" is none
	n     int    // which of them, from 1
}

// at returns the line of a key of the table that is read, from 1; that of the table if the key
// is not there, 0 if neither is. A text within a text may deceive it: it is a hint for people.
func (f *roleFile) at(key string) (line int) {
	table, n, best := "", 0, 0
	for i, text := range f.lines {
		text = strings.TrimSpace(text)
		if header, ok := strings.CutPrefix(text, "["); ok {
			table = strings.Trim(strings.SplitN(header, "]", 2)[0], "[] ")
			if table == f.table {
				n++
			}
		}
		if table != f.table || n != f.n {
			continue
		}
		if best == 0 {
			best = i + 1
		}
		before, _, ok := strings.Cut(text, "=")
		if ok && strings.Trim(strings.TrimSpace(before), `"'`) == key {
			return i + 1
		}
	}
	if f.table == "" {
		return 0 // the top has no header
	}
	return best
}

func (f *roleFile) wrong(line int, hint, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if line > 0 {
		text = fmt.Sprintf("line %d: %s", line, text)
	}
	return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("the role %q: %s", f.role.Name, text), Hint: hint}
}

// wrongAt is wrong about a key of the table that is read.
func (f *roleFile) wrongAt(key, hint, format string, args ...any) error {
	return f.wrong(f.at(key), hint, format, args...)
}

// The keys of a role and of its rules.
var (
	roleKeys = [...]string{"rights", "rows", "pii", "classes", "rule", "min_group", "queries_per_minute"}
	ruleKeys = [...]string{"attribute", "event", "property", "segment", "list", "access"}
)

// known reports a key that a table may not have.
func (f *roleFile) known(table map[string]any, keys []string) error {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(keys, key) {
			return f.wrongAt(key, cmpHint(query.DidYouMean(key, keys), "there are "+strings.Join(keys, ", ")), "unknown key %q", key)
		}
	}
	return nil
}

// cmpHint is the first that is not empty.
func cmpHint(near, all string) string {
	if near != "" {
		return near
	}
	return all
}

func (f *roleFile) read(doc map[string]any) error {
	if err := f.known(doc, roleKeys[:]); err != nil {
		return err
	}
	p := &query.Policy{}
	var err error
	if p.Rows, err = f.text(doc, "rows"); err != nil {
		return err
	}
	if p.PII, err = f.access(doc, "pii"); err != nil {
		return err
	}
	if p.MinGroup, err = f.number(doc, "min_group", math.MaxInt32); err != nil {
		return err
	}
	if f.role.QueriesPerMinute, err = f.number(doc, "queries_per_minute", maxQueries); err != nil {
		return err
	}
	if p.Classes, err = f.classes(doc["classes"]); err != nil {
		return err
	}
	if p.Rules, err = f.rules(doc["rule"]); err != nil {
		return err
	}
	if err := p.Validate(); err != nil {
		return f.wrong(0, "", "%v", err)
	}
	if p.MinGroup > 1 && f.role.QueriesPerMinute == 0 {
		f.role.QueriesPerMinute = defaultQueries
	}
	if restricts(p) {
		f.role.Policy = p
	} else {
		f.role.Rights |= Whole
	}
	return f.rights(doc["rights"])
}

// restricts reports whether somebody under a policy may not see everything.
func restricts(p *query.Policy) bool {
	for _, access := range p.Classes {
		if access != query.Visible {
			return true
		}
	}
	return p.Rows != "" || p.PII != query.Visible || p.MinGroup > 1 || len(p.Rules) > 0
}

func (f *roleFile) rights(given any) error {
	list, ok := given.([]any)
	if given != nil && !ok {
		return f.wrongAt("rights", "", "rights is a list of words")
	}
	for _, one := range list {
		word, ok := one.(string)
		i := slices.Index(rightWords[1:], word) + 1
		if !ok || i == 0 {
			return f.wrongAt("rights", cmpHint(query.DidYouMean(word, rightWords[1:]), "there are "+strings.Join(rightWords[1:], ", ")), "there is no right %q", fmt.Sprint(one))
		}
		f.role.Rights |= 1 << i
	}
	if bad := f.role.Rights & unrestricted; bad != 0 && f.role.Policy != nil {
		return f.wrongAt("rights", "leave the right out, or rows, pii, classes, rules and min_group", "the right %s is for roles that see everything", bad.Words()[0])
	}
	if f.role.Rights&Define != 0 && f.role.Policy != nil && (f.role.Policy.Rows != "" || f.role.Policy.MinGroup > 1) {
		return f.wrongAt("rights", "leave the right out, or rows and min_group", "the right define is for roles for whom everybody exists, whatever they see of them")
	}
	return nil
}

func (f *roleFile) classes(given any) (map[schema.DataClass]query.Access, error) {
	if given == nil {
		return nil, nil
	}
	table, ok := given.(map[string]any)
	f.table, f.n = "classes", 1
	defer func() { f.table, f.n = "", 0 }()
	if !ok {
		return nil, f.wrongAt("classes", "", "classes is a table: [classes]")
	}
	names := schema.DataClassNames()
	names[schema.ClassNone] = "none"
	if err := f.known(table, names); err != nil {
		return nil, err
	}
	out := make(map[schema.DataClass]query.Access, len(table))
	for i, name := range names {
		if _, ok := table[name]; !ok {
			continue
		}
		access, err := f.access(table, name)
		if err != nil {
			return nil, err
		}
		out[schema.DataClass(i)] = access
	}
	return out, nil
}

func (f *roleFile) rules(given any) (out []query.PolicyRule, err error) {
	if given == nil {
		return nil, nil
	}
	tables, ok := given.([]map[string]any)
	if !ok {
		return nil, f.wrongAt("rule", "", "a rule is a table of its own: [[rule]]")
	}
	f.table = "rule"
	defer func() { f.table, f.n = "", 0 }()
	for i, table := range tables {
		f.n = i + 1
		if err := f.known(table, ruleKeys[:]); err != nil {
			return nil, err
		}
		if table["access"] == nil {
			return nil, f.wrongAt("", "access = \"visible\", \"masked\" or \"hidden\"", "the rule does not say what becomes of its thing")
		}
		var r query.PolicyRule
		for key, to := range map[string]*string{"attribute": &r.Attribute, "event": &r.Event, "property": &r.Property, "segment": &r.Segment, "list": &r.List} {
			text, wrong := f.text(table, key)
			if wrong != nil {
				return nil, wrong
			}
			*to = text
		}
		if r.Access, err = f.access(table, "access"); err != nil {
			return nil, err
		}
		if err := (&query.Policy{Rules: []query.PolicyRule{r}}).Validate(); err != nil {
			return nil, f.wrongAt("", "", "%v", err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (f *roleFile) text(table map[string]any, key string) (string, error) {
	given, ok := table[key]
	if !ok {
		return "", nil
	}
	text, ok := given.(string)
	if !ok || text == "" {
		return "", f.wrongAt(key, "", "%s is a text, and not an empty one", key)
	}
	return text, nil
}

func (f *roleFile) number(table map[string]any, key string, most int64) (int, error) {
	given, ok := table[key]
	if !ok {
		return 0, nil
	}
	n, ok := given.(int64)
	if !ok || n < 1 || n > most {
		return 0, f.wrongAt(key, "", "%s is a number from 1 to %d", key, most)
	}
	return int(n), nil
}

func (f *roleFile) access(table map[string]any, key string) (query.Access, error) {
	given, ok := table[key]
	if !ok {
		return query.Visible, nil
	}
	for a := query.Visible; a <= query.Hidden; a++ {
		if given == a.String() {
			return a, nil
		}
	}
	return 0, f.wrongAt(key, `"visible", "masked" or "hidden"`, "%s is %q", key, fmt.Sprint(given))
}
