// Kanta is the database of a company's customers, on the command line: load people,
// ask who they are such that ..., get the exact answer in milliseconds.
//
//	kanta load profiles customers.csv --key id
//	kanta count 'country in ["IT", "FI"] && plan != "free"'
//	kanta breakdown 'age < 30' --by city
//
// Each command has a file of its name. What a command prints comes in three forms:
// aligned tables with thousands separators on a terminal, tab separated lines without
// a header elsewhere, and JSON with --json: names in snake_case, times RFC 3339 in
// UTC, durations in microseconds, documented in the help of each command. Progress and
// errors go to standard error. Exit codes stand in one table, in exit.go.
package main
