package access

import (
	"strings"
	"testing"

	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// TestTable wants each call of the service in the table, and nothing else there.
func TestTable(t *testing.T) {
	methods := pb.File_kanta_v1_kanta_proto.Services().ByName("KantaService").Methods()
	calls := make(map[string]bool)
	for i := range methods.Len() {
		name := string(methods.Get(i).Name())
		calls[name] = true
		if c, ok := Calls[name]; !ok || c.Needs == 0 {
			t.Errorf("the call %s is not in the table, or needs nothing", name)
		}
	}
	for name := range Calls {
		if !calls[name] && !strings.Contains(name, " /v1/") { // doors: "POST /v1/profiles"
			t.Errorf("the table has %s, which is no call", name)
		}
	}
}
