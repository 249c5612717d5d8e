// Package portable is the form in which a store leaves for any other program and comes
// back: lines of JSON, and the schema file that people write. An export is read by a
// dozen lines of any language; [Import] makes a store of it with the same content.
//
// # Format, version 1
//
// An export has these sections, in this order. Text is UTF-8; a line is one JSON object of
// at most 8 MiB and ends in a line feed.
//
//	section     what it has
//	export      one line: what is exported; see Header
//	schema      the schema as a schema file (TOML), see quality.WriteSchemaFile
//	history     {"key":"ann","attribute":"plan","time":"2026-01-01T00:00:00Z","record":7,"before":"free"}:
//	            at that time, by that log record, the value changed, which was this one before;
//	            without "before" there was none
//	incomplete  {"key":"bob"}: who lacks a value that is required of new people
//	profiles    a line for each person, or several of one person, one behind the other, if
//	            there is much to tell: {"key":"ann","values":{"age":41,"likes":["jazz","tea"]}}.
//	            What a later line has is added: other values, more elements of a set
//	lists       {"list":"staff","keys":["ann"]}: any number of lines of each list, at least
//	            one; the first may have a "note", where the list comes from
//	events      {"key":"ann","event":"buy","time":"2026-01-01T00:01:00Z","values":{"amount":19.99}}
//	names       {"segment":"grown","text":"age >= 18"}, with "shared":true if it is, and
//	            {"definition":"orders","analysis":"rfm","who":"vip","arguments":{"bins":["3"]}}
//	quarantine  {"source":"a.csv","line":3,"reason":"wrong kind","detail":"...","raw":"...","received":"..."},
//	            if it was asked for
//	manifest    one line: how many lines and bytes each section has, the SHA-256 of them, and
//	            the content digest of the store; see Manifest. Without it an export is not complete
//
// A value is, by its kind,
//
//	bool       true or false
//	int        a number, all digits of it (many programs keep 53 bits of them only)
//	float      a number, the shortest that is read back the same, or "+Inf" or "-Inf". There is
//	           no NaN, and no -0
//	decimal    a number with all places of its scale: 19.90
//	string     a string. An empty one is a value: what is absent is not in the object
//	date       "2026-01-31"
//	timestamp  "2026-01-31T12:00:00.123Z": UTC, up to milliseconds
//	set        an array of strings, which is never empty
//
// In a directory each section is a file: export.json, schema.toml, profiles.ndjson and so on,
// manifest.json; those of lines may be compressed, and are then named .ndjson.zst. In one file,
// or a pipe, they come one behind the other, each with a line {"section":"profiles"} before it, and
// the schema as a JSON string; all of it may be compressed with zstd. Bytes and SHA-256 in
// the manifest are those of a section's own lines, not compressed, and of the text of the
// schema file.
//
// # What is not in it
//
// Ids of events, of which a store keeps hashes under a key of its own, and the outcomes of
// batches that came with a source: a batch that was sent before the export and is sent again
// to the new store is taken for a new one. Ordinals and positions are the store's own too.
// What is past its retention is not in it. An import cannot write history again: it is in
// the export for other readers, and begins anew.
//
// # Worked example
//
// The export in one file of a store with ann, who is 41, likes tea and bought something for
// 19.90; "staff" has her.
//
//	{"section":"export"}
//	{"kanta_export":1,"store":"s1","position":"1.3","exported":"2026-02-01T00:00:00Z","ids":{"attributes":{"age":16,"likes":17},"events":{"buy":18},"properties":{"buy":{"amount":19}}}}
//	{"section":"schema"}
//	"[[attribute]]\nname = \"age\"\nkind = \"int\"\n\n[[attribute]]\nname = \"likes\"\nkind = \"set<string>\"\n\n[[event]]\nname = \"buy\"\n\n[[event.property]]\nname = \"amount\"\nkind = \"decimal\"\nscale = 2\n"
//	{"section":"history"}
//	{"section":"incomplete"}
//	{"section":"profiles"}
//	{"key":"ann","values":{"age":41,"likes":["tea"]}}
//	{"section":"lists"}
//	{"list":"staff","keys":["ann"]}
//	{"section":"events"}
//	{"key":"ann","event":"buy","time":"2026-01-01T00:01:00Z","values":{"amount":19.90}}
//	{"section":"names"}
//	{"section":"manifest"}
//	{"kanta_export":1,"store":"s1","position":"1.3","sections":{"events":{"lines":1,"bytes":84,"sha256":"c1f374e69424976a2d7c17814cb8b077a32e8188af2618432be7627b2283766e"},"export":{"lines":1,"bytes":181,"sha256":"d743141260417d20cadeac99b4da788a175b1e8271613cc7e1cdfd363c4e5bdd"},"history":{"lines":0,"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"incomplete":{"lines":0,"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"lists":{"lines":1,"bytes":32,"sha256":"12ffbb6dbe34196bb38606e75a8283ff5f0638d31781bb096bba8906bdc63998"},"names":{"lines":0,"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"profiles":{"lines":1,"bytes":50,"sha256":"2c968ac379e748425bea34fba75ff8f7ffe78c424c6704bf292ab67fd3091d88"},"schema":{"lines":15,"bytes":178,"sha256":"4bb49899c6c5b10d204c92bc2cf3525cf745220bdd9b29086bb0621db181adc9"}},"content":"d3f4e1539b10b93adef57733a2f75922"}
package portable
