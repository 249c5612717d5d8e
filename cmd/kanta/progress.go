package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// How often progress is shown: often enough to be seen moving on a terminal, rarely
// enough elsewhere not to fill a log.
const (
	progressOnTerminal = 200 * time.Millisecond
	progressInLog      = 5 * time.Second
)

// progress shows how far something is, on one line that is written over on a terminal,
// else as a line now and then. It is for one goroutine.
type progress struct {
	w        io.Writer
	terminal bool
	quiet    bool
	start    time.Time
	shown    time.Time
	width    int // of the line on the terminal
}

// newProgress starts; with --json nothing is shown.
func (a *app) newProgress() *progress {
	now := time.Now()
	return &progress{w: a.err, terminal: a.errTerminal, quiet: a.json, start: now, shown: now}
}

// due reports whether it is time to show something.
func (p *progress) due() bool {
	interval := progressInLog
	if p.terminal {
		interval = progressOnTerminal
	}
	return !p.quiet && time.Since(p.shown) >= interval
}

// show writes a text, if it is time to. fraction is the part done, 0 if not known.
func (p *progress) show(fraction float64, text string) {
	if !p.due() {
		return
	}
	p.shown = time.Now()
	if took := time.Since(p.start); fraction > 0.01 && fraction < 1 {
		left := time.Duration(float64(took) * (1 - fraction) / fraction)
		text = fmt.Sprintf("%s, %.0f %%, %s left", text, 100*fraction, left.Round(time.Second))
	}
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	n := utf8.RuneCountInString(text)
	fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", max(0, p.width-n)))
	p.width = n
}

// end takes the line off the terminal.
func (p *progress) end() {
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
