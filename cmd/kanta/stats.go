package main

import (
	"encoding/hex"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
)

// statsJSON is what kanta stats tells.
type statsJSON struct {
	Store    string `json:"store"`
	Format   int    `json:"format"`
	Position string `json:"position"`
	Profiles uint64 `json:"profiles"`
	Ordinals uint64 `json:"ordinals"`
	recordedJSON
	Attributes    int    `json:"attributes"`
	SchemaVersion uint64 `json:"schema_version"`
	Segments      int    `json:"segments"`
	Lists         int    `json:"lists"`
	Quarantined   uint64 `json:"quarantined"`
	HeadRows      uint64 `json:"head_rows"`
	HeadBytes     int64  `json:"head_bytes"`
	loggedJSON
	BaseBytes     map[string]int64 `json:"base_bytes"`
	DiskBytes     int64            `json:"disk_bytes"`
	CacheBytes    int64            `json:"cache_bytes"`
	Memory        memoryJSON       `json:"memory"`
	Written       map[string]int64 `json:"written_bytes"`
	Amplification float64          `json:"write_amplification"`
	Digests       digestsJSON      `json:"digests"`
}

type recordedJSON struct {
	Events        uint64 `json:"events"`
	EventsPast    uint64 `json:"events_past_retention"`
	EventsDropped uint64 `json:"events_dropped"`
	Changes       uint64 `json:"changes"`
}

type loggedJSON struct {
	LogRecords uint64   `json:"log_records"`
	LogBytes   int64    `json:"log_bytes"`
	KeptLog    keptJSON `json:"kept_log"`
}

type memoryJSON struct {
	BudgetBytes int64 `json:"budget_bytes"`
	UsedBytes   int64 `json:"used_bytes"`
}

type digestsJSON struct {
	Content string `json:"content"`
	Replica string `json:"replica"`
	Chain   string `json:"chain"`
}

func newStats(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "What there is in the store: people, bytes, digests",
		Long: `What there is in the store. Two stores with the same content digest hold the same
people with the same values, however they came about. The head is what was written
since it was last folded into the base. Events past the retention of their type are
seen by no question; they are dropped by and by, and with a day that no type keeps the
ids of its events.

--json: store, format, position, profiles, ordinals, events, events_past_retention,
events_dropped, changes (of attributes with history), attributes, schema_version,
segments, lists, quarantined, head_rows, head_bytes, log_records, log_bytes,
kept_log (as kanta backup log status has it), base_bytes
and written_bytes (objects by kind), disk_bytes, cache_bytes, memory {budget_bytes,
used_bytes}, write_amplification, digests {content, replica, chain}.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(func(s store) error {
				st, err := s.Stats(c.Context())
				if err != nil {
					return err
				}
				d, err := s.Digests(c.Context())
				if err != nil {
					return err
				}
				return a.printStats(st, d)
			})
		},
	}
}

func (a *app) printStats(st query.Stats, d query.Digests) error {
	digests := digestsJSON{hex.EncodeToString(d.Content[:]), hex.EncodeToString(d.Replica[:]), hex.EncodeToString(d.Chain[:])}
	if a.json {
		return a.printJSON(statsJSON{
			st.Store, st.Format, st.Position.String(), st.Profiles, st.Ordinals, recordedJSON(st.Recorded), st.Attributes, st.SchemaVersion, st.Segments, st.Lists,
			st.Quarantined, st.HeadRows, st.HeadBytes, loggedJSON{st.LogRecords, st.LogBytes, keptOf(&st.KeptLog)}, st.BaseBytes, st.DiskBytes, st.CacheBytes,
			memoryJSON{st.MemoryBudget, st.MemoryUsed}, st.Written, st.Amplification, digests,
		})
	}
	t := a.facts()
	t.add("store", st.Store)
	t.add("format", st.Format)
	t.add("position", st.Position.String())
	t.add("profiles", st.Profiles)
	t.add("ordinals", st.Ordinals)
	t.add("events", st.Events)
	t.add("events past their retention", st.EventsPast)
	t.add("events dropped", st.EventsDropped)
	t.add("changes", st.Changes)
	t.add("attributes", st.Attributes)
	t.add("schema version", st.SchemaVersion)
	t.add("segments", st.Segments)
	t.add("lists", st.Lists)
	t.add("quarantined", st.Quarantined)
	t.add("head rows", st.HeadRows)
	t.add("head bytes", t.bytes(st.HeadBytes))
	t.add("log records", st.LogRecords)
	t.add("log bytes", t.bytes(st.LogBytes))
	if st.KeptLog.On {
		t.add("log to be shipped: records", st.KeptLog.Records)
		t.add("log to be shipped: bytes", t.bytes(st.KeptLog.Bytes))
		t.add("log to be shipped: gap before it", st.KeptLog.Broken)
	}
	for _, kind := range slices.Sorted(maps.Keys(st.BaseBytes)) {
		t.add("base: "+kind, t.bytes(st.BaseBytes[kind]))
	}
	t.add("disk", t.bytes(st.DiskBytes))
	t.add("cache", t.bytes(st.CacheBytes))
	t.add("memory used", t.bytes(st.MemoryUsed))
	t.add("memory budget", t.bytes(st.MemoryBudget))
	for _, kind := range slices.Sorted(maps.Keys(st.Written)) {
		t.add("written since open: "+kind, t.bytes(st.Written[kind]))
	}
	t.add("write amplification", round2(st.Amplification))
	t.add("digest of the content", digests.Content)
	t.add("digest of the replica", digests.Replica)
	t.add("digest of the log", digests.Chain)
	return t.write(a.out)
}

func round2(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
