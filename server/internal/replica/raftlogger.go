package replica

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger gives what Raft logs to a slog.Logger. What Raft says is of terms, indexes,
// members and addresses, and never of what entries hold.
func raftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
	l.RegisterSink(logSink{log})
	return l
}

type logSink struct{ log *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s logSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := map[hclog.Level]slog.Level{hclog.Warn: slog.LevelWarn, hclog.Error: slog.LevelError}[level] // the zero value is Info
	attrs := make([]slog.Attr, 0, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		attrs = append(attrs, slog.String(fmt.Sprint(args[i]), shown(args[i+1])))
	}
	s.log.LogAttrs(context.Background(), to, "raft: "+msg, attrs...)
}

// shown returns an argument as hclog would show it.
func shown(v any) string {
	if f, ok := v.(hclog.Format); ok && len(f) > 0 {
		if format, ok := f[0].(string); ok {
			return fmt.Sprintf(format, f[1:]...)
		}
	}
	return fmt.Sprint(v)
}
