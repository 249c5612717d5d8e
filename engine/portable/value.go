package portable

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/kantadb/kanta/index/schema"
)

// jsonMember is a value as it stands in a line.
type jsonMember = json.RawMessage

// AppendValue appends a value, which is not absent, as the package comment has it.
func AppendValue(dst []byte, v schema.Value) []byte {
	switch v.Kind() {
	case schema.Bool, schema.Int, schema.Decimal:
		return append(dst, v.String()...)
	case schema.Float:
		if f := v.Float(); !math.IsInf(f, 0) {
			return strconv.AppendFloat(dst, f, 'g', -1, 64)
		}
		return AppendString(dst, v.String())
	case schema.Set:
		dst = append(dst, '[')
		for i, e := range v.Elements() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, e)
		}
		return append(dst, ']')
	}
	return AppendString(dst, v.String())
}

// AppendString appends a string as JSON. What is not UTF-8, which no store has, becomes U+FFFD.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))])); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, `\ufffd`...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// parseOrdered reads a value of an ordered kind, exactly as it was written.
func parseOrdered(a *schema.Attribute, raw jsonMember) (int64, error) {
	text := []byte(raw)
	quoted := len(raw) > 0 && raw[0] == '"'
	if quoted {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return 0, err
		}
		text = []byte(s)
	}
	fits := false
	switch a.Kind {
	case schema.Bool:
		fits = string(text) == "true" && !quoted || string(text) == "false" && !quoted
	case schema.Int, schema.Decimal:
		fits = !quoted
	case schema.Float:
		fits = !quoted || string(text) == "+Inf" || string(text) == "-Inf"
		if quoted && fits {
			return schema.FloatValue(math.Inf(int('-') - int(text[0]) - 1)).Ordered(), nil // of + and -: 1 and -1
		}
	case schema.Date, schema.Timestamp:
		fits = quoted
	}
	if !fits {
		return 0, fmt.Errorf("%s is no %s", excerpt(raw), a.Kind)
	}
	n, err := schema.ParseOrdered(a.Kind, a.Scale, text, time.UTC)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", excerpt(raw), err)
	}
	return n, nil
}

// parseText reads a string.
func parseText(raw jsonMember) (s string, err error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", fmt.Errorf("%s is no string", excerpt(raw))
	}
	err = json.Unmarshal(raw, &s)
	return s, err
}

// parseSet reads the elements of a set.
func parseSet(raw jsonMember) (elements []string, err error) {
	var list []*string
	if len(raw) == 0 || raw[0] != '[' {
		return nil, fmt.Errorf("%s is no array", excerpt(raw))
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	for _, e := range list {
		if e == nil {
			return nil, fmt.Errorf("%s has null in it", excerpt(raw))
		}
		elements = append(elements, *e)
	}
	return elements, nil
}

// excerpt is the start of a value, for messages.
func excerpt(raw []byte) string {
	const shown = 48
	if len(raw) > shown {
		return string(raw[:shown]) + "..."
	}
	return string(raw)
}
