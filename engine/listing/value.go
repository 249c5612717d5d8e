package listing

import (
	"encoding/json"
	"strconv"

	"github.com/kantadb/kanta/index/schema"
)

// JSON returns a value as JSON: numbers exact, dates and times as strings, sets as arrays, absent as null.
func JSON(v schema.Value) json.RawMessage {
	var out any
	switch v.Kind() {
	case schema.Absent:
		return json.RawMessage("null")
	case schema.Bool, schema.Int, schema.Decimal:
		return json.RawMessage(v.String())
	case schema.Float:
		// JSON has no infinity: it is a string.
		if text, err := json.Marshal(v.Float()); err == nil {
			return text
		}
		out = v.String()
	case schema.Set:
		out = append([]string{}, v.Elements()...)
	default:
		out = v.String()
	}
	text, err := json.Marshal(out)
	if err != nil { // not for strings
		return json.RawMessage(strconv.Quote(v.String()))
	}
	return text
}

// quote returns a JSON string. Marshalling a string cannot fail.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(text)
}
