package analysis

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kantadb/kanta/query"
)

// FuzzCheck gives every analysis any arguments, by lines "name=text": they are taken, and then
// again as they were, or an error says which is wrong.
func FuzzCheck(f *testing.F) {
	for _, a := range All {
		var lines []string
		for i := range a.Parameters {
			lines = append(lines, a.Parameters[i].Name+"="+a.Parameters[i].Default)
		}
		f.Add(strings.Join(lines, "\n"))
	}
	f.Add("event=buy\namount=e.price\nbins=3\nbins=4\nwithin=1d12h\nsteps=99999999999999999999\ntop=-1")
	f.Fuzz(func(t *testing.T, text string) {
		args := query.Arguments{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			args[name] = append(args[name], value)
		}
		for _, a := range All {
			out, err := Check(a, args)
			if q := (*query.Error)(nil); err != nil && !errors.As(err, &q) {
				t.Errorf("%s: %v", a.Name, err)
			}
			if err != nil {
				continue
			}
			if again, err := Check(a, out); err != nil || !reflect.DeepEqual(out, again) {
				t.Errorf("%s: %v became %v, %v", a.Name, out, again, err)
			}
			if a.Lends != nil {
				_, _ = a.Lends.Fields(out)
			}
		}
	})
}
