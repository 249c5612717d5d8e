package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const service = "/kanta.v1.KantaService/"

// TestCurl asks in JSON.
func TestCurl(t *testing.T) {
	for _, c := range []struct{ call, body, want string }{
		{"Count", `{"expression":"country == \"FI\" && age < 30"}`, `"count":"200"`},
		{"Profile", `{"key":"p0001"}`, `"value":{"text":"IT"}`},
		{"Breakdown", `{"expression":"true","attribute":"country"}`, `"count":"1000"`},
	} {
		out, err := curl(c.body, "-H", "Content-Type: application/json", "--data-binary", "@-", "http://"+address+service+c.call)
		if text := strings.ReplaceAll(string(out), `": `, `":`); err != nil || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v, %s lacks %s", c.call, err, text, c.want)
		}
	}
}

// TestCurlError reads what went wrong, and where.
func TestCurlError(t *testing.T) {
	out, err := curl(`{"expression":"true &&\n contry == \"FI\""}`, "-H", "Content-Type: application/json", "--data-binary", "@-", "http://"+address+service+"Count")
	var e struct {
		Code, Message string
		Details       []struct {
			Type  string
			Debug struct{ Line, Column int }
		}
	}
	if err == nil || json.Unmarshal(out, &e) != nil || e.Code != "not_found" || !strings.Contains(e.Message, `did you mean "country"`) || len(e.Details) != 1 || e.Details[0].Type != "kanta.v1.Error" {
		t.Errorf("%v, %s", err, out)
	}
	out, err = curl("", "--get", "--data-urlencode", "expression=true &&\n contry == \"FI\"", "http://"+address+"/v1/members")
	var door struct {
		Error struct {
			Code, Hint   string
			Line, Column int
		}
	}
	if err == nil || json.Unmarshal(out, &door) != nil || door.Error.Code != "unknown_name" || door.Error.Line != 2 || door.Error.Column != 2 || !strings.Contains(door.Error.Hint, "country") {
		t.Errorf("%v, %s", err, out)
	}
}

// TestCurlStream lists people over a stream: five bytes and a JSON object, again and again.
func TestCurlStream(t *testing.T) {
	request := []byte(`{"expression":"age == 20","listing":{"attributes":["country"]}}`)
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
	out, err := curl(string(framed), "-H", "Content-Type: application/connect+json", "--data-binary", "@-", "http://"+address+service+"Members")
	if err != nil {
		t.Fatal(err)
	}
	keys, ended := 0, false
	for len(out) >= 5 && !ended {
		n := binary.BigEndian.Uint32(out[1:])
		var m struct {
			Block struct{ Keys []string }
			Error json.RawMessage
		}
		if err := json.Unmarshal(out[5:5+n], &m); err != nil || m.Error != nil {
			t.Fatalf("%v, %s", err, out[5:5+n])
		}
		keys, ended = keys+len(m.Block.Keys), out[0]&2 != 0
		out = out[5+n:]
	}
	if keys != people/60 || !ended || len(out) > 0 {
		t.Errorf("%d keys, ended: %t, %d bytes are left", keys, ended, len(out))
	}
}

// TestCurlDoors takes files out, and brings the same rows in again.
func TestCurlDoors(t *testing.T) {
	out, err := curl("", "--compressed", "--get", "--data-urlencode", `expression=country == "NL"`, "--data", "attributes=age&format=csv", "http://"+address+"/v1/members")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(out, []byte("\n")); lines != people/3+1 || !bytes.HasPrefix(out, []byte("key,age\np0002,20\n")) {
		t.Errorf("%d lines, %.60s", lines, out)
	}
	if out, err = curl("", "http://"+address+"/v1/timeline?key=p0001&format=ndjson"); err != nil || bytes.Count(out, []byte(`"event":"view"`)) != 2 {
		t.Errorf("%v, %s", err, out)
	}
	for i, want := range []string{`"repeated_rows":0`, `"repeated_rows":2`} {
		out, err := curl("id,country,age\nq1,SE,30\nq2,SE,31\n", "-H", "Content-Type: text/csv", "-H", "Kanta-Source: e2e", "-H", "Kanta-Sequence: 1", "--data-binary", "@-", "http://"+address+"/v1/profiles?key=id")
		if err != nil || !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte(`"next":3`)) {
			t.Errorf("time %d: %v, %s", i+1, err, out)
		}
	}
	out, err = curl("id,age\nq3,thirty\n", "-H", "Content-Type: text/csv", "--data-binary", "@-", "http://"+address+"/v1/profiles?key=id&strict")
	if err == nil || !bytes.Contains(out, []byte(`"code":"rows"`)) || !bytes.Contains(out, []byte(fmt.Sprintf(`"line":%d`, 2))) {
		t.Errorf("%v, %s", err, out)
	}
}
