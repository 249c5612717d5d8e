package replica

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
)

// closing is a transport that knows whether it was closed.
type closing struct {
	*raft.InmemTransport
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return c.InmemTransport.Close()
}

// TestOpenNothing opens what is no member's directory: the port does not stay open.
func TestOpenNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		cfg := c.add("n1").config()
		_, network := raft.NewInmemTransport("n1:1")
		over := &closing{InmemTransport: network}
		cfg.Transport = over
		if _, err := Open(cfg); !errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
			t.Errorf("opened: %v", err)
		}
		if !over.closed {
			t.Error("the transport is open")
		}
	})
}
