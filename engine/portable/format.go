package portable

import (
	"fmt"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// version is the format of the export; another one is never guessed at.
const version = 1

// Limits of an export.
const (
	maxLine     = 8 << 20   // of a line that is read; only an event of a whole batch comes near it
	maxText     = 16 << 20  // of the schema file, as package quality has it
	profilePart = 128 << 10 // of a person's line: a longer one goes on in the next, so that each fits into a batch
	listPart    = 1000      // keys of a list's line
)

// The sections, in their order.
const (
	secExport     = "export"
	secSchema     = "schema"
	secHistory    = "history"
	secIncomplete = "incomplete"
	secProfiles   = "profiles"
	secLists      = "lists"
	secEvents     = "events"
	secNames      = "names"
	secQuarantine = "quarantine"
	secManifest   = "manifest"
)

// sections are all of them, in order.
func sections() []string {
	return []string{secExport, secSchema, secHistory, secIncomplete, secProfiles, secLists, secEvents, secNames, secQuarantine, secManifest}
}

// Header is the first line of an export.
type Header struct {
	Format   int    `json:"kanta_export"`
	Store    string `json:"store"`    // its id
	Position string `json:"position"` // the state that was exported
	Exported string `json:"exported"` // when, by the store's clock
	IDs      IDs    `json:"ids"`
}

// IDs are the numbers of what the schema has, by name. An import gives them again: events of
// one time are ordered by what they say of each property, by its number, and the content
// digest has a part of that.
type IDs struct {
	Attributes map[string]schema.AttrID            `json:"attributes"`
	Events     map[string]schema.AttrID            `json:"events"`
	Properties map[string]map[string]schema.AttrID `json:"properties"` // by event type and name
}

// IDsOf returns the ids of a schema.
func IDsOf(s *schema.Schema) IDs {
	out := IDs{map[string]schema.AttrID{}, map[string]schema.AttrID{}, map[string]map[string]schema.AttrID{}}
	for i := range s.Attributes {
		out.Attributes[s.Attributes[i].Name] = s.Attributes[i].ID
	}
	for i := range s.Events {
		e := &s.Events[i]
		out.Events[e.Name] = schema.AttrID(e.ID)
		out.Properties[e.Name] = map[string]schema.AttrID{}
		for j := range e.Properties {
			out.Properties[e.Name][e.Properties[j].Name] = e.Properties[j].ID
		}
	}
	return out
}

// Manifest is the last line of an export.
type Manifest struct {
	Format   int                `json:"kanta_export"`
	Store    string             `json:"store"`
	Position string             `json:"position"`
	Sections map[string]Section `json:"sections"` // all but itself
	Content  string             `json:"content"`  // the content digest of the store, in hex
}

// Section says what a section of an export has.
type Section struct {
	Lines  uint64 `json:"lines"`
	Bytes  uint64 `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// The lines of the sections; values are at [AppendValue].
type (
	profileLine struct {
		Key    string                `json:"key"`
		Values map[string]jsonMember `json:"values"`
	}
	listLine struct {
		List string   `json:"list"`
		Note string   `json:"note,omitempty"`
		Keys []string `json:"keys"`
	}
	eventLine struct {
		Key    string                `json:"key"`
		Event  string                `json:"event"`
		Time   string                `json:"time"`
		Values map[string]jsonMember `json:"values"`
	}
	nameLine struct {
		Segment    string          `json:"segment,omitempty"`
		Text       string          `json:"text,omitempty"`
		Shared     bool            `json:"shared,omitempty"`
		Definition string          `json:"definition,omitempty"`
		Analysis   string          `json:"analysis,omitempty"`
		Who        string          `json:"who,omitempty"`
		Arguments  query.Arguments `json:"arguments,omitempty"`
	}
	quarantineLine struct {
		Source   string `json:"source"`
		Line     uint64 `json:"line"`
		Reason   string `json:"reason"`
		Detail   string `json:"detail"`
		Raw      string `json:"raw"`
		Received string `json:"received"`
	}
)

// checkFormat refuses what another version has written.
func checkFormat(format int) error {
	switch {
	case format > version:
		return query.Errorf(query.CodeNewerFormat, "the export has format %d; this version reads %d", format, version)
	case format != version:
		return query.Errorf(query.CodeInvalid, "this is not an export of a store: there is no format in its first line")
	}
	return nil
}

// damaged is an error about what stands in an export.
func damaged(section string, line uint64, format string, args ...any) error {
	where := section
	if line > 0 {
		where = fmt.Sprintf("%s, line %d", section, line)
	}
	e := query.Errorf(query.CodeCorrupt, "the export, %s: %s", where, fmt.Sprintf(format, args...))
	e.Hint = "take the export again, or get an undamaged copy of it"
	return e
}
