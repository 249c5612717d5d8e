package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/index/schema"
)

// duck is a DuckDB file with the profiles in the table people and their events in the
// table events.
type duck struct {
	db       *sql.DB
	file     string
	segments *sql.Stmt // which of the segments a profile is in
	names    []string  // of the segments, in the order of its columns
}

func openDuck(ctx context.Context, file string) (*duck, error) {
	connector, err := duckdb.NewConnector(file, nil)
	if err != nil {
		return nil, err
	}
	d := &duck{db: sql.OpenDB(connector), file: file}
	d.db.SetMaxIdleConns(bench.MixClients) // a new connection for every question of MIX8 would be measured
	return d, d.db.PingContext(ctx)
}

func (d *duck) close() error {
	var err error
	if d.segments != nil {
		err = d.segments.Close()
	}
	return errors.Join(err, d.db.Close())
}

// sqlType returns the narrowest type that holds the workload's values of a kind: ages,
// tickets and money below 10 million.
func sqlType(a schema.Attribute) string {
	switch a.Kind {
	case schema.Int:
		return "UTINYINT"
	case schema.Decimal:
		return fmt.Sprintf("DECIMAL(9,%d)", a.Scale)
	case schema.Bool:
		return "BOOLEAN"
	case schema.Date:
		return "DATE"
	}
	return "VARCHAR" // a set too, in the file
}

// load creates the table from a CSV file. An absent value is null; a set never is.
func (d *duck) load(ctx context.Context, attributes []schema.Attribute, csv string) error {
	types, selected := []string{"'key': 'VARCHAR'"}, []string{"key"}
	for _, a := range attributes {
		types = append(types, fmt.Sprintf("'%s': '%s'", a.Name, sqlType(a)))
		if a.Kind == schema.Set {
			selected = append(selected, fmt.Sprintf("coalesce(string_split(%s, '|'), []) AS %s", a.Name, a.Name))
		} else {
			selected = append(selected, a.Name)
		}
	}
	_, err := d.db.ExecContext(ctx, fmt.Sprintf("CREATE TABLE people AS SELECT %s FROM read_csv('%s', header = true, auto_detect = false, delim = ',', columns = {%s})",
		strings.Join(selected, ", "), strings.ReplaceAll(csv, "'", "''"), strings.Join(types, ", ")))
	return err
}

// index makes profiles findable by key and writes everything to the file.
func (d *duck) index(ctx context.Context) error {
	_, err := d.db.ExecContext(ctx, "CREATE UNIQUE INDEX people_key ON people (key); CHECKPOINT")
	return err
}

// loadEvents creates the table from a CSV file. A join returns rows in any order, so they
// are put back into that of time.
func (d *duck) loadEvents(ctx context.Context, csv string) error {
	_, err := d.db.ExecContext(ctx, fmt.Sprintf("CREATE TABLE events AS SELECT people.rowid AS person, event, time, category, item_id, amount, channel"+
		" FROM read_csv('%s', header = true, auto_detect = false, delim = ',', columns = {'profile': 'VARCHAR', 'event': 'VARCHAR', 'time': 'TIMESTAMP',"+
		" 'category': 'VARCHAR', 'item_id': 'VARCHAR', 'amount': 'DECIMAL(9,2)', 'channel': 'VARCHAR'}) e JOIN people ON people.key = e.profile ORDER BY time; CHECKPOINT",
		strings.ReplaceAll(csv, "'", "''")))
	return err
}

func (d *duck) bytes() (int64, error) {
	info, err := os.Stat(d.file)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// version returns DuckDB's version and how many threads it uses.
func (d *duck) version(ctx context.Context) (version, threads string, err error) {
	err = d.db.QueryRowContext(ctx, "SELECT version(), current_setting('threads')").Scan(&version, &threads)
	return version, threads, err
}

func (d *duck) count(ctx context.Context, condition string) (n uint64, err error) {
	err = d.db.QueryRowContext(ctx, "SELECT count(*) FROM people WHERE "+condition).Scan(&n)
	return n, err
}

func (d *duck) unknown(ctx context.Context, condition string) (uint64, error) {
	return d.count(ctx, "("+condition+") IS NULL")
}

func (d *duck) breakdown(ctx context.Context, q bench.Question) (out []bench.ValueCount, err error) {
	rows, err := d.db.QueryContext(ctx, fmt.Sprintf("SELECT %s, count(*) AS n FROM people WHERE %s GROUP BY ALL ORDER BY n DESC, %s LIMIT %d",
		q.Attribute, q.SQL, q.Attribute, q.Top))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row bench.ValueCount
		if err := rows.Scan(&row.Value, &row.Count); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// lines returns the rows of a query of one column, sorted.
func (d *duck) lines(ctx context.Context, query string) (out []string, err error) {
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out, rows.Err()
}

// each calls do with a column of every row, in the order in which they were inserted:
// without asking for it, several threads return them in another order.
func (d *duck) each(ctx context.Context, column, condition string, do func(driver.Value)) (err error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Raw(func(raw any) error {
		rows, err := raw.(driver.QueryerContext).QueryContext(ctx, "SELECT "+column+" FROM people WHERE "+condition+" ORDER BY rowid", nil)
		if err != nil {
			return err
		}
		cells := make([]driver.Value, 1)
		for err = rows.Next(cells); err == nil; err = rows.Next(cells) {
			do(cells[0])
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, rows.Close())
	})
}

func (d *duck) ids(ctx context.Context, condition string) (n uint64, err error) {
	err = d.each(ctx, "rowid", condition, func(id driver.Value) {
		if _, ok := id.(int64); ok {
			n++
		}
	})
	return n, err
}

func (d *duck) keys(ctx context.Context, condition string) (out []byte, err error) {
	err = d.each(ctx, "key", condition, func(key driver.Value) {
		if s, ok := key.(string); ok {
			out = append(append(out, s...), '\n')
		}
	})
	return out, err
}

// profile returns the texts of a profile's values by attribute, absent ones left out.
func (d *duck) profile(ctx context.Context, key string) (values map[string]string, err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT columns(*)::VARCHAR FROM people WHERE key = '"+key+"'")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	cells, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range cells {
		into[i] = &cells[i]
	}
	if !rows.Next() {
		return nil, errors.Join(fmt.Errorf("no profile %s", key), rows.Err())
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	values = map[string]string{}
	for i, cell := range cells {
		if cell.Valid {
			values[names[i]] = cell.String
		}
	}
	return values, rows.Err()
}

// recent returns how many of the last events of a profile there are, having read them.
func (d *duck) recent(ctx context.Context, key string, limit int) (n uint64, err error) {
	rows, err := d.db.QueryContext(ctx, fmt.Sprintf("SELECT time, event, category, item_id, amount::VARCHAR, channel FROM events"+
		" WHERE person = (SELECT rowid FROM people WHERE key = '%s') AND time <= TIMESTAMP '2026-01-01' ORDER BY time DESC, event DESC LIMIT %d", key, limit))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var at time.Time
	var cells [5]sql.NullString
	for ; rows.Next(); n++ {
		if err := rows.Scan(&at, &cells[0], &cells[1], &cells[2], &cells[3], &cells[4]); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// prepareSegments makes one statement of all segments, a column each.
func (d *duck) prepareSegments(ctx context.Context, segments []bench.Segment) (err error) {
	columns := make([]string, len(segments))
	for i, s := range segments {
		columns[i] = "(" + s.SQL + ")"
		d.names = append(d.names, s.Name)
	}
	d.segments, err = d.db.PrepareContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM people WHERE key = ?")
	return err
}

// segmentsOf returns the names of the segments that a profile is in, in order.
func (d *duck) segmentsOf(ctx context.Context, key string) (names []string, err error) {
	cells, into := make([]sql.NullBool, len(d.names)), make([]any, len(d.names))
	for i := range cells {
		into[i] = &cells[i]
	}
	if err := d.segments.QueryRowContext(ctx, key).Scan(into...); err != nil {
		return nil, err
	}
	for i, cell := range cells {
		if cell.Bool {
			names = append(names, d.names[i])
		}
	}
	return names, nil
}
