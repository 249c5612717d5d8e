package main

import (
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// publishedFolder returns the folder of published data, or skips.
func publishedFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("KANTA_REFDATA")
	if folder == "" && os.Getenv("CI") == "true" {
		t.Fatal("KANTA_REFDATA is not set: name the folder of reference data")
	}
	if folder == "" {
		t.Skip("KANTA_REFDATA names no folder of reference data")
	}
	return folder
}

// TestPublishedPeople loads published data sets and compares every question of the
// demonstration that a loop over the file's rows can answer.
func TestPublishedPeople(t *testing.T) {
	folder := publishedFolder(t)
	for i, file := range publications() {
		c := newCLI(t)
		path := filepath.Join(folder, filepath.FromSlash(file.file))
		r := c.load(path, "--key", file.key)
		rows := readTable(t, path)
		if r.Accepted != uint64(len(rows)) {
			t.Errorf("%s: %d of %d rows", file.file, r.Accepted, len(rows))
		}
		for text, holds := range answersOf(i) {
			want := uint64(0)
			for _, row := range rows {
				if holds(row) {
					want++
				}
			}
			if got := c.count(text); got != want {
				t.Errorf("%s: %s: %d, want %d", file.file, text, got, want)
			}
		}
		for _, q := range file.questions {
			if answersOf(i)[q.text] == nil {
				t.Errorf("%s: %s has no answer in this test", file.file, q.text)
			}
		}
	}
}

// answersOf tells for each question of a data set how to answer it from a row.
func answersOf(i int) map[string]func(row map[string]string) bool {
	if i == 0 {
		return map[string]func(map[string]string) bool{
			`state == "nsw"`: func(r map[string]string) bool { return r["state"] == "nsw" },
			`!has(p.date_of_birth) || !has(p.given_name)`: func(r map[string]string) bool { return r["date_of_birth"] == "" || r["given_name"] == "" },
			`surname.startsWith("wh") && state in ["nsw", "vic", "qld"]`: func(r map[string]string) bool {
				return strings.HasPrefix(r["surname"], "wh") && (r["state"] == "nsw" || r["state"] == "vic" || r["state"] == "qld")
			},
			`date_of_birth >= 19500101 && date_of_birth < 19600101 && !(state == "qld")`: func(r map[string]string) bool {
				born, err := strconv.Atoi(r["date_of_birth"])
				return err == nil && born >= 19500101 && born < 19600101 && r["state"] != "" && r["state"] != "qld"
			},
			`given_name == surname`: func(r map[string]string) bool { return r["given_name"] != "" && r["given_name"] == r["surname"] },
		}
	}
	return map[string]func(map[string]string) bool{
		`home_ownership == "Homeowner"`: func(r map[string]string) bool { return r["home_ownership"] == "Homeowner" },
		`age in ["19-24", "25-34"] && marital_status == "Married"`: func(r map[string]string) bool {
			return (r["age"] == "19-24" || r["age"] == "25-34") && r["marital_status"] == "Married"
		},
		`kids_count != "0" && income in ["100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+"]`: func(r map[string]string) bool {
			switch r["income"] {
			case "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+":
				return r["kids_count"] != "" && r["kids_count"] != "0"
			}
			return false
		},
		`!(home_ownership == "Homeowner") && household_comp.contains("No Kids")`: func(r map[string]string) bool {
			return r["home_ownership"] != "" && r["home_ownership"] != "Homeowner" && strings.Contains(r["household_comp"], "No Kids")
		},
	}
}

// readTable reads a CSV file with the standard library.
func readTable(t *testing.T, path string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range all[1:] {
		row := map[string]string{}
		for i, cell := range cells {
			row[strings.TrimSpace(all[0][i])] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// TestPublishedActs runs the part of the demonstration about what people did, and looks its
// figures up where they were published.
func TestPublishedActs(t *testing.T) {
	folder := publishedFolder(t)
	if testing.Short() {
		t.Skip("-short: it loads a million rows, and runs in make test")
	}
	expected, err := os.ReadFile(filepath.Join(folder, "EXPECTED.csv"))
	if err != nil {
		t.Fatal(err)
	}
	numbers := func(list []figure, at ...int) string {
		var out []string
		for _, i := range at {
			out = append(out, strconv.FormatUint(list[i].published, 10))
		}
		return strings.Join(out, " ")
	}
	retail, clicks := records()[0].figures, records()[1].figures
	contains(t, string(expected), "541909 "+numbers(retail, 0)+" 25900 4070 38", "397924 "+numbers(retail, 1)+" 18536 8911407.90", numbers(retail, 2, 3)+" 317",
		numbers(retail, 4, 5)+" 286", `"`+numbers(clicks, 0, 1, 2, 3)+` (`, numbers(clicks, 4)+" -> "+numbers(clicks, 5), "("+numbers(clicks, 6)+"/600)")
	var out strings.Builder
	d := &demo{app: &app{out: &out, err: &out, env: os.Getenv, clock: testClock}, dir: t.TempDir()}
	if err := d.publishedActs(t.Context(), folder, 6); err != nil {
		t.Fatal(err)
	}
	contains(t, out.String(), "541,909 rows: events 406,829, people 4,372, quarantined 135,080", "948", "885", "31,106 rows: events 31,106, people 600", "224", "8,911,407.90")
	// A figure that is wrong ends it.
	s, err := d.openDir("", true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := d.compare(t.Context(), s, []figure{{what: "nobody", text: "true", published: 1}}); err == nil || !strings.Contains(err.Error(), "nobody: true answers 0; published is 1") {
		t.Errorf("a wrong figure: %v", err)
	}
}
